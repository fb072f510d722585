import { byteSize, integer } from '@sockscope/runtime';
import { dlqTopicOf } from '@sockscope/schemas';
import { z } from 'zod';

/** The dead-letter topic, and how many dead letters one partition of the events may make. */
export const dlqConfig = z.object({
  topic: z
    .string()
    .regex(/^[A-Za-z0-9._-]{0,249}$/, 'must be a name that Kafka allows')
    .default('')
    .meta({
      env: 'INGEST_DLQ_TOPIC',
      description: 'dead-letter topic; empty: the event topic followed by .dlq',
    }),
  partitions: integer({ min: 1, max: 10_000 }).default(1).meta({
    env: 'INGEST_DLQ_PARTITIONS',
    description: 'partitions of the topic if ingest creates it',
  }),
  replication: integer({ min: 0, max: 100 }).default(0).meta({
    env: 'INGEST_DLQ_REPLICATION',
    description: 'replicas of the topic if ingest creates it; 0: the default of the brokers',
  }),
  records_per_s: integer({ min: 1, max: 1_000_000 }).default(1_000).meta({
    env: 'INGEST_DLQ_RECORDS_PER_S',
    description: 'dead letters a second of one partition; above it, the partition waits',
  }),
  bytes_per_s: byteSize({ min: 1024, max: 1024 ** 3 })
    .default(4 * 1024 ** 2)
    .meta({
      env: 'INGEST_DLQ_BYTES_PER_S',
      description: 'bytes of dead letters a second of one partition; above it, the partition waits',
    }),
});

export type DlqConfig = z.infer<typeof dlqConfig>;

/** The name of the dead-letter topic. */
export function dlqTopicNameOf(config: {
  readonly kafka: { readonly topic: string };
  readonly dlq: Pick<DlqConfig, 'topic'>;
}): string {
  return config.dlq.topic === '' ? dlqTopicOf(config.kafka.topic) : config.dlq.topic;
}
