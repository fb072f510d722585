import { randomBytes, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { createLogger } from '../log/logger.js';
import { restoreKafkajsDecoder } from '../testing/kafkajs-decoder.js';
import { createKafkaAdmin } from './admin.js';
import type { KafkaAdmin } from './admin.js';
import { CODECS, HAS_ZSTD } from './codecs.js';
import type { Codec } from './codecs.js';
import { kafkaConfig } from './config.js';
import type { KafkaError } from './errors.js';
import { createKafkaProducer, RecordsRefusedError } from './producer.js';
import type { OutgoingRecord } from './producer.js';

/** The messages that kafkajs sends. */
interface SentBatches {
  readonly topicData: readonly {
    readonly partitions: readonly { readonly messages: readonly { readonly value: Buffer }[] }[];
  }[];
}

const PARTITIONS = 5;
const logger = createLogger('test', { level: 'silent' });
const never = new AbortController().signal;

describe('the producer and a real Kafka', () => {
  const topic = `test-${randomUUID()}`;
  // kafkajs reads gzip only.
  const config = kafkaConfig.parse({
    brokers: inject('kafkaBrokers'),
    topic,
    compression: 'gzip',
  });
  let admin: KafkaAdmin;

  beforeAll(async () => {
    admin = createKafkaAdmin(config, { logger, role: 'test' });
    await admin.ensureTopic({ name: topic, partitions: PARTITIONS, replicationFactor: null });
  });
  afterAll(async () => {
    await admin.deleteTopic(topic);
    await admin.stop();
  });

  /** Everything in the topic, by kafkajs's own consumer. */
  async function readAll(): Promise<{ partition: number; message: kafkajs.KafkaMessage }[]> {
    restoreKafkajsDecoder();
    const partitions = (await admin.describeTopic(topic)) ?? [];
    let missing = partitions.reduce((sum, p) => sum + Number(p.endOffset - p.earliestOffset), 0);
    const client = new kafkajs.Kafka({
      brokers: inject('kafkaBrokers'),
      logLevel: kafkajs.logLevel.NOTHING,
    });
    const consumer = client.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 50 });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    const found: { partition: number; message: kafkajs.KafkaMessage }[] = [];
    await new Promise<void>((resolve, reject) => {
      consumer
        .run({
          eachMessage({ partition, message }) {
            found.push({ partition, message });
            missing -= 1;
            if (missing === 0) resolve();
            return Promise.resolve();
          },
        })
        .catch(reject);
    });
    await consumer.disconnect();
    return found;
  }

  test('a consumer reads the sent records: keys, values, headers, in order per key', async () => {
    const producer = createKafkaProducer(config, { logger, role: 'test' });
    const sent: OutgoingRecord[] = Array.from({ length: 1_000 }, (_, i) => ({
      key: `key ${i % 50}`,
      value: i % 2 === 0 ? `value ${i} ünïcödé` : Buffer.from([i & 255, 0, 255]),
      headers: { number: String(i), 'content-type': 'text/plain', raw: Buffer.from([i & 255]) },
    }));
    await producer.send(topic, sent.slice(0, 700), never);
    await producer.send(topic, sent.slice(700), never);
    producer.stop();
    const found = await readAll();
    expect(found).toHaveLength(sent.length);
    const numbers = new Map<string, number[]>();
    const partitionOf = new Map<string, number>();
    for (const { partition, message } of found) {
      const number = Number(String(message.headers?.['number']));
      const expected = sent[number];
      const key = String(message.key);
      expect(key).toBe(expected?.key);
      expect(message.value?.equals(Buffer.from(expected?.value ?? ''))).toBe(true);
      expect(message.headers?.['raw']).toEqual(expected?.headers['raw']);
      expect(Math.abs(Number(message.timestamp) - Date.now())).toBeLessThan(600_000);
      numbers.set(key, [...(numbers.get(key) ?? []), number]);
      expect(partitionOf.get(key) ?? partition).toBe(partition);
      partitionOf.set(key, partition);
    }
    expect(numbers.size).toBe(50);
    for (const list of numbers.values()) expect(list).toEqual(list.toSorted((a, b) => a - b));
  });

  test('auto takes the codec that the topic stores, and the best one when the topic takes any', async () => {
    const require = createRequire(import.meta.url);
    const { prototype } = require('kafkajs/src/broker') as {
      prototype: { produce(request: SentBatches): Promise<unknown> };
    };
    const produce = vi.spyOn(prototype, 'produce');
    const auto = kafkaConfig.parse({ brokers: inject('kafkaBrokers'), topic });
    const producer = createKafkaProducer(auto, { logger, role: 'test' });
    const codecs: (Codec | undefined)[] = [];
    for (const type of ['gzip', 'uncompressed', 'producer']) {
      const name = `${topic}-${type}`;
      const settings = { 'compression.type': type };
      await admin.ensureTopic({ name, partitions: 1, replicationFactor: null, settings });
      await producer.send(name, [{ key: 'a', value: 'b', headers: {} }], never);
      const sent = produce.mock.lastCall?.[0].topicData[0]?.partitions[0]?.messages[0]?.value;
      // The lowest three bits of a batch's attributes.
      codecs.push(CODECS[(sent?.readInt16BE(21) ?? 0) & 7]);
      await admin.deleteTopic(name);
    }
    producer.stop();
    produce.mockRestore();
    expect(codecs).toEqual(['gzip', 'none', HAS_ZSTD ? 'zstd' : 'lz4']);
  });

  test('a record that is too large does not hold up the others', async () => {
    const producer = createKafkaProducer(config, { logger, role: 'test' });
    const batch: OutgoingRecord[] = [
      { key: 'a', value: 'small', headers: {} },
      // Random, because it would be compressed away otherwise.
      { key: 'b', value: randomBytes(3 * 1024 ** 2), headers: {} },
      { key: 'c', value: 'small too', headers: {} },
    ];
    const error = await producer.send(topic, batch, never).catch((thrown: unknown) => thrown);
    producer.stop();
    expect(error).toBeInstanceOf(RecordsRefusedError);
    expect((error as RecordsRefusedError).refused).toEqual([batch[1]]);
    // Records that were accepted in the same batch may be there several times.
    const values = new Set((await readAll()).map(({ message }) => String(message.value)));
    expect(values.has('small')).toBe(true);
    expect(values.has('small too')).toBe(true);
  });

  test('INVALID_RECORD loses no record of a topic that takes none, and names the one of a topic that takes others', async () => {
    // A compacted topic answers so to a record without a key, as others do without a schema.
    const name = `${topic}-compacted`;
    await admin.ensureTopic({
      name,
      partitions: 1,
      replicationFactor: null,
      settings: { 'cleanup.policy': 'compact' },
    });
    const producer = createKafkaProducer(config, { logger, role: 'test' });
    const bad = { key: null, value: 'without a key', headers: {} };
    const good = { key: 'a', value: 'with one', headers: {} };
    await expect(producer.send(name, [bad, bad], never)).rejects.toMatchObject({
      type: 'INVALID_RECORD',
      retryable: true,
    });
    const error = await producer.send(name, [good, bad, good], never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RecordsRefusedError);
    expect((error as RecordsRefusedError).refused).toEqual([bad]);
    producer.stop();
    await admin.deleteTopic(name);
  });

  test('a clock that is two hours ahead loses nothing: records get through once it is right', async () => {
    const failures: KafkaError[] = [];
    const producer = createKafkaProducer(config, {
      logger,
      role: 'test',
      hooks: { onFailure: (error) => failures.push(error) },
    });
    const realNow = Date.now.bind(Date);
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => realNow() + 2 * 3_600_000);
    try {
      const sending = producer.send(topic, [{ key: 'ahead', value: 'v', headers: {} }], never);
      // The test below covers giving up.
      sending.catch(() => undefined);
      await vi.waitFor(() => {
        expect(failures.length).toBeGreaterThan(2);
      }, 60_000);
      clock.mockRestore();
      await sending;
    } finally {
      clock.mockRestore();
      producer.stop();
    }
    expect(failures[0]).toMatchObject({ code: 'kafka_rejected', type: 'INVALID_TIMESTAMP' });
    expect(failures[0]?.message).toContain('INVALID_TIMESTAMP');
    const keys = (await readAll()).map(({ message }) => String(message.key));
    expect(keys.filter((key) => key === 'ahead')).toHaveLength(1);
  });

  test('an unknown topic is waited for, and found once it is there', async () => {
    const late = `${topic}-late`;
    const failures: string[] = [];
    const producer = createKafkaProducer(config, {
      logger,
      role: 'test',
      hooks: { onFailure: (error) => failures.push(error.type ?? error.code) },
    });
    const sending = producer.send(late, [{ key: 'a', value: 'b', headers: {} }], never);
    while (failures.length < 2) await delay(20);
    expect(failures).toContain('UNKNOWN_TOPIC_OR_PARTITION');
    await admin.ensureTopic({ name: late, partitions: 1, replicationFactor: null });
    await sending;
    producer.stop();
    expect((await admin.describeTopic(late))?.[0]?.endOffset).toBe(1n);
    await admin.deleteTopic(late);
  });

  test('an idle producer does not wake the process up', async () => {
    const { prototype } = createRequire(import.meta.url)('kafkajs/src/network/requestQueue') as {
      prototype: { checkPendingRequests(): void };
    };
    const producer = createKafkaProducer(config, { logger, role: 'test' });
    await producer.send(topic, [{ key: 'a', value: 'b', headers: {} }], never);
    const checks = vi.spyOn(prototype, 'checkPendingRequests');
    // A timer of a millisecond, as kafkajs has one without the repair, would fire as often.
    for (let timers = 0; timers < 200; timers += 1) await delay(1);
    const calls = checks.mock.calls.length;
    checks.mockRestore();
    producer.stop();
    expect(calls).toBeLessThan(20);
  });

  test('the admin client lists existing topics', async () => {
    expect(await admin.ping()).toBe(inject('kafkaBrokers').length);
    expect(await admin.ensureTopic({ name: topic, partitions: 1, replicationFactor: null })).toBe(
      'exists',
    );
    expect(await admin.describeTopic(topic)).toHaveLength(PARTITIONS);
    expect(await admin.describeTopic(`${topic}-missing`)).toBeNull();
    await expect(
      admin.ensureTopic({ name: 'not/a/topic', partitions: 1, replicationFactor: null }),
    ).rejects.toMatchObject({ type: 'INVALID_TOPIC_EXCEPTION' });
  });

  test('unreachable brokers are distinguished from refusing ones', async () => {
    const nowhere = createKafkaAdmin(
      { ...config, brokers: ['127.0.0.1:1'], connect_timeout_ms: 200 },
      { logger, role: 'test' },
    );
    await expect(nowhere.ping()).rejects.toMatchObject({
      code: 'kafka_unreachable',
      retryable: true,
    });
    await nowhere.stop();
  });
});
