import { z } from 'zod';
import { SESSION_EVENT_TYPES } from '../events/choices.js';
import { SESSION_STATUSES } from '../events/close-reason.js';
import type { SessionStatus } from '../events/close-reason.js';
import { counter, counters } from '../events/counters.js';
import { fieldOf, FIELDS, namesIn, SESSION_FIELDS, TIMELINE_FIELDS } from '../events/fields.js';
import type { FieldName, NameIn, SessionField, TimelineField } from '../events/fields.js';
import { sessionId } from '../events/session-id.js';
import { wireTime } from '../events/values.js';
import {
  activeSessionExample,
  activeSessionsPageExample,
  playbackExample,
  sessionExample,
  sessionsAtPageExample,
  sessionsPageExample,
  timelineExample,
} from './examples.js';
import { formatParam } from './export.js';
import { checkFilters, filterParams } from './filters.js';
import { moment } from './moment.js';
import { figures } from './measures.js';
import {
  checkRange,
  cursor,
  flag,
  openRangeParams,
  optionalPageSize,
  pageSize,
  timeZone,
  whole,
} from './values.js';

export const SESSION_SORTS = ['started_at', 'ended_at', 'duration_ms', 'bytes', 'rate'] as const;
export type SessionSort = (typeof SESSION_SORTS)[number];
/** Figures of the sessions that were open at a time. */
export const OPEN_AT_SORTS = ['started_at', 'bytes', 'rate'] as const;
export type OpenAtSort = (typeof OPEN_AT_SORTS)[number];
export const SORT_ORDERS = ['desc', 'asc'] as const;

/** Which sessions a range means. */
export const SESSIONS_IN = ['started', 'ended', 'open'] as const;
export type SessionsIn = (typeof SESSIONS_IN)[number];

const fieldNames = z
  .string()
  .max(1_024)
  .regex(
    new RegExp(`^(?:${SESSION_FIELDS.join('|')})(?:,(?:${SESSION_FIELDS.join('|')}))*$`),
    `must be field names separated by commas: ${SESSION_FIELDS.join(', ')}`,
  )
  .transform((names): SessionField[] => {
    const wanted = names.split(',');
    return SESSION_FIELDS.filter((name) => wanted.includes(name));
  })
  .optional()
  .describe('only these fields of each session, separated by commas; default: all')
  .meta({ examples: ['session_id,user,dest_host,bytes_sent'] });

/** The problems of `at` together with the rules of a range, and of orders that only one of both has. */
function checkAt(
  query: Readonly<Record<string, unknown>> & { readonly sort: SessionSort },
  ctx: z.core.$RefinementCtx,
): void {
  const refuse = (name: string, message: string) => {
    ctx.addIssue({ code: 'custom', path: [name], message });
  };
  if (query['at'] === undefined) {
    if (query.sort === 'rate') refuse('sort', 'rate needs at');
    return;
  }
  for (const name of ['from', 'to', 'period', 'totals', 'format']) {
    if (query[name] !== undefined) refuse(name, 'cannot be combined with at');
  }
  if (query['in'] !== 'started') refuse('in', 'cannot be combined with at');
  if (!OPEN_AT_SORTS.some((sort) => sort === query.sort)) {
    refuse('sort', `with at it is one of ${OPEN_AT_SORTS.join(', ')}`);
  }
  if (query.sort === 'bytes' && query['order'] === 'asc') {
    refuse('order', 'with at, bytes are always sorted in descending order');
  }
}

export const sessionsQuery = z
  .strictObject({
    ...openRangeParams,
    at: moment
      .optional()
      .describe(
        'sessions that were open at this time, with their counters at that time; replaces the range',
      ),
    in: z
      .enum(SESSIONS_IN)
      .default('started')
      .describe('sessions that started in the range, ended in it, or were open at any time in it'),
    ...filterParams,
    sort: z
      .enum(SESSION_SORTS)
      .default('started_at')
      .describe('rate only with `at`; ended_at and duration_ms only without'),
    order: z.enum(SORT_ORDERS).default('desc'),
    limit: optionalPageSize,
    cursor: cursor.optional(),
    fields: fieldNames,
    totals: flag.describe('true: adds the totals of all matching sessions, on all pages'),
    ...formatParam,
  })
  .superRefine(checkRange)
  .superRefine(checkFilters)
  .superRefine(checkAt);
export type SessionsQuery = z.infer<typeof sessionsQuery>;

type Answer<N extends FieldName> = (typeof FIELDS)[N]['value']['answer'];

