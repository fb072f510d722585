import { bool } from '@sockscope/runtime/clickhouse';
import type { SessionsIn } from '@sockscope/schemas/api';
import { SESSION_EVENT_TYPES, SESSION_FIELDS, TIMELINE_FIELDS } from '@sockscope/schemas';
import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { reaches } from './earlier-starts.js';
import {
  BRIEF_SETTINGS,
  BYTES_SQL,
  dateTime64Of,
  DURATION_SQL,
  FINAL_SETTINGS,
  timeSql,
} from './expressions.js';
import { sessionRow, timelineColumns } from './fields.js';
import { allOf } from './query.js';
import type { Condition, Query } from './query.js';
import type { OpenSpan } from '../time/range.js';

/** The columns of a session object, in its order. */
export const SESSION_COLUMNS = SESSION_FIELDS.join(', ');

/** Three orders of the same rows. */
export type SessionsTable = 'sessions' | 'sessions_by_user' | 'sessions_by_destination';

/** Starts of sessions by an address, in `sessions`. */
export type Projection = 'by_egress' | 'by_destination';

export type SessionSort = 'started_at' | 'ended_at' | 'duration_ms' | 'bytes';
export type SortOrder = 'asc' | 'desc';

/** Whole numbers. An open session counts as ended time of the session's latest event. */
const SORT_SQL: Readonly<Record<Exclude<SessionSort, 'started_at'>, string>> = {
  ended_at: 'toUnixTimestamp64Milli(ifNull(ended_at, updated_at))',
  duration_ms: DURATION_SQL,
  bytes: BYTES_SQL,
};
/** ClickHouse orders a UUID by its second half first; ids are ordered as the text that they are. */
const ID_SQL = 'toString(session_id)';

/** The columns of an order. The id breaks ties, so that a page has one order. */
export function sortKeys(sort: SessionSort): string[] {
  return [...(sort === 'started_at' ? [] : [SORT_SQL[sort]]), 'started_at', ID_SQL];
}

/** The start of a page: after this session, in the page's order. */
export interface PagePosition {
  /** The value sorted by; null if that is `started_at` itself. */
  readonly value: number | null;
  readonly startedMs: number;
  readonly sessionId: string;
}

/** Sessions of `[lowMs, highMs)` by start; null leaves that side open. */
export function startedWithin(lowMs: number | null, highMs: number | null): Condition {
  const conditions: Condition[] = [];
  if (lowMs !== null) {
    conditions.push({ sql: `started_at >= ${timeSql('start_low')}`, params: { start_low: lowMs } });
  }
  if (highMs !== null) {
    conditions.push({
      sql: `started_at < ${timeSql('start_high')}`,
      params: { start_high: highMs },
    });
  }
  return allOf(conditions);
}

/** Sessions that a range means, apart from bounds of their start. */
export function sessionsIn(which: SessionsIn, { fromMs, toMs }: OpenSpan): Condition {
  const from = (sql: string): Condition[] =>
    fromMs === null ? [] : [{ sql, params: { in_from: fromMs } }];
  switch (which) {
    case 'started':
      return allOf([]);
    case 'ended':
      return allOf([
        { sql: `status != 'active'`, params: {} },
        ...from(`ended_at >= ${timeSql('in_from')}`),
        ...(toMs === null
          ? []
          : [{ sql: `ended_at < ${timeSql('in_to')}`, params: { in_to: toMs } }]),
        ...(fromMs === null ? [] : [reaches(fromMs, 'in')]),
      ]);
    case 'open':
      // A session that ended at a time is no longer open then.
      return allOf([
        ...from(`status = 'active' OR ended_at > ${timeSql('in_from')}`),
        ...(fromMs === null ? [] : [reaches(fromMs, 'in')]),
      ]);
  }
}

export function sessionAfter(
  position: PagePosition,
  sort: SessionSort,
  order: SortOrder,
): Condition {
  const compare = order === 'desc' ? '<' : '>';
  const key = `${timeSql('after_start')}, {after_id:String}`;
  const params = { after_start: position.startedMs, after_id: position.sessionId };
  if (sort === 'started_at') {
    return {
      // The second condition implies the first, but only the first can use the primary key.
      sql: `started_at ${compare}= ${timeSql('after_start')}
        AND (started_at, ${ID_SQL}) ${compare} (${key})`,
      params,
    };
  }
  return {
    sql: `(${sortKeys(sort).join(', ')}) ${compare} ({after_value:Int64}, ${key})`,
    params: { ...params, after_value: position.value ?? 0 },
  };
}

/** A page of sessions by keyset: `limit` sessions that pass, in order, after the position. */
export function sessionsPageQuery(page: {
  readonly table: SessionsTable;
  readonly filter: Condition;
  readonly sort: SessionSort;
  readonly order: SortOrder;
  readonly position: PagePosition | null;
  readonly limit: number;
  /** Few rows are read. */
  readonly isShort: boolean;
  /** The range of starts; null if another range would not read less. */
  readonly range: OpenSpan | null;
}): Query<typeof sessionRow> {
  const { sort, order, position } = page;
  const where = allOf([
    page.filter,
    ...(position === null ? [] : [sessionAfter(position, sort, order)]),
  ]);
  const direction = order === 'desc' ? 'DESC' : 'ASC';
  return {
    name: `page_${page.table}`,
    sql: `SELECT ${SESSION_COLUMNS}
      FROM ${page.table} FINAL
      WHERE ${where.sql}
      ORDER BY ${sortKeys(sort)
        .map((key) => `${key} ${direction}`)
        .join(', ')}
      LIMIT {limit:UInt32}`,
    params: { ...where.params, limit: page.limit },
    row: sessionRow,
    settings: { ...FINAL_SETTINGS, ...(page.isShort ? BRIEF_SETTINGS : {}) },
    reuse: true,
    ...(page.range === null ? {} : { range: page.range }),
  };
}

