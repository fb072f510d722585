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
  sessionExample,
  sessionsPageExample,
  timelineExample,
} from './examples.js';
import { formatParam } from './export.js';
import { checkFilters, filterParams } from './filters.js';
import { figures } from './measures.js';
import { checkRange, cursor, flag, openRangeParams, optionalPageSize, pageSize } from './values.js';

export const SESSION_SORTS = ['started_at', 'ended_at', 'duration_ms', 'bytes'] as const;
export const SORT_ORDERS = ['desc', 'asc'] as const;

/** Which sessions a range means. */
export const SESSIONS_IN = ['started', 'ended', 'open'] as const;
export type SessionsIn = (typeof SESSIONS_IN)[number];

const fieldNames = z
  .string()
  .max(1_024)
  .regex(/^[a-z_]+(?:,[a-z_]+)*$/, 'must be names of fields with commas between')
  .transform((names, ctx): SessionField[] => {
    const known = SESSION_FIELDS.filter((name) => names.split(',').includes(name));
    const unknown = names.split(',').filter((name) => !known.some((each) => each === name));
    if (unknown.length === 0) return known;
    ctx.addIssue({
      code: 'custom',
      message: `there is no field ${unknown.slice(0, 3).join(', ')}; there are ${SESSION_FIELDS.join(', ')}`,
    });
    return z.NEVER;
  })
  .optional()
  .describe('only these fields of each session, with commas between; default: all')
  .meta({ examples: ['session_id,user,dest_host,bytes_sent'] });

export const sessionsQuery = z
  .strictObject({
    ...openRangeParams,
    in: z
      .enum(SESSIONS_IN)
      .default('started')
      .describe('sessions that started in the range, ended in it, or were open at any time in it'),
    ...filterParams,
    sort: z.enum(SESSION_SORTS).default('started_at'),
    order: z.enum(SORT_ORDERS).default('desc'),
    limit: optionalPageSize,
    cursor: cursor.optional(),
    fields: fieldNames,
    totals: flag.describe('true: adds the totals of all sessions that pass, on all pages'),
    ...formatParam,
  })
  .superRefine(checkRange)
  .superRefine(checkFilters);
export type SessionsQuery = z.infer<typeof sessionsQuery>;

type Answer<N extends FieldName> = (typeof FIELDS)[N]['value']['answer'];

/** How answers show these fields: what only SessionClosed says is null until then. */
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

const nextCursor = z.string().nullable().describe('the next page, null after the last one');

/** A session with only the fields that were asked for. */
const someFields = session.partial().meta({ id: 'SessionFields' });

/** The sums of whole sessions: what they moved before and after the range counts, too. */
export const sessionTotals = z
  .object({
    sessions: counter,
    bytes: figures.bytes,
    ...counters.shape,
    duration_ms: counter.describe('an open session lasts until it was last heard of'),
  })
  .meta({ id: 'SessionTotals' });
export type SessionTotals = z.infer<typeof sessionTotals>;

export const sessionsPage = z
  .object({
    items: z.array(someFields).describe('whole sessions, unless `fields` says which of theirs'),
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

type TimelineShape = {
  readonly [N in TimelineField]: z.ZodNullable<Answer<N>>;
};

/** Null in events that do not say it. */
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
    delta: counters.nullable().describe('what moved in the interval; null in SessionStarted'),
    missing_before: counter.describe(
      'events with a lower seq that are missing just before this one',
    ),
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