/** How answers show these fields: fields that only SessionClosed has are null until then. */
type AnswerShape<N extends FieldName> = {
  readonly [K in N]: K extends NameIn<'closing'>
    ? K extends 'status'
      ? z.ZodEnum<{ [S in SessionStatus]: S }>
      : z.ZodNullable<Answer<K>>
    : Answer<K>;
};

const CLOSING: ReadonlySet<string> = new Set(namesIn('closing'));

function answerOf(name: FieldName): z.ZodType {
  const { value, description } = fieldOf(name);
  if (name === 'status') return z.enum(SESSION_STATUSES).describe('how it ended, or active');
  if (!CLOSING.has(name)) return value.answer.describe(description);
  return value.nullable === true
    ? value.answer.describe(description)
    : value.answer.nullable().describe(`${description}, null while open`);
}

/** One session. Its counters are exact; "packets" are datagrams for UDP, reads from the socket for TCP. */
export const session = z
  .object(
    Object.fromEntries(
      SESSION_FIELDS.map((name) => [name, answerOf(name)]),
    ) as unknown as AnswerShape<SessionField>,
  )
  .meta({
    id: 'Session',
    examples: [sessionExample],
  });

export type Session = z.infer<typeof session>;

const nextCursor = z.string().nullable().describe('cursor of the next page; null on the last one');

/** The source of the counters of a past moment. Nothing is interpolated. */
export const COUNTER_SOURCES = ['event', 'minute', 'none'] as const;
export type CounterSource = (typeof COUNTER_SOURCES)[number];

const pastRate = z
  .number()
  .nonnegative()
  .describe('bytes per second, averaged over the UTC minute of the time');

/** A session as it was at a time. */
export const sessionAt = session
  .partial()
  .extend(
    Object.fromEntries(
      Object.keys(counters.shape).map((name) => [
        name,
        counter.nullable().describe('at that time; null if `counters` is none').optional(),
      ]),
    ) as {
      readonly [K in keyof typeof counters.shape]: z.ZodOptional<z.ZodNullable<typeof counter>>;
    },
  )
  .extend({
    counters: z
      .enum(COUNTER_SOURCES)
      .describe(
        'event: from the last event at or before the time; minute: from the whole minutes before it; none: expired',
      ),
    bytes_sent_per_second: pastRate,
    bytes_received_per_second: pastRate,
  })
  .meta({ id: 'SessionAt' });
export type SessionAt = z.infer<typeof sessionAt>;

export const sessionsAtPage = z
  .object({
    at: wireTime.describe('the time'),
    items: z
      .array(sessionAt)
      .describe(
        "sessions that were open then. All fields except counters and rates have today's values",
      ),
    next_cursor: nextCursor,
    total: counter.describe('matching sessions that were open then'),
    bytes_sent_per_second: pastRate.describe('total of these sessions, over that minute'),
    bytes_received_per_second: pastRate.describe('total of these sessions, over that minute'),
    ranking: z
      .enum(['exact', 'bounded'])
      .describe('bounded: only the sessions with the most bytes today were ranked'),
  })
  .meta({ id: 'SessionsAtPage', examples: [sessionsAtPageExample] });
export type SessionsAtPage = z.infer<typeof sessionsAtPage>;

/** Frames of one request. */
export const PLAYBACK_FRAMES_MAX = 120;
const PLAYBACK_STEP_MAX_SECONDS = 86_400;

/** Past moments, one after the other. */
export const playbackQuery = z
  .strictObject({
    from: moment.default({ kind: 'now', steps: [{ kind: 'back', count: 1, unit: 'h' }] }),
    to: moment.default({ kind: 'now', steps: [] }).describe('excluded'),
    time_zone: timeZone.default('UTC'),
    step: z
      .string()
      .regex(/^[1-9]\d{0,4}[smh]$/, 'must be a duration such as 10s, 1m or 1h')
      .transform((text) => {
        const units = { s: 1, m: 60, h: 3_600 } as const;
        return Number(text.slice(0, -1)) * units[text.slice(-1) as keyof typeof units] * 1_000;
      })
      .refine((ms) => ms <= PLAYBACK_STEP_MAX_SECONDS * 1_000, 'must be at most a day')
      .default(60_000)
      .describe(`time between two frames; at most ${PLAYBACK_FRAMES_MAX} frames per request`),
    ...filterParams,
    limit: whole(1, 200)
      .default(25)
      .describe('sessions per frame; those with the most bytes are shown'),
  })
  .superRefine(checkFilters);
export type PlaybackQuery = z.infer<typeof playbackQuery>;

