import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { pickFreePort } from './ports.js';

test('a free port is not given a second time while its first taker may still be starting', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, () => pickFreePort()));
  expect(new Set(ports).size).toBe(50);
});

test('a picked port lies below those that systems give to outgoing connections', async () => {
  for (let n = 0; n < 50; n += 1) expect(await pickFreePort()).toBeLessThan(32_768);
});

test('a picked port is reserved: no other process that picks is given it before its listener is there', async () => {
  const port = await pickFreePort();
  const other = createSocket('udp4').bind({ port, address: '127.0.0.1', exclusive: true });
  const [error] = (await once(other, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('EADDRINUSE');
  other.close();
});
