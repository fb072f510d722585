import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startKafka } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import {
  consumerConfig,
  createGroupConsumer,
  createKafkaProducer,
  kafkaConfig,
} from '@sockscope/runtime/kafka';
import { afterEach, expect, test } from 'vitest';
import { IS_FULL, tempDir, until } from './support/site.js';
import { createTopic, groupMembers } from './support/topic.js';

const TOPIC = 'silent';
/** Each would leave one more member behind. */
const HANGS = IS_FULL ? 3 : 2;
/** Times of the full run: the defaults of `npm start`, and long enough for a paused machine. */
const FULL_HANG_MS = 45_000;
const TIMES = IS_FULL
  ? { session_timeout_ms: 8_000, heartbeat_interval_ms: 1_000 }
  : { session_timeout_ms: 3_000, heartbeat_interval_ms: 300 };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/**
 * A broker that is there and does not answer: connections stay open and new ones are accepted, so no
 * request fails by itself. The watch of the reader gives it up, and its successors too.
 */
test('a reader whose broker hangs again and again reads all that comes, as one member of its group', async () => {
  const { dir, remove } = await tempDir('silent');
  cleanups.push(remove);
  const broker = await startKafka({
    dataDir: join(dir, 'kafka'),
    properties: { 'group.min.session.timeout.ms': '1000' },
  });
  cleanups.push(() => broker.kill());
  await createTopic([broker.address], TOPIC, 1);
  const kafka = kafkaConfig.parse({ brokers: [broker.address], topic: TOPIC });
  const logger = createLogger('test', { level: 'silent' });

  async function produce(round: number): Promise<void> {
    const producer = createKafkaProducer(kafka, { logger, role: 'test' });
    const records = Array.from({ length: 100 }, (_, i) => ({
      key: `key-${i}`,
      value: `${round}-${i}`,
      headers: {},
    }));
    await producer.send(TOPIC, records, AbortSignal.timeout(120_000));
    producer.stop();
  }

  const values = new Set<string>();
  const crashes: string[] = [];
  const consumer = createGroupConsumer(
    { kafka, consumer: consumerConfig.parse({ group_id: TOPIC, ...TIMES }) },
    {
      logger,
      sink: {
        full: () => null,
        accept(batch) {
          const { records } = batch;
          while (records.next()) values.add(records.record().value?.toString() ?? '');
          void consumer.commit([{ ...batch, offset: batch.to }]);
          return null;
        },
        unreadable: () => null,
      },
      events: { onCrash: (error) => crashes.push(error.message) },
    },
  );
  consumer.start();
  cleanups.push(() => consumer.stop());
  await produce(0);
  await until('the first records', 120_000, () => values.size === 100);

  for (let round = 1; round <= HANGS; round += 1) {
    // A broker that has just begun may have sent the group away once, while it still read its offsets.
    crashes.length = 0;
    process.kill(broker.pid, 'SIGSTOP');
    try {
      // The second is given up while it connects, as its successors are in a longer silence.
      if (IS_FULL) await delay(FULL_HANG_MS);
      await until('two readers are given up', 60_000, () => crashes.length >= 2);
      expect(crashes[0]).toMatch(/the consumer did nothing/);
      expect(consumer.state()).not.toBe('running');
    } finally {
      process.kill(broker.pid, 'SIGCONT');
    }
    await until('a reader runs again', 60_000, () => consumer.state() === 'running');
  }
  await produce(HANGS);
  await until('the records after it', 120_000, () => values.size === 200);
  expect(await groupMembers([broker.address], TOPIC)).toHaveLength(1);
});
