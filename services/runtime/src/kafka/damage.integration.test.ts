/** Damage stays in its partition: on a real broker whose stored bytes are damaged. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createLogger } from '../log/logger.js';
import { changeBatch, damageBatch } from '../testing/damage.js';
import '../testing/provided-context.js';
import { createKafkaAdmin } from './admin.js';
import type { KafkaAdmin } from './admin.js';
import { kafkaConfig } from './config.js';
import type { KafkaConfig } from './config.js';
import { consumerConfig } from './consumer-config.js';
import { crc32c } from './crc32c.js';
import { createGroupConsumer } from './group-consumer.js';
import type { ConsumedBatch, GroupConsumer, UnreadableBatch } from './consumer-types.js';
import { readTopic } from './topic-reader.js';

const logger = createLogger('test', { level: 'silent' });
const WAIT = { timeout: 60_000, interval: 50 };
const RETRY_MS = 200;
const BATCH_MAX_BYTES = 1024 ** 2;

let kafka: KafkaConfig;
let admin: KafkaAdmin;
let client: kafkajs.Kafka;
let producer: kafkajs.Producer;
let consumer: GroupConsumer | null;

beforeEach(async () => {
  kafka = kafkaConfig.parse({
    brokers: inject('kafkaBrokers'),
    topic: `damage-${randomBytes(5).toString('hex')}`,
  });
  admin = createKafkaAdmin(kafka, { logger, role: 'test' });
  client = new kafkajs.Kafka({ brokers: kafka.brokers, logLevel: kafkajs.logLevel.NOTHING });
  producer = client.producer();
  consumer = null;
  await producer.connect();
  await admin.ensureTopic({
    name: kafka.topic,
    partitions: 2,
    replicationFactor: null,
    settings: { 'max.message.bytes': '4000000' },
  });
});

afterEach(async () => {
  await consumer?.stop();
  await producer.disconnect();
  await admin.deleteTopic(kafka.topic).catch(() => undefined);
  await admin.stop();
});

/** One record batch. */
async function send(
  partition: number,
  values: readonly string[],
  compression = kafkajs.CompressionTypes.None,
): Promise<void> {
  await producer.send({
    topic: kafka.topic,
    compression,
    messages: values.map((value) => ({ partition, key: 'k', value })),
  });
}

const folderOf = (partition: number) => join(inject('kafkaLogDir'), `${kafka.topic}-${partition}`);

function valuesOf({ records }: ConsumedBatch): string[] {
  const values: string[] = [];
  while (records.next()) values.push(records.record().value?.toString().slice(0, 20) ?? '');
  return values;
}

/** Reads both partitions; waits at unreadable records until `skipped` has their offset. */
function consume(full: () => Promise<void> | null = () => null) {
  const read = new Map<number, string[]>([
    [0, []],
    [1, []],
  ]);
  const held: UnreadableBatch[] = [];
  const skipped = new Set<number>();
  const assignments: (readonly number[])[] = [];
  const crashes: Error[] = [];
  consumer = createGroupConsumer(
    {
      kafka,
      consumer: consumerConfig.parse({
        group_id: kafka.topic,
        session_timeout_ms: 6_000,
        heartbeat_interval_ms: 300,
        batch_max_bytes: BATCH_MAX_BYTES,
      }),
    },
    {
      logger,
      sink: {
        full,
        accept(batch) {
          read.get(batch.partition)?.push(...valuesOf(batch));
          return null;
        },
        unreadable(batch) {
          held.push(batch);
          return skipped.has(batch.from) ? null : { offset: batch.from, retryMs: RETRY_MS };
        },
      },
      events: {
        onAssignment: (partitions) => assignments.push(partitions),
        onCrash: (error) => crashes.push(error),
      },
    },
  );
  consumer.start();
  return { read, held, skipped, assignments, crashes };
}

