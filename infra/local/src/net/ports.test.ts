import { expect, test } from 'vitest';
import { pickFreePort } from './ports.js';

test('a free port is not given a second time while its first taker may still be starting', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, () => pickFreePort()));
  expect(new Set(ports).size).toBe(50);
});