export const playback = z
  .object({
    step_ms: counter,
    frames: z.array(
      z.object({
        at: wireTime,
        open: counter.describe('matching sessions that were open then'),
        bytes_sent_per_second: pastRate,
        bytes_received_per_second: pastRate,
        items: z
          .array(
            z.object({
              session_id: sessionId,
              bytes_sent_per_second: pastRate,
              bytes_received_per_second: pastRate,
            }),
          )
          .describe('the sessions with the most bytes in that minute'),
      }),
    ),
    sessions: z.array(session).describe("every session in the frames, with today's values"),
  })
  .meta({ id: 'Playback', examples: [playbackExample] });
export type Playback = z.infer<typeof playback>;

/** A session with only the fields that were asked for. */
const someFields = session.partial().meta({ id: 'SessionFields' });

/** The sums of whole sessions: bytes that they moved before and after the range count, too. */
export const sessionTotals = z
  .object({
    sessions: counter,
    bytes: figures.bytes,
    ...counters.shape,
    duration_ms: counter.describe('for an open session, until its latest event'),
  })
  .meta({ id: 'SessionTotals' });
export type SessionTotals = z.infer<typeof sessionTotals>;

export const sessionsPage = z
  .object({
    items: z.array(someFields).describe('sessions with all fields, or those in `fields`'),
    next_cursor: nextCursor,
    totals: sessionTotals.optional().describe('with totals=true'),
  })
  .meta({ id: 'SessionsPage', examples: [sessionsPageExample] });
export type SessionsPage = z.infer<typeof sessionsPage>;

export const activeSessionsQuery = z
  .strictObject({ ...filterParams, limit: pageSize, cursor: cursor.optional() })
  .superRefine(checkFilters);
export type ActiveSessionsQuery = z.infer<typeof activeSessionsQuery>;

const rate = z.number().nonnegative().describe('bytes per second, over `rate_window_ms`');

export const activeSession = z
  .object({
    ...session.shape,
    bytes_sent_per_second: rate,
    bytes_received_per_second: rate,
    rate_window_ms: counter.describe('the time over which rates are averaged, at most two minutes'),
  })
  .meta({ id: 'ActiveSession', examples: [activeSessionExample] });
export type ActiveSession = z.infer<typeof activeSession>;

export const activeSessionsPage = z
  .object({
    items: z.array(activeSession),
    next_cursor: nextCursor,
    total: counter.describe('open sessions that match the filters, on all pages'),
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
      .describe('these sessions per user, busiest first, at most 100'),
    as_of: wireTime,
  })
  .meta({ id: 'ActiveSessionsPage', examples: [activeSessionsPageExample] });
export type ActiveSessionsPage = z.infer<typeof activeSessionsPage>;

export const sessionParams = z.strictObject({
  session_id: z
    .string()
    .regex(
      /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$/,
      'must be a UUID of version 7',
    )
    .toLowerCase()
    .pipe(sessionId)
    .meta({ examples: ['019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f'] }),
});

export const noQuery = z.strictObject({});
export const noParams = z.object({});

export const timelineQuery = z.strictObject({ limit: pageSize, cursor: cursor.optional() });
export type TimelineQuery = z.infer<typeof timelineQuery>;

type TimelineShape = {
  readonly [N in TimelineField]: z.ZodNullable<Answer<N>>;
};

/** Null in events without it. */
const timelineShape = Object.fromEntries(
  TIMELINE_FIELDS.map((name) => {
    const { value, description } = fieldOf(name);
    const { answer } = value;
    return [name, (value.nullable === true ? answer : answer.nullable()).describe(description)];
  }),
) as unknown as TimelineShape;

/** One event of a session's timeline. */
export const timelineEvent = z
  .object({
    seq: counter,
    type: z.enum(SESSION_EVENT_TYPES),
    occurred_at: wireTime,
    ...counters.shape,
    interval_start: wireTime.nullable(),
    interval_end: wireTime.nullable(),
    delta: counters.nullable().describe('traffic in the interval; null in SessionStarted'),
    missing_before: counter.describe('missing events just before this one, by seq'),
    late: z.boolean().describe('stored after an event with a higher seq'),
    ...timelineShape,
  })
  .meta({ id: 'TimelineEvent' });
export type TimelineEvent = z.infer<typeof timelineEvent>;

export const timelinePage = z
  .object({
    items: z.array(timelineEvent),
    expired: z
      .boolean()
      .describe('true: the events of this session are no longer kept (RETENTION_EVENTS)'),
    next_cursor: nextCursor,
  })
  .meta({ id: 'TimelinePage', examples: [timelineExample] });
export type TimelinePage = z.infer<typeof timelinePage>;
