import { join } from 'node:path';
import { startKafka } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import {
  consumerConfig,
  createGroupConsumer,
  createKafkaProducer,
  kafkaConfig,
} from '@sockscope/runtime/kafka';
import { afterEach, expect, test } from 'vitest';
import { tempDir, until } from './support/site.js';
import { createTopic } from './support/topic.js';

const TOPIC = 'silent';
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/**
 * A broker that is there and does not answer: connections stay open, no request ever fails by itself.
 * The session timeout of the reader is short, so that its watchdog, which waits for two of them, is.
 */
test('a reader whose broker falls silent is started again, and goes on where it was', async () => {
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

  async function produce(from: number): Promise<void> {
    const producer = createKafkaProducer(kafka, { logger, role: 'test' });
    const records = Array.from({ length: 100 }, (_, i) => ({
      key: `key-${from + i}`,
      value: `value-${from + i}`,
      headers: {},
    }));
    await producer.send(TOPIC, records, AbortSignal.timeout(30_000));
    producer.stop();
  }

  const values = new Set<string>();
  const crashes: string[] = [];
  const consumer = createGroupConsumer(
    {
      kafka,
      consumer: consumerConfig.parse({
        group_id: TOPIC,
        session_timeout_ms: 1_500,
        heartbeat_interval_ms: 200,
      }),
    },
    {
      logger,
      sink: {
        full: () => null,
        accept(batch) {
          const { records } = batch;
          while (records.next()) values.add(records.record().value?.toString() ?? '');
          void consumer.commit([{ ...batch, offset: batch.to }]);
        },
      },
      events: { onCrash: (error) => crashes.push(error.message) },
    },
  );
  consumer.start();
  cleanups.push(() => consumer.stop());
  await produce(0);
  await until('the first records', 20_000, () => values.size === 100);
  // A broker that has just begun may have sent the group away once, while it still read its offsets.
  crashes.length = 0;

  process.kill(broker.pid, 'SIGSTOP');
  try {
    await until('the silence is noticed', 20_000, () => crashes.length > 0);
    expect(crashes[0]).toMatch(/no sign of life from the consumer/);
    expect(consumer.state()).not.toBe('running');
  } finally {
    process.kill(broker.pid, 'SIGCONT');
  }
  await produce(100);
  await until('the records after it', 30_000, () => values.size === 200);
});
