import { z } from 'zod';
import { counter, counters } from '../events/counters.js';
import { wireTime } from '../events/values.js';

/** A half-open range of time in an answer. */
export const timeRange = z.object({ from: wireTime, to: wireTime.describe('excluded') });

export const RESOLUTIONS = ['minute', 'hour', 'day'] as const;

/** The sources of an answer over a range, and their freshness. */
export const answerMeta = {
  range: timeRange.describe('the requested range; sessions are counted in exactly this range'),
  bytes_range: timeRange.describe(
    'the range in which bytes and packets are counted: `range` in whole UTC minutes, or in whole UTC hours if the minutes have expired (RETENTION_TRAFFIC)',
  ),
  time_zone: z.string(),
  resolution: z
    .enum(RESOLUTIONS)
    .describe('the finest table that was read; `minute`: single rows, or sums of ten minutes'),
  stale_hours: counter.describe(
    'hours of the range whose sums are older than their latest change; normally 0',
  ),
  incomplete_minutes: counter.describe(
    'minutes of the range whose details have expired (RETENTION_TRAFFIC, RETENTION_PAIRS_HOURS); normally 0',
  ),
  as_of: wireTime.describe('when the tables were read'),
  data_until: wireTime
    .nullable()
    .describe('time of the newest stored event then; null if there is none'),
  waiting_partitions: z
    .array(
      z.object({
        topic: z.string(),
        partition: counter,
        kind: z.string().describe('why ingest stopped; see `pipeline`'),
        since: wireTime,
        data_until: wireTime
          .nullable()
          .describe('time of its newest stored event; null if there is none'),
      }),
    )
    .describe(
      'Kafka partitions that ingest has stopped at: their newest sessions are missing from the range',
    ),
};

const startedCounter = counter
  .nullable()
  .describe(
    'started in the range; null by rule, close reason and status, because these count sessions at their end',
  );

/**
 * The counts over a range, with the same names everywhere. `sessions_started` counts at the
 * start; the counts of ends, and durations, at the end; bytes and packets in the UTC minute in which they
 * moved.
 */
export const figures = {
  sessions_started: counter.describe('started in the range'),
  sessions_ended: counter.describe('ended in the range: closed, failed and rejected together'),
  sessions_closed: counter.describe('ended in the range with status closed'),
  sessions_failed: counter.describe('ended in the range with status failed'),
  sessions_rejected: counter.describe('ended in the range with status rejected_by_acl'),
  bytes: counter.describe('both directions together'),
  ...counters.shape,
  duration_ms: counter.describe('sum over the sessions that ended in the range'),
};

/** The same of one key of a dimension. */
export const keyFigures = { ...figures, sessions_started: startedCounter };

const figuresObject = z.object(figures);
export type Figures = z.infer<typeof figuresObject>;
const keyFiguresObject = z.object(keyFigures);
export type KeyFigures = z.infer<typeof keyFiguresObject>;

export const FIGURE_NAMES = Object.keys(figures) as (keyof Figures)[];

/** Sort orders of lists of sums, the largest first. */
export const SUM_SORTS = [
  'bytes',
  'bytes_sent',
  'bytes_received',
  'sessions_started',
  'sessions_ended',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
  'packets_sent',
  'packets_received',
  'duration_ms',
] as const satisfies readonly (keyof Figures)[];
export type SumSort = (typeof SUM_SORTS)[number];

export const sumSort = z
  .enum(SUM_SORTS)
  .default('bytes')
  .describe('largest first; equal values by sessions_started, then by name');
