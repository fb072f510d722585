import type { OpenAtSort } from '@sockscope/schemas/api';
import { z } from 'zod';
import { activeByKeyRow } from './active.js';
import { int64, wireTime } from './columns.js';
import { openAt, reaches } from './earlier-starts.js';
import type { Sought } from './earlier-starts.js';
import { BYTES_SQL, dateTime64Of, FINAL_SETTINGS, timeSql } from './expressions.js';
import { allOf } from './query.js';
import type { Condition, Query } from './query.js';
import type { PagePosition, SessionsTable } from './sessions.js';
import { keyOf, shownKey, unionOf } from './sums.js';
import type { ShownKeys, SumsBy } from './sums.js';

const KEY_SQL: Readonly<Record<OpenAtSort, string>> = {
  started_at: 'toInt64(0)',
  rate: 'sent + received',
  // Today's value: an upper bound of the value then.
  bytes: 'bytes_today',
};

/** The bytes of each session in one minute. */
const MINUTE_SQL = `SELECT session_id, sum(bytes_sent) AS sent, sum(bytes_received) AS received
  FROM session_traffic_1m FINAL
  WHERE bucket = toDateTime({minute_s:UInt32}, 'UTC')
  GROUP BY session_id`;

const openAtRow = z.object({
  session_id: z.string(),
  started_at: wireTime,
  bytes_today: int64,
  sent: int64,
  received: int64,
  open: int64,
  all_sent: int64,
  all_received: int64,
});
export type OpenAtRow = z.output<typeof openAtRow>;

/**
 * Sessions that were open at a time, with their bytes in the minute of that time. Every row has the
 * sums over all that were open.
 */
