import { z } from 'zod';
import { CLOSE_REASONS, SESSION_STATUSES } from '../events/close-reason.js';
import { counter, counters } from '../events/counters.js';
import { ACL_DECISIONS, COMMANDS, PROTOCOLS, SESSION_EVENT_TYPES } from '../events/events.js';
import { sessionId } from '../events/session-id.js';
import {
  activeSessionExample,
  activeSessionsPageExample,
  sessionExample,
  sessionsPageExample,
  timelineExample,
} from './examples.js';
import { formatParam } from './export.js';
import {
  addressOrBlock,
  cursor,
  decimal,
  hostPattern,
  instant,
  optionalPageSize,
  pageSize,
  port,
  several,
  text,
  whole,
} from './values.js';

/** A time in an answer: UTC, milliseconds, `Z`. */
export const wireTime = z.string().meta({ format: 'date-time' });

const MAX_DURATION_SECS = 3_153_600_000;

/** Filters by what a session is. All that are given must hold. */
export const attributeFilterParams = {
  user: several(text).optional().describe('exact; may be repeated'),
  status: several(z.enum(SESSION_STATUSES)).optional().describe('may be repeated'),
  close_reason: several(z.enum(CLOSE_REASONS)).optional().describe('may be repeated'),
  dest_host: several(hostPattern)
    .optional()
    .describe(
      'as asked by the client, exact; *.example.com takes every name below it; may be repeated',
    ),
  dest_ip: several(addressOrBlock).optional().describe('address or CIDR block; may be repeated'),
  dest_port: several(port).optional().describe('may be repeated'),
  source_ip: several(addressOrBlock).optional().describe('address or CIDR block; may be repeated'),
  protocol: z.enum(PROTOCOLS).optional(),
  command: z.enum(COMMANDS).optional(),
  acl_decision: z.enum(ACL_DECISIONS).optional(),
  acl_rule_matched: several(text).optional().describe('exact; may be repeated'),
  proxy_id: several(text).optional().describe('exact; may be repeated'),
  min_duration_secs: decimal(0, MAX_DURATION_SECS)
    .optional()
    .describe('at least this long; an open session lasts until it was last heard of'),
  max_duration_secs: decimal(0, MAX_DURATION_SECS).optional().describe('at most this long'),
  min_bytes: whole(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('at least this many bytes, both ways together'),
  max_bytes: whole(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('at most this many bytes, both ways together'),
};

/** Filters of lists of sessions: by what they are, and by when they were. */
export const sessionFilterParams = {
  ...attributeFilterParams,
  start_after: instant.optional().describe('started at or after this time'),
  start_before: instant.optional().describe('started before this time'),
  overlap_after: instant.optional().describe('open at or after this time: not ended before it'),
  overlap_before: instant.optional().describe('open before this time: started before it'),
};

/** The problems of bounds that exclude each other. */
export function checkFilterRanges(
  filters: {
    start_after?: number | undefined;
    start_before?: number | undefined;
    overlap_after?: number | undefined;
    overlap_before?: number | undefined;
    min_duration_secs?: number | undefined;
    max_duration_secs?: number | undefined;
    min_bytes?: number | undefined;
    max_bytes?: number | undefined;
  },
  ctx: z.core.$RefinementCtx,
): void {
  const pairs = [
    ['start_before', filters.start_after, filters.start_before],
    ['overlap_before', filters.overlap_after, filters.overlap_before],
    ['max_duration_secs', filters.min_duration_secs, filters.max_duration_secs],
    ['max_bytes', filters.min_bytes, filters.max_bytes],
  ] as const;
  for (const [parameter, low, high] of pairs) {
    if (low !== undefined && high !== undefined && high < low) {
      ctx.addIssue({
        code: 'custom',
        path: [parameter],
        message: `must not lie below the other end of the range`,
      });
    }
  }
}

export const SESSION_SORTS = ['started_at', 'duration_ms', 'bytes'] as const;
export const SORT_ORDERS = ['desc', 'asc'] as const;

export const sessionsQuery = z
  .strictObject({
    ...sessionFilterParams,
    sort: z.enum(SESSION_SORTS).default('started_at'),
    order: z.enum(SORT_ORDERS).default('desc'),
    limit: optionalPageSize,
    cursor: cursor.optional(),
    ...formatParam,
  })
  .superRefine(checkFilterRanges);

export type SessionsQuery = z.infer<typeof sessionsQuery>;
export type SessionFilters = Omit<SessionsQuery, 'sort' | 'order' | 'limit' | 'cursor' | 'format'>;

/** One session. Its counters are exact; "packets" are datagrams for UDP, reads from the socket for TCP. */
export const session = z
  .object({
    session_id: sessionId,
    started_at: wireTime,
    ended_at: wireTime.nullable().describe('null while open'),
    updated_at: wireTime.describe('when it was last heard of'),
    duration_ms: counter.nullable().describe('null while open'),
    status: z.enum(SESSION_STATUSES),
    close_reason: z.enum(CLOSE_REASONS).nullable(),
    error_code: z.string().nullable().describe('errno or SOCKS reply'),
    user: z.string(),
    source_ip: z.string(),
    source_port: z.int(),
    dest_host: z.string().describe('as asked: a name or an address'),
    dest_ip: z.string().nullable().describe('the address connected to'),
    dest_port: z.int(),
    protocol: z.enum(PROTOCOLS),
    command: z.enum(COMMANDS),
    auth_method: z.string(),
    acl_decision: z.enum(ACL_DECISIONS),
    acl_rule_matched: z.string().nullable(),
    connect_ms: counter.nullable(),
    ...counters.shape,
    proxy_id: z.string(),
  })
  .meta({
    id: 'Session',
    examples: [sessionExample],
  });

export type Session = z.infer<typeof session>;

const nextCursor = z.string().nullable().describe('the next page, null after the last one');

export const sessionsPage = z
  .object({ items: z.array(session), next_cursor: nextCursor })
  .meta({ id: 'SessionsPage', examples: [sessionsPageExample] });
export type SessionsPage = z.infer<typeof sessionsPage>;

const { status: _status, close_reason: _closeReason, ...activeFilterParams } = sessionFilterParams;

export const activeSessionsQuery = z
  .strictObject({ ...activeFilterParams, limit: pageSize, cursor: cursor.optional() })
  .superRefine(checkFilterRanges);
export type ActiveSessionsQuery = z.infer<typeof activeSessionsQuery>;

const rate = z.number().nonnegative().describe('bytes per second, over `rate_window_ms`');

export const activeSession = z
  .object({
    ...session.shape,
    bytes_sent_per_second: rate,
    bytes_received_per_second: rate,
    rate_window_ms: counter.describe(
      'the time that the rates are an average of, at most two minutes',
    ),
  })
  .meta({ id: 'ActiveSession', examples: [activeSessionExample] });
export type ActiveSession = z.infer<typeof activeSession>;

export const activeSessionsPage = z
  .object({
    items: z.array(activeSession),
    next_cursor: nextCursor,
    total: counter.describe('open sessions that pass the filters, on all pages'),
    users: z
      .array(
        z.object({
          user: z.string(),
          sessions: counter,
          bytes_sent: counter,
          bytes_received: counter,
          bytes_sent_per_second: rate,
          bytes_received_per_second: rate,
        }),
      )
      .describe('the same sessions per user, the busiest first, at most 100'),
    as_of: wireTime,
  })
  .meta({ id: 'ActiveSessionsPage', examples: [activeSessionsPageExample] });
export type ActiveSessionsPage = z.infer<typeof activeSessionsPage>;

export const sessionParams = z.strictObject({
  session_id: z
    .string()
    .toLowerCase()
    .pipe(sessionId)
    .meta({ examples: ['019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f'] }),
});

export const noQuery = z.strictObject({});
export const noParams = z.object({});

export const timelineQuery = z.strictObject({ limit: pageSize, cursor: cursor.optional() });
export type TimelineQuery = z.infer<typeof timelineQuery>;

/** One event of a session's timeline. */
export const timelineEvent = z
  .object({
    seq: counter,
    type: z.enum(SESSION_EVENT_TYPES),
    occurred_at: wireTime,
    ...counters.shape,
    interval_start: wireTime.nullable(),
    interval_end: wireTime.nullable(),
    delta: counters.nullable().describe('what moved in the interval; null in SessionStarted'),
    missing_before: counter.describe(
      'events with a lower seq that are missing just before this one',
    ),
    late: z.boolean().describe('stored after an event with a higher seq'),
    status: z.enum(SESSION_STATUSES).nullable(),
    close_reason: z.enum(CLOSE_REASONS).nullable(),
    error_code: z.string().nullable(),
  })
  .meta({ id: 'TimelineEvent' });
export type TimelineEvent = z.infer<typeof timelineEvent>;

export const timelinePage = z
  .object({ items: z.array(timelineEvent), next_cursor: nextCursor })
  .meta({ id: 'TimelinePage', examples: [timelineExample] });
export type TimelinePage = z.infer<typeof timelinePage>;
