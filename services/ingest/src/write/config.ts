import { durationMs } from '@sockscope/runtime';
import { z } from 'zod';

export const writerConfig = z.object({
  insert_timeout_ms: durationMs({ min: 100, max: 1_800_000 }).default(20_000).meta({
    env: 'INGEST_INSERT_TIMEOUT',
    description: 'deadline of one insert; below the session timeout of the consumer group',
  }),
  backoff_max_ms: durationMs({ min: 10, max: 600_000 }).default(5_000).meta({
    env: 'INGEST_BACKOFF_MAX',
    description: 'longest pause between two tries of the same insert',
  }),
});

export type WriterConfig = z.infer<typeof writerConfig>;
