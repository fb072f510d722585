import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../log/logger.js';
import { kafkaConfig } from './config.js';
import { consumerConfig } from './consumer-config.js';
import { createConsumerLife } from './consumer-life.js';

const logger = createLogger('test', { level: 'silent' });
const NEVER = new AbortController().signal;

/** A broker that hangs: it accepts connections and answers nothing. */
let sockets: Socket[];
let requests = 0;
const broker = createServer((socket) => {
  sockets.push(socket);
  socket.on('data', () => (requests += 1));
  socket.on('error', () => undefined);
});

beforeEach(async () => {
  sockets = [];
  broker.listen(0, '127.0.0.1');
  await once(broker, 'listening');
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  broker.close();
  await once(broker, 'close');
});

const timers = () => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;

describe('a consumer that is given up while its broker hangs', () => {
  it('leaves no connection, no timer and no retry behind', async () => {
    const timersBefore = timers();
    const { port } = broker.address() as AddressInfo;
    const life = createConsumerLife(
      {
        kafka: kafkaConfig.parse({ brokers: [`127.0.0.1:${port}`] }),
        consumer: consumerConfig.parse({ group_id: 'given-up' }),
        role: 'test',
      },
      { logger },
    );
    let outcome = 'pending';
    const work = life.consumer.connect().then(
      () => {
        outcome = 'connected';
      },
      () => {
        outcome = 'failed';
      },
    );
    await expect.poll(() => requests).toBe(1);
    await life.end();
    await life.settled(work, NEVER);
    expect(outcome).toBe('failed');
    await expect.poll(timers, { timeout: 60_000 }).toBeLessThanOrEqual(timersBefore);
    await expect.poll(() => sockets.every((each) => each.destroyed)).toBe(true);
    expect(sockets).toHaveLength(1);
  });
});
