import { z } from 'zod';
import { counter } from '../events/counters.js';
import {
  liveWindowExample,
  streamCountersExample,
  streamGapExample,
  streamSessionExample,
} from './examples.js';
import { checkFilters, filterParams } from './filters.js';
import { figures } from './measures.js';
import { wireTime } from '../events/values.js';
import { session } from './session.js';
import { several, whole } from './values.js';

export const STREAM_EVENT_TYPES = ['started', 'changed', 'closed', 'counters'] as const;
export type StreamEventType = (typeof STREAM_EVENT_TYPES)[number];

export const streamQuery = z
  .strictObject({
    ...filterParams,
    type: several(z.enum(STREAM_EVENT_TYPES))
      .optional()
      .describe('only these events; may be repeated; default: all'),
  })
  .superRefine(checkFilters);
export type StreamQuery = z.infer<typeof streamQuery>;

/** `data` of the events started, changed and closed: the session as that event left it. */
export const streamSession = z
  .object({ ...session.shape, seq: counter.describe('number of the event within the session') })
  .meta({ id: 'StreamSession', examples: [streamSessionExample] });
export type StreamSession = z.infer<typeof streamSession>;

/** `data` of the event counters, every few seconds. Filters do not apply to it. */
export const streamCounters = z
  .object({
    as_of: wireTime,
    sessions_open: counter.describe('open now'),
    today: z.object(figures).describe('since midnight UTC'),
  })
  .meta({ id: 'StreamCounters', examples: [streamCountersExample] });
export type StreamCounters = z.infer<typeof streamCounters>;

/** `data` of the event gap: events of this time were left out. Read the state again. */
export const streamGap = z
  .object({ from: wireTime, to: wireTime })
  .meta({ id: 'StreamGap', examples: [streamGapExample] });

/** One frame: the name of its event, and its data parsed from JSON. */
export const streamFrame = z
  .union([
    z.object({ event: z.enum(['started', 'changed', 'closed']), data: streamSession }),
    z.object({ event: z.literal('counters'), data: streamCounters }),
    z.object({ event: z.literal('gap'), data: streamGap }),
  ])
  .meta({
    id: 'StreamFrame',
    examples: [{ event: 'counters', data: streamCountersExample }],
  });

/** Sort orders of a live view, the largest first; duration_ms: the longest open first. */
export const LIVE_SORTS = ['rate', 'bytes', 'started_at', 'duration_ms'] as const;
export type LiveSort = (typeof LIVE_SORTS)[number];

export const liveQuery = z
  .strictObject({
    ...filterParams,
    sort: z.enum(LIVE_SORTS).default('rate'),
    limit: whole(1, 500).default(50).describe('sessions in the window'),
  })
  .superRefine(checkFilters);
export type LiveQuery = z.infer<typeof liveQuery>;

const liveRate = z
  .number()
  .nonnegative()
  .describe(
    'bytes per second over the latest reported interval, of the last two minutes until a session ' +
      'reports for the first time in this stream; 0 after two intervals without a report',
  );

/** `data` of the event window: the top open sessions, and the sums over all that pass the filters. */
export const liveWindow = z
  .object({
    as_of: wireTime,
    every_ms: counter.describe('milliseconds until the next frame: 1000; 2000 or 5000 under load'),
    total: counter.describe('open sessions that match'),
    truncated: z.boolean().describe('more sessions are open than the live view holds'),
    bytes_sent_per_second: liveRate.describe('of all of them'),
    bytes_received_per_second: liveRate.describe('of all of them'),
    items: z.array(
      z.object({
        ...session.shape,
        bytes_sent_per_second: liveRate,
        bytes_received_per_second: liveRate,
      }),
    ),
  })
  .meta({ id: 'LiveWindow', examples: [liveWindowExample] });
export type LiveWindow = z.infer<typeof liveWindow>;

export { liveWindowExample, streamCountersExample, streamSessionExample };
