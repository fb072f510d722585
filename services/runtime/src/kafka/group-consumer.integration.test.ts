/** Longer than 400 lines: all tests consume from one broker, with producers and groups that are made here. */
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import kafkajs from 'kafkajs';
import type { Admin, Consumer } from 'kafkajs';
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest';
import { createLogger } from '../log/logger.js';
import '../testing/provided-context.js';
import { createKafkaAdmin } from './admin.js';
import type { KafkaAdmin } from './admin.js';
import { createKafkaClient } from './client.js';
import type { KafkaClient } from './client.js';
import { kafkaConfig } from './config.js';
import type { KafkaConfig } from './config.js';
import { consumerConfig } from './consumer-config.js';
import { createGroupConsumer } from './group-consumer.js';
import type { BatchSink, CommitPosition, ConsumerEvents, GroupConsumer } from './consumer-types.js';
import { createKafkaProducer } from './producer.js';
import { formatAnchor } from './start-offset.js';

const logger = createLogger('test', { level: 'silent' });
const WAIT = { timeout: 60_000, interval: 50 };

let kafka: KafkaConfig;
let admin: KafkaAdmin;
let consumers: GroupConsumer[];
let topics: string[];

beforeEach(() => {
  kafka = kafkaConfig.parse({
    brokers: inject('kafkaBrokers'),
    topic: `runtime-${randomBytes(5).toString('hex')}`,
  });
  admin = createKafkaAdmin(kafka, { logger, role: 'test' });
  consumers = [];
  topics = [kafka.topic];
});

afterEach(async () => {
  await Promise.all(consumers.map((each) => each.stop()));
  await Promise.all(topics.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.stop();
});

async function createTopic(settings: Record<string, string> = {}, partitions = 1): Promise<void> {
  await admin.ensureTopic({ name: kafka.topic, partitions, replicationFactor: null, settings });
}

async function produce(from: number, count: number): Promise<void> {
  const producer = createKafkaProducer(kafka, { logger, role: 'test' });
  const records = Array.from({ length: count }, (_, i) => ({
    key: `key-${from + i}`,
    value: `value-${from + i} ${'x'.repeat(100)}`,
    headers: { n: String(from + i) },
  }));
  await producer.send(kafka.topic, records, AbortSignal.timeout(120_000));
  producer.stop();
}

/** Collects records, and commits them if it is asked to. */
function consume(
  options: { commit?: boolean; events?: ConsumerEvents; sink?: Partial<BatchSink> } = {},
) {
  const values: string[] = [];
  const starts: { reason: string; offset: number; lost: number }[] = [];
  let last: CommitPosition | null = null;
  const consumer = createGroupConsumer(
    {
      kafka,
      consumer: {
        ...consumerConfig.parse({}),
        group_id: kafka.topic,
        session_timeout_ms: 6_000,
        heartbeat_interval_ms: 300,
        metadata_max_age_ms: 1_000,
      },
    },
    {
      logger,
      sink: {
        full: () => null,
        accept(batch) {
          while (batch.records.next()) {
            const { records } = batch;
            values.push(
              records.bytes
                .toString('utf8', records.valueStart, records.valueStart + records.valueLength)
                .split(' ')[0] ?? '',
            );
          }
          last = { ...batch, offset: batch.to };
          if (options.commit === true) void consumer.commit([last]);
          return null;
        },
        unreadable: ({ from, reason }) => {
          throw new Error(`offset ${from}: ${reason}`);
        },
        ...options.sink,
      },
      events: {
        onStart: (start) => starts.push(start),
        ...options.events,
      },
    },
  );
  consumers.push(consumer);
  consumer.start();
  return { consumer, values, starts, position: () => last };
}

const named = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => `value-${from + i}`);

async function committedOffset(): Promise<bigint | undefined> {
  return (await admin.groupOffsets(kafka.topic, kafka.topic)).get(0);
}

/** Part of kafkajs that is not public. */
const { prototype } = createRequire(import.meta.url)('kafkajs/src/consumer/consumerGroup') as {
  prototype: {
    commitOffsets(): Promise<void>;
    getActiveTopicPartitions(): Record<string, Set<number>>;
  };
};

