import { durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

/** How the sums per hour and day are kept fresh, and what that may cost. */
export const rollupsConfig = z.object({
  interval_ms: durationMs({ min: 100, max: 3_600_000 }).default(5_000).meta({
    env: 'INGEST_ROLLUP_INTERVAL',
    description: 'shortest time between two rounds',
  }),
  share_percent: integer({ min: 1, max: 100 }).default(20).meta({
    env: 'INGEST_ROLLUP_SHARE',
    description:
      'largest part of the time spent in rounds, in percent; a slow database makes rounds rarer',
  }),
  hours_max: integer({ min: 1, max: 1_000 }).default(48).meta({
    env: 'INGEST_ROLLUP_HOURS_MAX',
    description: 'hours recomputed in one round, the newest first; the rest waits for the next',
  }),
  threads: integer({ min: 1, max: 64 }).default(1).meta({
    env: 'INGEST_ROLLUP_THREADS',
    description: 'threads that the database uses for a recomputation',
  }),
  timeout_ms: durationMs({ min: 1_000, max: 3_600_000 }).default(600_000).meta({
    env: 'INGEST_ROLLUP_TIMEOUT',
    description: 'deadline of recomputing the hours of one day',
  }),
  known_sessions_max: integer({ min: 1, max: 100_000_000 }).default(200_000).meta({
    env: 'INGEST_ROLLUP_KNOWN_SESSIONS',
    description: 'sessions remembered as counted; one that was forgotten costs a look-up, no more',
  }),
});

export type RollupsConfig = z.infer<typeof rollupsConfig>;
