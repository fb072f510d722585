import { expect, test } from 'vitest';
import { pickFreePort } from './ports.js';

test('a free port is not given a second time while its first taker may still be starting', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, () => pickFreePort()));
  expect(new Set(ports).size).toBe(50);
});

test('a picked port lies below those that systems give to outgoing connections', async () => {
  for (let n = 0; n < 50; n += 1) expect(await pickFreePort()).toBeLessThan(32_768);
});