/** Commits an offset as a former member of the group would have done. */
async function commitAs(offset: number, metadata: string): Promise<void> {
  const client = new kafkajs.Kafka({ brokers: kafka.brokers, logLevel: kafkajs.logLevel.NOTHING });
  const consumer = client.consumer({ groupId: kafka.topic, maxWaitTimeInMs: 100 });
  const joined = new Promise<void>((resolve) => {
    consumer.on('consumer.group_join', () => {
      // Nothing is fetched: an offset out of range would be replaced at once.
      consumer.pause([{ topic: kafka.topic }]);
      resolve();
    });
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [kafka.topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async () => undefined,
  });
  await joined;
  await consumer.commitOffsets([
    { topic: kafka.topic, partition: 0, offset: String(offset), metadata },
  ]);
  await consumer.disconnect();
}

/**
 * A topic that was read to offset 50, deleted and created again, and holds more than 50 records.
 */
async function makeAnew(): Promise<void> {
  await createTopic();
  await produce(0, 50);
  const first = consume({ commit: true });
  await expect.poll(() => committedOffset(), WAIT).toBe(50n);
  const { anchor } = first.position() ?? { anchor: { baseOffset: 0, crc: 0 } };
  await first.consumer.stop();
  await admin.deleteTopic(kafka.topic);
  await expect.poll(() => admin.describeTopic(kafka.topic).catch(() => []), WAIT).toBeNull();
  await createTopic();
  // A batch ends at 50, so a reader that begins there does not see the records before it.
  await produce(1_000, 50);
  await produce(1_050, 30);
  // Brokers drop the offsets of a deleted topic; a cluster restored from a copy does not.
  await commitAs(50, formatAnchor(anchor));
}

describe('a member of a consumer group', () => {
  it.each(['uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'])(
    'reads batches that a broker has compressed with %s',
    async (compression) => {
      await createTopic({ 'compression.type': compression });
      await produce(0, 300);
      const { values } = consume();
      await expect.poll(() => values, WAIT).toEqual(named(0, 300));
    },
  );

  it('continues after the committed records, and reads the others again', async () => {
    await createTopic();
    await produce(0, 20);
    const first = consume({ commit: true });
    await expect.poll(() => committedOffset(), WAIT).toBe(20n);
    expect(first.starts).toMatchObject([{ reason: 'new', offset: 0 }]);
    await first.consumer.stop();
    await produce(20, 10);
    const second = consume();
    await expect.poll(() => second.values, WAIT).toEqual(named(20, 10));
    expect(second.starts).toMatchObject([{ reason: 'committed', offset: 20 }]);
    await second.consumer.stop();
    const third = consume();
    await expect.poll(() => third.values, WAIT).toEqual(named(20, 10));
  });

  it('continues in the middle of a batch if a tool has committed there', async () => {
    await createTopic();
    await produce(0, 20);
    await commitAs(7, '');
    const { values } = consume();
    await expect.poll(() => values, WAIT).toEqual(named(7, 13));
  });

  it('reads all of a topic that was deleted and created again, although its offset still exists', async () => {
    await makeAnew();
    const second = consume();
    await expect.poll(() => second.values, WAIT).toEqual(named(1_000, 80));
    expect(second.starts.map(({ reason }) => reason)).toEqual(['committed', 'replaced']);
  });

  it('reads all of it also if it was restarted before the first batch arrived', async () => {
    await makeAnew();
    let crashes = 0;
    const second = consume({
      sink: {
        full() {
          if (crashes < 2) throw new TypeError('a bug');
          return null;
        },
      },
      events: { onCrash: () => (crashes += 1) },
    });
    await expect.poll(() => second.values, WAIT).toEqual(named(1_000, 80));
    expect(second.starts.map(({ reason }) => reason)).toEqual(['committed', 'replaced']);
    expect(crashes).toBe(2);
  });

  it('reads all of a topic that ends before its offset', async () => {
    await createTopic();
    await produce(0, 5);
    await commitAs(90, '');
    const { values, starts } = consume();
    await expect.poll(() => values, WAIT).toEqual(named(0, 5));
    expect(starts).toMatchObject([{ reason: 'beyond_end', offset: 0 }]);
  });

  it('counts records that were deleted unread, also while it runs', async () => {
    await createTopic();
    await produce(0, 10);
    let isFull = false;
    let release = () => undefined as void;
    const { values, starts } = consume({
      sink: {
        full: () =>
          isFull
            ? new Promise((resolve) => {
                release = resolve;
              })
            : null,
      },
    });
    await expect.poll(() => values.length, WAIT).toBe(10);
    isFull = true;
    await produce(10, 10);
    await produce(20, 10);
    await admin.deleteRecords(kafka.topic, 0, 25n);
    isFull = false;
    release();
    await produce(30, 5);
    await expect.poll(() => values.at(-1), WAIT).toBe('value-34');
    const lost = starts.reduce((sum, start) => sum + start.lost, 0);
    // Records that were fetched before the deletion are not lost; each of the others is counted.
    expect(values.length + lost).toBe(35);
  });

  it('keeps its partitions while the sink is full for longer than the session', async () => {
    await createTopic();
    await produce(0, 10);
    const assignments: (readonly number[])[] = [];
    let release = () => undefined as void;
    let waiting: Promise<void> | null = new Promise((resolve) => {
      release = () => {
        waiting = null;
        resolve();
      };
    });
    const { values } = consume({
      sink: { full: () => waiting },
      events: { onAssignment: (partitions) => assignments.push(partitions) },
    });
    await expect.poll(() => assignments.length, WAIT).toBe(1);
    const beganMs = Date.now();
    await expect.poll(() => Date.now() - beganMs > 8_000, WAIT).toBe(true);
    expect(values).toEqual([]);
    release();
    await expect.poll(() => values, WAIT).toEqual(named(0, 10));
    expect(assignments).toHaveLength(1);
  });

  it('is started again after a crash, and continues at its offset', async () => {
    await createTopic();
    await produce(0, 10);
    const crashes: Error[] = [];
    let isBroken = false;
    const { values } = consume({
      events: { onCrash: (error) => crashes.push(error) },
      sink: {
        full() {
          if (isBroken) throw new TypeError('a bug');
          return null;
        },
      },
    });
    await expect.poll(() => values.length, WAIT).toBe(10);
    isBroken = true;
    await produce(10, 10);
    await expect.poll(() => crashes.length, WAIT).toBeGreaterThan(0);
    expect(values).toHaveLength(10);
    isBroken = false;
    await expect.poll(() => values, WAIT).toEqual(named(0, 20));
  });
});

describe('a consumer that looks at its group', () => {
  let raw: Admin;
  let strangers: { client: KafkaClient; consumer: Consumer }[];

  beforeEach(async () => {
    await createTopic({}, 2);
    strangers = [];
    raw = new kafkajs.Kafka({
      brokers: kafka.brokers,
      logLevel: kafkajs.logLevel.NOTHING,
    }).admin();
    await raw.connect();
  });

  afterEach(async () => {
    await raw.disconnect();
    for (const { consumer, client } of strangers) {
      await consumer.disconnect();
      client.destroy();
    }
    vi.restoreAllMocks();
  });

  async function members() {
    const { groups } = await raw.describeGroups([kafka.topic]);
    return groups[0]?.members ?? [];
  }

  /** Another member of the group that claims the process of the first, and reads nothing. */
  async function joinAsTheSame(sessionTimeout: number) {
    const clientId = (await members())[0]?.clientId ?? '';
    const client = createKafkaClient(
      { ...kafka, client_id: clientId.slice(0, clientId.indexOf('-')) },
      { logger, use: 'consume', role: clientId.slice(clientId.indexOf('-') + 1) },
    );
    const consumer = client.kafka.consumer({
      groupId: kafka.topic,
      sessionTimeout,
      heartbeatInterval: 200,
      maxWaitTimeInMs: 100,
    });
    strangers.push({ client, consumer });
    const joined = new Promise<void>((resolve) => {
      consumer.on('consumer.group_join', () => {
        consumer.pause([{ topic: kafka.topic }]);
        resolve();
      });
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [kafka.topic] });
    await consumer.run({ autoCommit: false, eachBatch: async () => undefined });
    await joined;
    return client;
  }

  it('sends away a dead member of its own process long before its session ends', async () => {
    const { consumer, values } = consume();
    await expect.poll(members, WAIT).toHaveLength(1);
    const stranger = await joinAsTheSame(600_000);
    stranger.destroy();
    await produce(0, 20);
    await expect.poll(() => consumer.problem(), WAIT).toMatch(/2 members of this process/);
    await expect.poll(() => values.toSorted(), WAIT).toHaveLength(20);
    await expect.poll(() => consumer.problem(), WAIT).toBeNull();
    expect(await members()).toHaveLength(1);
  });

  it('gives up if a member of its process joins the group again and again', async () => {
    const problems: string[] = [];
    consume({ events: { onHopeless: (error) => problems.push(error.message) } });
    await expect.poll(members, WAIT).toHaveLength(1);
    await joinAsTheSame(6_000);
    await expect.poll(() => problems[0], WAIT).toMatch(/join the consumer group again/);
  });

  it('commits again what Kafka did not take, although nothing else arrives', async () => {
    // As it is while the group rebalances.
    const fault = vi
      .spyOn(prototype, 'commitOffsets')
      .mockRejectedValueOnce(new kafkajs.KafkaJSNonRetriableError('The group is rebalancing'));
    const outcomes: (string | undefined)[] = [];
    consume({ commit: true, events: { onCommit: (error) => outcomes.push(error?.message) } });
    await produce(0, 1);
    await expect.poll(() => outcomes[0], WAIT).toMatch(/rebalancing/);
    const offsets = () => admin.groupOffsets(kafka.topic, kafka.topic);
    await expect.poll(async () => [...(await offsets()).values()], WAIT).toContain(1n);
    expect(outcomes).toEqual([expect.anything(), undefined]);
    expect(fault).toHaveBeenCalledTimes(2);
  });

  it('is started again if a partition does not move while records arrive', async () => {
    const crashes: string[] = [];
    const { consumer, values } = consume({
      events: { onCrash: ({ message }) => crashes.push(message) },
    });
    await produce(0, 40);
    await expect.poll(() => values.length, WAIT).toBe(40);
    const fault = vi
      .spyOn(prototype, 'getActiveTopicPartitions')
      .mockImplementation(() => ({ [kafka.topic]: new Set([1]) }));
    let sent = 40;
    await expect
      .poll(
        async () => {
          await produce(sent, 10);
          sent += 10;
          return consumer.problem();
        },
        { ...WAIT, interval: 1_000 },
      )
      .toMatch(/partitions 0 did not move/);
    fault.mockRestore();
    // Uncommitted records are read again.
    await expect.poll(() => new Set(values).size, WAIT).toBe(sent);
    expect(crashes).toContainEqual('partitions 0 do not move while records arrive');
    expect(consumer.problem()).toBeNull();
  });
});
