import { byteSize, durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

/** How the sums are kept fresh, and the limits of the cost. */
export const rollupsConfig = z.object({
  interval_ms: durationMs({ min: 100, max: 3_600_000 }).default(5_000).meta({
    env: 'INGEST_ROLLUP_INTERVAL',
    description:
      'shortest time between the starts of two rounds that sum the newest slices, and between two looks for other work',
  }),
  share_percent: integer({ min: 1, max: 100 }).default(50).meta({
    env: 'INGEST_ROLLUP_SHARE',
    description:
      'largest part of the time for rounds of hours, days and weeks, in percent, and as much for their details; with a slow database, rounds are rarer',
  }),
  present_percent: integer({ min: 1, max: 100 }).default(15).meta({
    env: 'INGEST_ROLLUP_PRESENT_SHARE',
    description:
      'part of the time for the newest slices of the present hour, in percent, while their sums are young enough; they wait for no other round',
  }),
  present_age_ms: durationMs({ min: 1_000, max: 3_600_000 }).default(25_000).meta({
    env: 'INGEST_ROLLUP_PRESENT_AGE',
    description:
      'age that the sums of the last minutes should not exceed: rounds take up to three quarters of the time to keep it',
  }),
  quiet_ms: durationMs({ max: 86_400_000 }).default(45_000).meta({
    env: 'INGEST_ROLLUP_QUIET',
    description:
      'time without changes after which sums by user and destination, and sketches, of a finished hour are made',
  }),
  workers: integer({ min: 1, max: 64 }).default(1).meta({
    env: 'INGEST_ROLLUP_WORKERS',
    description:
      'ingest processes that share the sums: the readers of this number of partitions. More than one helps when a round takes too long',
  }),
  threads: integer({ min: 1, max: 64 }).default(1).meta({
    env: 'INGEST_ROLLUP_THREADS',
    description: 'threads that the database uses for one statement',
  }),
  present_threads: integer({ min: 1, max: 64 }).default(2).meta({
    env: 'INGEST_ROLLUP_PRESENT_THREADS',
    description:
      'the same for the newest slices of the present hour: beside much other work, a statement gets as many cores as its threads win',
  }),
  present_nice: integer({ min: -20, max: 19 }).default(-15).meta({
    env: 'INGEST_ROLLUP_PRESENT_NICE',
    description:
      'niceness of these threads in the database (see nice(1)), so that they go before merges and other sums; 0 changes nothing. It has an effect if the server has CAP_SYS_NICE',
  }),
  statement_ms: durationMs({ min: 1_000, max: 3_600_000 }).default(30_000).meta({
    env: 'INGEST_ROLLUP_TIMEOUT',
    description:
      'longest time of one statement; a bucket that needs more is summed in parts. The smallest ones, and sketches, may take four times as long',
  }),
  memory_bytes: byteSize({ min: 64 * 1024 ** 2, max: 1024 ** 4 })
    .default(1024 ** 3)
    .meta({
      env: 'INGEST_ROLLUP_MEMORY',
      description:
        'memory that the database may use for one statement; each process runs up to three at once',
    }),
  open_sessions_max: integer({ min: 1_000, max: 100_000_000 }).default(5_000_000).meta({
    env: 'INGEST_OPEN_SESSIONS_MAX',
    description:
      'open sessions that are remembered; events of others cost a lookup in the database',
  }),
});

export type RollupsConfig = z.infer<typeof rollupsConfig>;
