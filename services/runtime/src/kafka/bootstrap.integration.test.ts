import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createLogger } from '../log/logger.js';
import { createKafkaAdmin } from './admin.js';
import { kafkaConfig } from './config.js';
import { consumerConfig } from './consumer-config.js';
import { createGroupConsumer } from './group-consumer.js';
import { createKafkaProducer } from './producer.js';
import { readTopic } from './topic-reader.js';

const logger = createLogger('test', { level: 'silent' });
const topic = `test-${randomUUID()}`;
const never = new AbortController().signal;
const VALUES = ['one', 'two', 'three'];

/** A port on which nothing listens. */
async function deadAddress(): Promise<string> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}

/** Accepts connections and never answers, as a broker that hangs does. */
const silent = net.createServer();
let config: ReturnType<typeof kafkaConfig.parse>;

beforeAll(async () => {
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const unusable = [await deadAddress(), await deadAddress(), `127.0.0.1:${port}`];
  config = kafkaConfig.parse({
    topic,
    brokers: [...unusable, ...inject('kafkaBrokers')],
    connect_timeout_ms: 2_000,
  });
});
afterAll(async () => {
  const admin = createKafkaAdmin({ ...config, brokers: inject('kafkaBrokers') }, deps('cleanup'));
  await admin.deleteTopic(topic);
  await admin.stop();
  silent.close();
});

const deps = (role: string) => ({ logger, role });

describe('with dead and hung brokers first in the list, the working one is found by', () => {
  it('an admin client', async () => {
    const admin = createKafkaAdmin(config, deps('admin'));
    await expect(admin.ping()).resolves.toBe(1);
    await admin.ensureTopic({ name: topic, partitions: 1, replicationFactor: null });
    await admin.stop();
  });

  it('an admin client whose first question is about a group', async () => {
    const admin = createKafkaAdmin(config, deps('admin'));
    await expect(admin.groupOffsets(topic, topic)).resolves.toEqual(new Map());
    await admin.stop();
  });

  it('a producer, with its first attempt', async () => {
    const onFailure = vi.fn<() => void>();
    const producer = createKafkaProducer(config, { ...deps('producer'), hooks: { onFailure } });
    const records = VALUES.map((value) => ({ key: value, value, headers: {} }));
    await producer.send(topic, records, never);
    producer.stop();
    expect(onFailure).not.toHaveBeenCalled();
  });

  it('a member of a consumer group, in its first life', async () => {
    const values: string[] = [];
    const onCrash = vi.fn<() => void>();
    const consumer = createGroupConsumer(
      { kafka: config, consumer: consumerConfig.parse({ group_id: topic }) },
      {
        logger,
        events: { onCrash },
        sink: {
          full: () => null,
          accept({ records }) {
            while (records.next()) values.push(String(records.record().value));
            return null;
          },
          unreadable: () => null,
        },
      },
    );
    consumer.start();
    await expect.poll(() => values, { timeout: 60_000 }).toEqual(VALUES);
    await consumer.stop();
    expect(onCrash).not.toHaveBeenCalled();
  });

  it('a reader of a topic', async () => {
    let bytes = 0;
    const ends = await readTopic(
      { kafka: config, topic },
      {
        onBatch({ records }) {
          while (records.next()) bytes += records.valueLength;
        },
      },
      { logger },
    );
    expect([...ends.values()]).toEqual([VALUES.length]);
    expect(bytes).toBe(VALUES.join('').length);
  });
});
