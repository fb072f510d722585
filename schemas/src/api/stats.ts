import { z } from 'zod';
import { counter } from '../events/counters.js';
import { statsExample } from './examples.js';
import { checkFilters, filterParams } from './filters.js';
import { answerMeta, figures, timeRange } from './measures.js';
import { topDestination, topUser } from './top.js';
import { checkRange, rangeParams } from './values.js';

export const statsQuery = z
  .strictObject({ ...rangeParams, ...filterParams })
  .superRefine(checkRange)
  .superRefine(checkFilters);
export type StatsQuery = z.infer<typeof statsQuery>;

const quantile = counter.nullable();

/** The counts of one period. */
export const periodStats = z
  .object({
    ...figures,
    unique_users: counter.describe('different users of sessions started in the range'),
    unique_destinations: counter.describe(
      'different destinations of sessions started in the range',
    ),
    unique_sources: counter.describe('different source addresses of sessions started in the range'),
    duration_quantiles_ms: z
      .object({ p50: quantile, p90: quantile, p95: quantile, p99: quantile })
      .describe('durations of sessions ended in the range, within 1%; null if none ended'),
  })
  .meta({ id: 'PeriodStats' });
export type PeriodStats = z.infer<typeof periodStats>;

export const stats = z
  .object({
    ...answerMeta,
    sessions_open: counter.describe('open at the end of the range'),
    current: periodStats,
    previous_range: timeRange.describe(
      'the previous period: for months the month before, for days as many days before, else the same length just before; up to the same time if the range is not complete',
    ),
    previous: periodStats,
    top_users: z.array(topUser).describe('by bytes, at most 10'),
    top_destinations: z.array(topDestination).describe('by bytes, at most 10'),
  })
  .meta({ id: 'Stats', examples: [statsExample] });
export type Stats = z.infer<typeof stats>;
