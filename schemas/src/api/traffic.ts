import { z } from 'zod';
import { counter } from '../events/counters.js';
import { wireTime } from '../events/values.js';
import { trafficExample } from './examples.js';
import { formatParam } from './export.js';
import { checkFilters, filterParams } from './filters.js';
import { answerMeta, keyFigures, sumSort } from './measures.js';
import { TOP_FIELDS } from './top.js';
import type { TopField } from './top.js';
import { API_LIMITS, checkRange, rangeParams, whole } from './values.js';

export const TRAFFIC_INTERVALS = [
  '1m',
  '5m',
  '15m',
  '30m',
  '1h',
  '3h',
  '6h',
  '12h',
  '1d',
  '1w',
  '1mo',
] as const;

export const trafficQuery = z
  .strictObject({
    ...rangeParams,
    interval: z
      .enum(['auto', ...TRAFFIC_INTERVALS])
      .default('auto')
      .describe('intervals begin by the wall clock of time_zone'),
    points: whole(1, API_LIMITS.buckets_max)
      // A month by six hours, begun in the middle of one.
      .default(121)
      .describe(
        'with interval=auto: the finest interval with at most this many points that sums answer',
      ),
    split: z.enum(TOP_FIELDS).optional().describe('one series per value, and one for others'),
    series: whole(1, API_LIMITS.series_max)
      .default(5)
      .describe('with split: number of values with their own series'),
    sort: sumSort.describe('with split: the figure that ranks them'),
    shape: z
      .enum(['series', 'rows'])
      .default('series')
      .describe('rows: a plain array of one object per point and series'),
    ...filterParams,
    ...formatParam,
  })
  .superRefine(checkRange)
  .superRefine(checkFilters);
export type TrafficQuery = z.infer<typeof trafficQuery>;

const points = z.array(counter);

/** The figures of a series, a value per bucket. */
export const SERIES_FIGURES = [
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'sessions_started',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
] as const;

/** One line of a chart: a value per bucket. */
export const trafficSeries = z
  .object({
    key: z
      .union([z.string(), z.int()])
      .nullable()
      .describe(
        'value of the split; null without split, for the others, and for sessions without a value',
      ),
    other: z.boolean().describe('the sum of all other values'),
    bytes_sent: points,
    bytes_received: points,
    packets_sent: points,
    packets_received: points,
    sessions_started: points
      .nullable()
      .describe('null by rule, close reason and status, because these count sessions at their end'),
    sessions_closed: points,
    sessions_failed: points,
    sessions_rejected: points,
    sessions_open: points
      .nullable()
      .describe('open at the end of the bucket; null by rule, close reason and status'),
  })
  .meta({ id: 'TrafficSeries' });
export type TrafficSeries = z.infer<typeof trafficSeries>;

export const traffic = z
  .object({
    ...answerMeta,
    interval: z.enum(TRAFFIC_INTERVALS),
    split: z.enum(TOP_FIELDS).nullable(),
    buckets: z
      .array(wireTime)
      .describe('start of each bucket; the first and the last may be shorter than the interval'),
    series: z.array(trafficSeries),
  })
  .meta({ id: 'Traffic', examples: [trafficExample] });
export type Traffic = z.infer<typeof traffic>;

/** The key stands under the name of its field. */
const splitKeys = Object.fromEntries(
  TOP_FIELDS.map((field) => [
    field,
    z.union([z.string(), z.int()]).nullable().optional().describe(`with split=${field}`),
  ]),
) as unknown as {
  readonly [F in TopField]: z.ZodOptional<z.ZodNullable<z.ZodUnion<[z.ZodString, z.ZodInt]>>>;
};

/** One point of one series, with shape=rows and in an export. */
export const trafficRow = z
  .object({
    bucket: wireTime.describe('start of the bucket'),
    ...splitKeys,
    other: z.boolean().optional().describe('with split'),
    bytes_sent: counter,
    bytes_received: counter,
    packets_sent: counter,
    packets_received: counter,
    sessions_started: keyFigures.sessions_started,
    sessions_closed: counter,
    sessions_failed: counter,
    sessions_rejected: counter,
    sessions_open: counter.nullable(),
  })
  .meta({ id: 'TrafficRow' });
export type TrafficRow = z.infer<typeof trafficRow>;
export const trafficRows = z.array(trafficRow);
