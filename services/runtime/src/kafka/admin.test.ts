import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { createLogger } from '../log/logger.js';
import { createKafkaAdmin } from './admin.js';
import { kafkaConfig } from './config.js';

const logger = createLogger('test', { level: 'silent' });
const WAIT = { timeout: 60_000 };

/** A broker that hangs: it accepts connections and answers nothing. */
const sockets: Socket[] = [];
const broker = createServer((socket) => {
  sockets.push(socket);
  socket.on('error', () => undefined).resume();
});

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  broker.close();
});

it('an admin call that hangs ends in time, and the next one has another connection', async () => {
  broker.listen(0, '127.0.0.1');
  await once(broker, 'listening');
  const { port } = broker.address() as AddressInfo;
  const admin = createKafkaAdmin(
    kafkaConfig.parse({ brokers: [`127.0.0.1:${port}`], connect_timeout_ms: 600_000 }),
    { logger, role: 'test', call_timeout_ms: 300 },
  );
  for (const connections of [1, 2]) {
    await expect(admin.ping()).rejects.toMatchObject({ code: 'kafka_timeout' });
    await expect.poll(() => sockets.length, WAIT).toBe(connections);
    await expect.poll(() => sockets.every((each) => each.destroyed), WAIT).toBe(true);
  }
  await admin.stop();
});
