import { z } from 'zod';
import { byteSize, durationMs } from '../config/values.js';

/** How a member of a consumer group reads. The bounds hold each other; see the refinement. */
export const consumerConfig = z
  .object({
    group_id: z
      .string()
      .min(1)
      .max(249)
      .default('sockscope-ingest')
      .meta({ env: 'KAFKA_GROUP_ID', description: 'consumer group that shares the partitions' }),
    session_timeout_ms: durationMs({ min: 1_000, max: 1_800_000 }).default(30_000).meta({
      env: 'KAFKA_SESSION_TIMEOUT',
      description: "time without a heartbeat after which the group reassigns a member's partitions",
    }),
    rebalance_timeout_ms: durationMs({ min: 1_000, max: 1_800_000 }).default(60_000).meta({
      env: 'KAFKA_REBALANCE_TIMEOUT',
      description: 'how long the group waits for its members to join again',
    }),
    heartbeat_interval_ms: durationMs({ min: 100, max: 600_000 })
      .default(3_000)
      .meta({ env: 'KAFKA_HEARTBEAT_INTERVAL', description: 'time between two heartbeats' }),
    fetch_max_wait_ms: durationMs({ min: 1, max: 60_000 }).default(200).meta({
      env: 'KAFKA_FETCH_MAX_WAIT',
      description: 'how long a broker may hold an empty fetch',
    }),
    fetch_max_bytes: byteSize({ min: 64 * 1024, max: 1024 ** 3 })
      .default(4 * 1024 ** 2)
      .meta({ env: 'KAFKA_FETCH_MAX_BYTES', description: 'most bytes of one fetch, as stored' }),
    fetch_max_bytes_per_partition: byteSize({ min: 16 * 1024, max: 1024 ** 3 })
      .default(256 * 1024)
      .meta({
        env: 'KAFKA_FETCH_MAX_BYTES_PER_PARTITION',
        description: 'most bytes of one partition in one fetch, as stored',
      }),
    batch_max_bytes: byteSize({ min: 1024 ** 2, max: 2 * 1024 ** 3 })
      .default(128 * 1024 ** 2)
      .meta({
        env: 'KAFKA_BATCH_MAX_BYTES',
        description:
          'most memory for decompressed record batches; the partition of a larger one waits',
      }),
    metadata_max_age_ms: durationMs({ min: 500, max: 3_600_000 }).default(60_000).meta({
      env: 'KAFKA_METADATA_MAX_AGE',
      description: 'how long until new partitions of the topic are noticed',
    }),
  })
  .superRefine((config, ctx) => {
    if (config.heartbeat_interval_ms * 2 >= config.session_timeout_ms) {
      ctx.addIssue({
        code: 'custom',
        path: ['heartbeat_interval_ms'],
        message: 'must be below half of session_timeout_ms',
      });
    }
  });

export type ConsumerConfig = z.infer<typeof consumerConfig>;
