import { byteSize, durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

/** Conditions to write a batch; the first that holds decides. They bound memory, because at most two batches exist. */
export const pipelineConfig = z.object({
  batch_events: integer({ min: 1, max: 10_000_000 })
    // With one more fetch it stays below 65,536, at which the columns of a batch would grow to twice the size.
    .default(56_000)
    .meta({ env: 'INGEST_BATCH_EVENTS', description: 'events after which a batch is written' }),
  batch_bytes: byteSize({ min: 1024, max: 1024 ** 3 })
    .default(64 * 1024 ** 2)
    .meta({
      env: 'INGEST_BATCH_BYTES',
      description: 'bytes of events after which a batch is written',
    }),
  batch_small_events: integer({ min: 1, max: 10_000_000 }).default(4_000).meta({
    env: 'INGEST_BATCH_SMALL',
    description:
      'a batch with fewer events at its age waits for 2.5 times INGEST_BATCH_AGE, because an insert of few rows costs nearly as much as a large one',
  }),
  batch_age_ms: durationMs({ min: 1, max: 600_000 }).default(500).meta({
    env: 'INGEST_BATCH_AGE',
    description: 'age of its first event after which a batch is written',
  }),
});

export type PipelineConfig = z.infer<typeof pipelineConfig>;
