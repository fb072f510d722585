import { durationMs } from '@sockscope/runtime';
import { z } from 'zod';

/** When a session whose proxy is gone is declared lost. All times are event times. */
export const lostConfig = z.object({
  after_ms: durationMs({ min: 60_000, max: 30 * 86_400_000 })
    .default(600_000)
    .meta({
      env: 'INGEST_LOST_AFTER',
      description:
        'time without a heartbeat after which an open session is declared lost; heartbeats come every 30 s',
    }),
  replaced_after_ms: durationMs({ min: 0, max: 30 * 86_400_000 })
    .default(90_000)
    .meta({
      env: 'INGEST_LOST_REPLACED_AFTER',
      description: 'the same if a newer process of the same proxy has sent events',
    }),
  interval_ms: durationMs({ min: 100, max: 3_600_000 }).default(30_000).meta({
    env: 'INGEST_LOST_INTERVAL',
    description: 'time between two searches',
  }),
});

export type LostConfig = z.infer<typeof lostConfig>;
