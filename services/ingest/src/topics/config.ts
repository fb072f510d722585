import { durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

/** Settings of the two topics for `topics plan` and `topics ensure`. */
export const topicsConfig = z.object({
  partitions: integer({ min: 1, max: 10_000 }).default(12).meta({
    env: 'KAFKA_TOPIC_PARTITIONS',
    description: 'partitions of the event topic; ingest processes share them',
  }),
  replication: integer({ min: 0, max: 32 }).default(0).meta({
    env: 'KAFKA_TOPIC_REPLICATION',
    description: 'replicas of each topic; 0: the default of the brokers',
  }),
  retention_ms: durationMs().default(0).meta({
    env: 'KAFKA_TOPIC_RETENTION',
    description: 'how long the event topic keeps records; 0: the default of the brokers',
  }),
});

export type TopicsConfig = z.infer<typeof topicsConfig>;
