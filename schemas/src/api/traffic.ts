import { z } from 'zod';
import { counter } from '../events/counters.js';
import { trafficExample } from './examples.js';
import { formatParam } from './export.js';
import { answerMeta } from './measures.js';
import { attributeFilterParams, checkFilterRanges } from './filters.js';
import { wireTime } from '../events/values.js';
import { TOP_MEASURES } from './top.js';
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

export const TRAFFIC_SPLITS = ['user', 'dest_host', 'protocol', 'status', 'proxy_id'] as const;
export type TrafficSplit = (typeof TRAFFIC_SPLITS)[number];

export const trafficQuery = z
  .strictObject({
    ...rangeParams,
    interval: z
      .enum(['auto', ...TRAFFIC_INTERVALS])
      .default('auto')
      .describe('above an hour, the wall clock of time_zone decides where one begins'),
    points: whole(1, API_LIMITS.buckets_max)
      // A month by six hours, begun in the middle of one.
      .default(121)
      .describe('with interval=auto: the finest interval with at most this many points'),
    split: z.enum(TRAFFIC_SPLITS).optional().describe('one series per value, and one for others'),
    series: whole(1, API_LIMITS.series_max)
      .default(5)
      .describe('with split: the number of values that get a series of their own'),
    by: z.enum(TOP_MEASURES).default('bytes').describe('with split: the measure that ranks them'),
    ...attributeFilterParams,
    ...formatParam,
  })
  .superRefine(checkRange)
  .superRefine(checkFilterRanges);
export type TrafficQuery = z.infer<typeof trafficQuery>;

const points = z.array(counter);

/** One line of a chart: a value per bucket. */
export const trafficSeries = z
  .object({
    key: z.string().nullable().describe('value of the split; null without split and for others'),
    other: z.boolean().describe('the sum of all that have no series of their own'),
    bytes_sent: points,
    bytes_received: points,
    packets_sent: points,
    packets_received: points,
    started: points.describe('0 where split by status: sessions count at their end then'),
    closed: points,
    failed: points,
    rejected: points,
    active: points
      .nullable()
      .describe('sessions open at the end of the bucket; null where split by status'),
  })
  .meta({ id: 'TrafficSeries' });
export type TrafficSeries = z.infer<typeof trafficSeries>;

export const traffic = z
  .object({
    ...answerMeta,
    interval: z.enum(TRAFFIC_INTERVALS),
    split: z.enum(TRAFFIC_SPLITS).nullable(),
    buckets: z
      .array(wireTime)
      .describe('start of each bucket; the first and the last may be shorter than the interval'),
    series: z.array(trafficSeries),
  })
  .meta({ id: 'Traffic', examples: [trafficExample] });
export type Traffic = z.infer<typeof traffic>;
