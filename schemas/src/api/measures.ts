import { z } from 'zod';
import { counter, counters } from '../events/counters.js';
import { wireTime } from '../events/values.js';

/** A half-open range of time in an answer. */
export const timeRange = z.object({ from: wireTime, to: wireTime.describe('excluded') });

export const RESOLUTIONS = ['minute', 'hour', 'day'] as const;

/** What an answer over a range was computed from, and how fresh it is. */
export const answerMeta = {
  range: timeRange,
  time_zone: z.string(),
  resolution: z
    .enum(RESOLUTIONS)
    .describe('the finest table that was read: traffic is exact to the minute'),
  stale_hours: counter.describe(
    'hours of the range that changed and are answered by sums from before the change; 0 as a rule',
  ),
  incomplete_minutes: counter.describe(
    'minutes of the range that are known no longer in the detail that the question needs (RETENTION_TRAFFIC, RETENTION_PAIRS_HOURS): what moved in them is not counted, and of a pair of user and destination its sessions neither; 0 as a rule',
  ),
  as_of: wireTime.describe('when the question was put to the tables'),
  data_until: wireTime
    .nullable()
    .describe('the newest event that had been stored then; null where there is none'),
};

/**
 * What is counted over a range. Sessions started are counted at their start; closed, failed and
 * rejected ones, and their durations, at their end; bytes and packets in the UTC minute in which
 * they moved.
 */
export const measures = {
  started: counter,
  closed: counter,
  failed: counter,
  rejected: counter,
  ...counters.shape,
  duration_ms: counter.describe('sum over the sessions that ended in the range'),
};