describe('a record batch that cannot be read', () => {
  it('holds its own partition, is reported with place and reason, and can be skipped', async () => {
    await send(0, ['a0', 'a1']);
    await send(0, ['damaged-2', 'damaged-3', 'damaged-4']);
    await send(0, ['a5']);
    await send(1, ['b0']);
    expect(await damageBatch(folderOf(0), 3)).toBe(2);
    const { read, held, skipped, assignments, crashes } = consume();
    await expect.poll(() => held.length, WAIT).toBeGreaterThan(1);
    await send(1, ['b1']);
    await expect.poll(() => read.get(1), WAIT).toEqual(['b0', 'b1']);
    expect(read.get(0)).toEqual(['a0', 'a1']);
    expect(held[0]).toMatchObject({ partition: 0, from: 2, to: 5, kind: 'damaged' });
    expect(held[0]?.reason).toMatch(/checksum does not match/);
    expect(held[0]?.bytes.toString('latin1')).toContain('damaged-4');

    skipped.add(2);
    await expect.poll(() => read.get(0), WAIT).toEqual(['a0', 'a1', 'a5']);
    expect(crashes).toEqual([]);
    expect(assignments).toHaveLength(1);
  });

  it('is not decompressed if it exceeds the memory for batches, and the others are read', async () => {
    await send(0, ['a0']);
    await send(0, ['\0'.repeat(3_000_000)], kafkajs.CompressionTypes.GZIP);
    await send(1, ['b0']);
    const { read, held, skipped, crashes } = consume();
    await expect.poll(() => held.length, WAIT).toBeGreaterThan(1);
    await expect.poll(() => read.get(1), WAIT).toEqual(['b0']);
    expect(held[0]).toMatchObject({ partition: 0, from: 1, to: 2, kind: 'too_large' });
    skipped.add(1);
    await send(0, ['a2']);
    await expect.poll(() => read.get(0), WAIT).toEqual(['a0', 'a2']);
    expect(crashes).toEqual([]);
  });

  it('ends a reading with its place, unless the reader passes over it', async () => {
    await send(0, ['a0']);
    await send(0, ['damaged-1']);
    await send(0, ['a2']);
    await damageBatch(folderOf(0), 1);
    const read: string[] = [];
    const onBatch = (batch: ConsumedBatch) => {
      read.push(...valuesOf(batch));
    };
    const config = { kafka, topic: kafka.topic };
    await expect(readTopic(config, { onBatch }, { logger })).rejects.toThrow(
      /partition 0 of damage-\w+ cannot be read at offset 1: .*checksum/,
    );
    read.length = 0;
    await readTopic(config, { onBatch, onUnreadable: () => undefined }, { logger });
    expect(read).toEqual(['a0', 'a2']);
    read.length = 0;
    await readTopic(config, { onBatch, onUnreadable: () => 'stop' }, { logger });
    expect(read).toEqual(['a0']);
  });
});

describe('a batch of a newer leader', () => {
  /** Positions in a record batch: its leader's epoch, its checksum, and the checksummed bytes. */
  const [EPOCH_AT, CRC_AT, CHECKED_AT] = [12, 17, 21];

  it('makes the consumer compare the batch before it, and read the partition from its start if that was replaced', async () => {
    let asked = 0;
    let open = (): void => undefined;
    let gate: Promise<void> | null = null;
    const full = () => {
      asked += 1;
      return gate;
    };
    await send(0, ['a']);
    await send(1, ['a']);
    const { read } = consume(full);
    await expect.poll(() => [...read.values()], WAIT).toEqual([['a'], ['a']]);

    // The batch is fetched, and waits until there is room.
    gate = new Promise((resolve) => {
      open = resolve;
    });
    asked = 0;
    await send(0, ['before']);
    await expect.poll(() => asked, WAIT).toBeGreaterThan(0);
    await send(1, ['before']);
    for (const partition of [0, 1]) {
      await send(partition, ['newer']);
      await changeBatch(folderOf(partition), 2, (batch) => {
        batch.writeInt32BE(1, EPOCH_AT);
      });
    }
    await changeBatch(folderOf(0), 1, (batch) => {
      batch[batch.indexOf('before')] = 'B'.charCodeAt(0);
      batch.writeUInt32BE(crc32c(batch.subarray(CHECKED_AT)), CRC_AT);
    });
    gate = null;
    open();

    const replaced = ['a', 'before', 'a', 'Before', 'newer'];
    await expect.poll(() => [...read.values()], WAIT).toEqual([replaced, ['a', 'before', 'newer']]);
  });
});

describe('reading a topic', () => {
  it('joins no group and ends when the caller aborts it', async () => {
    await send(0, ['a0']);
    await send(0, ['a1']);
    const abort = new AbortController();
    const read: string[] = [];
    const onBatch = (batch: ConsumedBatch) => {
      read.push(...valuesOf(batch));
      abort.abort();
    };
    const config = { kafka, topic: kafka.topic };
    await expect(
      readTopic(config, { onBatch, signal: abort.signal }, { logger }),
    ).rejects.toMatchObject({ code: 'kafka_aborted' });
    expect(read).toEqual(['a0']);
    const raw = client.admin();
    await raw.connect();
    const { groups } = await raw.listGroups();
    await raw.disconnect();
    expect(groups.filter(({ groupId }) => groupId.includes('reader'))).toEqual([]);
  });
});

describe('a transaction that was aborted', () => {
  it('is passed over, and the end of its topic is reached though it is the last', async () => {
    const transactional = client.producer({
      transactionalId: kafka.topic,
      idempotent: true,
      maxInFlightRequests: 1,
    });
    await transactional.connect();
    const inTransaction = async (value: string, end: 'commit' | 'abort') => {
      const transaction = await transactional.transaction();
      const messages = [{ partition: 0, key: 'k', value }];
      await transaction.send({ topic: kafka.topic, messages });
      await transaction[end]();
    };
    await inTransaction('committed', 'commit');
    await inTransaction('aborted', 'abort');
    await send(0, ['plain']);
    await inTransaction('committed too', 'commit');
    await inTransaction('aborted too', 'abort');
    await transactional.disconnect();

    const read: string[] = [];
    const ends = await readTopic(
      { kafka, topic: kafka.topic },
      {
        onBatch(batch) {
          read.push(...valuesOf(batch));
        },
      },
      { logger },
    );
    expect(read).toEqual(['committed', 'plain', 'committed too']);
    expect(ends.get(0)).toBe(9);

    const { read: consumed } = consume();
    await expect.poll(() => consumed.get(0), WAIT).toEqual(read);
  });
});