export function openAtQuery(of: {
  readonly sought: Sought;
  readonly atMs: number;
  /** Start of the minute that `atMs` lies in. */
  readonly minuteMs: number;
  readonly sort: OpenAtSort;
  readonly order: 'asc' | 'desc';
  readonly position: PagePosition | null;
  readonly limit: number;
}): Query<typeof openAtRow> {
  const open = unionOf(
    openAt(of.atMs, 'open', of.sought).map(({ table, where }) => ({
      sql: `SELECT session_id, started_at, ${BYTES_SQL} AS bytes_today FROM ${table} FINAL WHERE ${where.sql}`,
      params: where.params,
    })),
  );
  const direction = of.order === 'asc' ? 'ASC' : 'DESC';
  const after: Condition =
    of.position === null
      ? allOf([])
      : {
          sql: `(${KEY_SQL[of.sort]}, started_at, toString(session_id))
            ${of.order === 'asc' ? '>' : '<'} ({after_value:Int64}, ${timeSql('after_start')}, {after_id:String})`,
          params: {
            after_value: of.position.value ?? 0,
            after_start: of.position.startedMs,
            after_id: of.position.sessionId,
          },
        };
  return {
    name: 'open_at',
    sql: `SELECT * FROM (
        SELECT s.session_id AS session_id, s.started_at AS started_at, s.bytes_today AS bytes_today,
          toInt64(t.sent) AS sent, toInt64(t.received) AS received, count() OVER () AS open,
          sum(t.sent) OVER () AS all_sent, sum(t.received) OVER () AS all_received
        FROM (${open.sql}) AS s
        LEFT JOIN (${MINUTE_SQL}) AS t ON t.session_id = s.session_id
      )
      WHERE ${after.sql}
      ORDER BY ${KEY_SQL[of.sort]} ${direction}, started_at ${direction},
        toString(session_id) ${direction}
      LIMIT {limit:UInt32}`,
    params: {
      ...open.params,
      ...after.params,
      minute_s: Math.floor(of.minuteMs / 1_000),
      limit: of.limit,
    },
    row: openAtRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

/** Sessions that were open at a time, by the keys of a dimension that `ended_sessions` has if it is used. */
export function openAtByKeyQuery(of: {
  readonly atMs: number;
  readonly sought: Sought;
  readonly by: SumsBy;
  readonly keys: readonly string[] | null;
  readonly shown: ShownKeys | null;
}): Query<typeof activeByKeyRow> {
  const key = shownKey(keyOf(of.by), of.shown);
  const { sql, params } = unionOf(
    openAt(of.atMs, 'open', of.sought).map(({ table, where }) => ({
      sql: `SELECT ${key} AS key, count() AS sessions FROM ${table} FINAL
        WHERE ${where.sql}${of.keys === null ? '' : ` AND ${key} IN {keys:Array(String)}`}
        GROUP BY key`,
      params: where.params,
    })),
  );
  return {
    name: 'open_at_by_key',
    sql: `SELECT key, sum(sessions) AS active FROM (${sql}) GROUP BY key`,
    params: {
      ...params,
      ...of.shown?.params,
      ...(of.keys === null ? {} : { keys: [...of.keys] }),
    },
    row: activeByKeyRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

const countersRow = z.object({
  session_id: z.string(),
  bytes_sent: int64,
  bytes_received: int64,
  packets_sent: int64,
  packets_received: int64,
});
export type CountersRow = z.output<typeof countersRow>;

const COUNTERS = ['bytes_sent', 'bytes_received', 'packets_sent', 'packets_received'] as const;

/** Totals of sessions in their last event at or before a time. No row if no event is kept. */
export function countersByEventQuery(
  sessions: readonly { readonly session_id: string; readonly startedMs: number }[],
  atMs: number,
): Query<typeof countersRow> {
  return {
    name: 'counters_by_event',
    sql: `SELECT session_id, ${COUNTERS.map((name) => `argMax(e.${name}, e.seq) AS ${name}`).join(', ')}
      FROM session_events AS e
      PREWHERE started_at IN {starts:Array(DateTime64(3, 'UTC'))} AND session_id IN {ids:Array(UUID)}
      WHERE occurred_at <= ${timeSql('at')}
      GROUP BY session_id`,
    params: {
      starts: sessions.map(({ startedMs }) => dateTime64Of(startedMs)),
      ids: sessions.map(({ session_id }) => session_id),
      at: atMs,
    },
    row: countersRow,
  };
}

/**
 * Totals of sessions over the whole minutes before the one that begins at `minuteMs`. No row if
 * nothing moved.
 */
export function countersByMinuteQuery(
  sessions: readonly {
    readonly session_id: string;
    readonly startedMs: number;
    readonly user: string;
  }[],
  minuteMs: number,
): Query<typeof countersRow> {
  const firstMs = Math.min(...sessions.map(({ startedMs }) => startedMs));
  return {
    name: 'counters_by_minute',
    sql: `SELECT session_id, ${COUNTERS.map((name) => `sum(m.${name}) AS ${name}`).join(', ')}
      FROM session_traffic_1m AS m FINAL
      WHERE bucket >= toStartOfMinute(toDateTime({first_s:UInt32}, 'UTC'))
        AND bucket < toDateTime({minute_s:UInt32}, 'UTC')
        AND user IN {users:Array(String)} AND session_id IN {ids:Array(UUID)}
      GROUP BY session_id`,
    params: {
      first_s: Math.floor(firstMs / 1_000),
      minute_s: Math.floor(minuteMs / 1_000),
      users: [...new Set(sessions.map(({ user }) => user))],
      ids: sessions.map(({ session_id }) => session_id),
    },
    row: countersRow,
    settings: FINAL_SETTINGS,
  };
}

const frameRow = z.object({
  at: int64,
  session_id: z.string(),
  started_at: wireTime,
  sent: int64,
  received: int64,
  open: int64,
  all_sent: int64,
  all_received: int64,
});

/** The same at many times at once: of each the sessions that moved most in its minute. */
export function playbackQuery(of: {
  readonly table: SessionsTable;
  readonly framesMs: readonly number[];
  readonly filter: Condition;
  readonly limit: number;
}): Query<typeof frameRow> {
  const fromMs = Math.min(...of.framesMs);
  const toMs = Math.max(...of.framesMs);
  const where = allOf([
    {
      sql: `started_at <= ${timeSql('last')} AND (status = 'active' OR ended_at > ${timeSql('first')})`,
      params: { first: fromMs, last: toMs },
    },
    reaches(fromMs, 'frames'),
    of.filter,
  ]);
  return {
    name: 'playback',
    sql: `SELECT at, session_id, started_at, toInt64(t.sent) AS sent, toInt64(t.received) AS received,
        count() OVER (PARTITION BY at) AS open,
        sum(t.sent) OVER (PARTITION BY at) AS all_sent,
        sum(t.received) OVER (PARTITION BY at) AS all_received
      FROM (
        SELECT session_id, started_at,
          arrayJoin(arrayFilter(
            f -> f >= toUnixTimestamp64Milli(started_at)
              AND (status = 'active' OR f < toUnixTimestamp64Milli(assumeNotNull(ended_at))),
            {frames:Array(Int64)}
          )) AS at,
          toDateTime(intDiv(at, 60000) * 60, 'UTC') AS minute
        FROM ${of.table} FINAL WHERE ${where.sql}
      ) AS s
      LEFT JOIN (
        SELECT session_id, bucket, sum(bytes_sent) AS sent, sum(bytes_received) AS received
        FROM session_traffic_1m FINAL
        WHERE bucket IN {minutes:Array(DateTime('UTC'))}
        GROUP BY session_id, bucket
      ) AS t ON t.session_id = s.session_id AND t.bucket = s.minute
      ORDER BY at, sent + received DESC, started_at DESC, toString(session_id) DESC
      LIMIT {limit:UInt32} BY at`,
    params: {
      ...where.params,
      frames: [...of.framesMs],
      minutes: [...new Set(of.framesMs.map((ms) => dateTime64Of(ms - (ms % 60_000)).slice(0, 19)))],
      limit: of.limit,
    },
    row: frameRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