const totalsRow = z.object({
  sessions: int64,
  bytes: int64,
  bytes_sent: int64,
  bytes_received: int64,
  packets_sent: int64,
  packets_received: int64,
  duration_ms: int64,
});

/** The sums of all sessions that pass, as they are now. */
export function sessionTotalsQuery(
  table: SessionsTable,
  filter: Condition,
  range: OpenSpan | null,
): Query<typeof totalsRow> {
  return {
    name: 'session_totals',
    sql: `SELECT count() AS sessions, sum(bytes_sent + bytes_received) AS bytes,
        sum(s.bytes_sent) AS bytes_sent, sum(s.bytes_received) AS bytes_received,
        sum(s.packets_sent) AS packets_sent, sum(s.packets_received) AS packets_received,
        sum(${DURATION_SQL}) AS duration_ms
      FROM ${table} AS s FINAL
      WHERE ${filter.sql}`,
    params: filter.params,
    row: totalsRow,
    settings: { ...FINAL_SETTINGS, prefer_column_name_to_alias: 1 },
    reuse: true,
    ...(range === null ? {} : { range }),
  };
}

/**
 * Holds for sessions with these ids. A UUIDv7 carries its start, which bounds the primary key; the lists are
 * parameters as they are, because the index does not see through a function over them.
 *
 * @param startsMs starts of the sessions, milliseconds since 1970.
 */
export function hasIds(ids: readonly string[], startsMs: readonly number[]): Condition {
  return {
    sql: `started_at IN {starts:Array(DateTime64(3, 'UTC'))} AND session_id IN {ids:Array(UUID)}`,
    params: { starts: startsMs.map((ms) => dateTime64Of(Math.min(ms, LATEST_MS))), ids: [...ids] },
  };
}

/**
 * The sessions with these ids. PREWHERE is safe before FINAL because neither column ever changes; it spares most of a
 * granule's other columns.
 */
export function sessionsByIdQuery(
  ids: readonly string[],
  startsMs: readonly number[],
): Query<typeof sessionRow> {
  const these = hasIds(ids, startsMs);
  return {
    name: 'session_by_id',
    sql: `SELECT ${SESSION_COLUMNS}
      FROM sessions FINAL
      PREWHERE ${these.sql}`,
    params: these.params,
    row: sessionRow,
    settings: { ...FINAL_SETTINGS, ...BRIEF_SETTINGS },
  };
}

/** A UUIDv7 may name a time that no DateTime64 holds; nothing started then. */
const LATEST_MS = Date.UTC(2200, 0, 1);

const earliestRow = z.object({ started_at: wireTime.nullable() });

/** The start of the earliest session, from the parts' own statistics. */
export function earliestSessionQuery(): Query<typeof earliestRow> {
  return {
    name: 'earliest_session',
    sql: `SELECT if(count() = 0, NULL, min(started_at)) AS started_at FROM sessions`,
    params: {},
    row: earliestRow,
    // A page begins to read there: too early does no harm, and a filter would make it read the table.
    seesExpired: true,
  };
}

const eventRow = z.object({
  seq: z.int(),
  type: z.enum(SESSION_EVENT_TYPES),
  occurred_at: wireTime,
  bytes_sent: int64,
  bytes_received: int64,
  packets_sent: int64,
  packets_received: int64,
  interval_start: wireTime.nullable(),
  interval_end: wireTime.nullable(),
  delta_bytes_sent: int64,
  delta_bytes_received: int64,
  delta_packets_sent: int64,
  delta_packets_received: int64,
  ...timelineColumns,
  late: bool,
});
export type EventRow = z.output<typeof eventRow>;

/** Events of one session with a seq above `afterSeq`, in order. */
export function sessionEventsQuery(page: {
  readonly sessionId: string;
  readonly startedMs: number;
  readonly afterSeq: number;
  readonly limit: number;
}): Query<typeof eventRow> {
  return {
    name: 'session_events',
    // An assumed end gives way to an event of the same seq. The first copy has the time of arrival;
    // FINAL would keep any of the copies.
    sql: `SELECT seq, type, occurred_at, bytes_sent, bytes_received, packets_sent, packets_received,
        interval_start, interval_end, delta_bytes_sent, delta_bytes_received,
        delta_packets_sent, delta_packets_received, ${TIMELINE_FIELDS.join(', ')},
        min(ingested_at) OVER (ORDER BY seq ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
          AS later_ingested_at,
        later_ingested_at != 0 AND later_ingested_at < ingested_at AS late
      FROM (
        SELECT * FROM session_events
        WHERE started_at = ${timeSql('started')} AND session_id = {session_id:UUID}
          AND seq > {after_seq:Int64}
        ORDER BY seq, assumed, ingested_at
        LIMIT 1 BY seq
      )
      ORDER BY seq
      LIMIT {limit:UInt32}`,
    params: {
      started: page.startedMs,
      session_id: page.sessionId,
      after_seq: page.afterSeq,
      limit: page.limit,
    },
    row: eventRow,
  };
}
