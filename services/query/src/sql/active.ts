import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { hasKeySql, OPEN_SQL, openKeysSql } from './earlier-starts.js';
import { FINAL_SETTINGS, timeSql } from './expressions.js';
import { sessionRow } from './fields.js';
import { allOf } from './query.js';
import type { Condition, Query } from './query.js';
import { SESSION_COLUMNS, sessionAfter } from './sessions.js';
import type { PagePosition } from './sessions.js';
import { storedText } from './stored.js';
import { keyOf, shownKey } from './sums.js';
import type { ShownKeys, SumsBy } from './sums.js';

/** Few granules hold an open session: threads would cost more than they read. */
const OPEN_SETTINGS = { ...FINAL_SETTINGS, max_threads: 1 } as const;

/** Open, and not begun before the earliest that is: see openFloorQuery. */
function openSince(fromMs: number): Condition {
  return {
    sql: `${OPEN_SQL} AND ${hasKeySql([openKeysSql(`started_at >= ${timeSql('open_from')}`)])}`,
    params: { open_from: fromMs },
  };
}

const floorRow = z.object({ oldest: wireTime.nullable() });

/**
 * A time before which no open session began; null if no session is open. Versions that have been
 * replaced make it too early at most, so FINAL is not needed.
 */
export function openFloorQuery(): Query<typeof floorRow> {
  return {
    name: 'open_floor',
    sql: `SELECT if(count() = 0, NULL, min(started_at)) AS oldest FROM sessions WHERE ${OPEN_SQL}`,
    params: {},
    row: floorRow,
    settings: { max_threads: 1 },
  };
}

/** Traffic since the minute that begins at `since_s`, per session. */
const RECENT_SQL = `
  SELECT session_id, sum(bytes_sent) AS recent_sent, sum(bytes_received) AS recent_received
  FROM session_traffic_1m FINAL
  WHERE bucket >= toDateTime({since_s:UInt32}, 'UTC')
  GROUP BY session_id`;

const activeRow = sessionRow.extend({ recent_sent: int64, recent_received: int64 });
export type ActiveRow = z.output<typeof activeRow>;

/** A page of open sessions, the newest first, with the bytes of each since `sinceMs`, a whole minute. */
export function activePageQuery(page: {
  /** See openFloorQuery. */
  readonly fromMs: number;
  readonly filter: Condition;
  readonly position: PagePosition | null;
  readonly limit: number;
  readonly sinceMs: number;
}): Query<typeof activeRow> {
  const where = allOf([
    openSince(page.fromMs),
    page.filter,
    ...(page.position === null ? [] : [sessionAfter(page.position, 'started_at', 'desc')]),
  ]);
  // All columns are read of the page only, which is dense; open sessions are spread over all that is kept.
  const keys = `SELECT started_at, session_id FROM sessions FINAL
        WHERE ${where.sql}
        ORDER BY started_at DESC, toString(session_id) DESC
        LIMIT {limit:UInt32}`;
  return {
    name: 'active_page',
    sql: `SELECT s.*, r.recent_sent AS recent_sent, r.recent_received AS recent_received
      FROM (
        SELECT ${SESSION_COLUMNS} FROM sessions FINAL
        WHERE ${OPEN_SQL} AND ${hasKeySql([keys])}
      ) AS s
      LEFT JOIN (${RECENT_SQL}) AS r ON r.session_id = s.session_id
      ORDER BY s.started_at DESC, toString(s.session_id) DESC
      LIMIT {limit:UInt32}`,
    params: { ...where.params, limit: page.limit, since_s: Math.floor(page.sinceMs / 1_000) },
    row: activeRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

const activeUserRow = z.object({
  user: storedText,
  is_total: z.int().min(0).max(1),
  sessions: int64,
  bytes_sent: int64,
  bytes_received: int64,
  recent_sent: int64,
  recent_received: int64,
  first_started_at: wireTime,
});

export type ActiveUserRow = z.output<typeof activeUserRow>;

/** Open sessions that pass: the total row, then one per user, most recent traffic first. */
export function activeUsersQuery(of: {
  readonly fromMs: number;
  readonly filter: Condition;
  readonly limit: number;
  readonly sinceMs: number;
}): Query<typeof activeUserRow> {
  const where = allOf([openSince(of.fromMs), of.filter]);
  return {
    name: 'active_users',
    sql: `SELECT s.user AS user, toUInt8(grouping(s.user)) AS is_total, count() AS sessions,
        sum(s.bytes_sent) AS bytes_sent, sum(s.bytes_received) AS bytes_received,
        sum(r.recent_sent) AS recent_sent, sum(r.recent_received) AS recent_received,
        min(s.started_at) AS first_started_at
      FROM (
        SELECT session_id, started_at, user, bytes_sent, bytes_received FROM sessions FINAL
        WHERE ${where.sql}
      ) AS s
      LEFT JOIN (${RECENT_SQL}) AS r ON r.session_id = s.session_id
      GROUP BY s.user WITH ROLLUP
      ORDER BY is_total DESC, recent_sent + recent_received DESC, sessions DESC, user ASC
      LIMIT {limit:UInt32}`,
    params: { ...where.params, limit: of.limit + 1, since_s: Math.floor(of.sinceMs / 1_000) },
    row: activeUserRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

export const activeByKeyRow = z.object({ key: storedText, active: int64 });

/** Sessions open now that pass, by the keys of a dimension. */
export function activeByKeyQuery(of: {
  readonly fromMs: number;
  readonly by: SumsBy;
  readonly keys: readonly string[] | null;
  readonly shown: ShownKeys | null;
  readonly filter: Condition;
}): Query<typeof activeByKeyRow> {
  const key = shownKey(keyOf(of.by), of.shown);
  const where = allOf([
    openSince(of.fromMs),
    of.filter,
    ...(of.keys === null
      ? []
      : [{ sql: `${key} IN {keys:Array(String)}`, params: { keys: [...of.keys] } }]),
  ]);
  return {
    name: 'active_by_key',
    sql: `SELECT ${key} AS key, count() AS active FROM sessions FINAL
      WHERE ${where.sql} GROUP BY key`,
    params: { ...where.params, ...of.shown?.params },
    row: activeByKeyRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

export type OpenSession = z.output<typeof sessionRow>;

/** Open sessions that pass, the newest first. */
export function openSessionsQuery(
  fromMs: number,
  filter: Condition,
  limit: number,
): Query<typeof sessionRow> {
  const where = allOf([openSince(fromMs), filter]);
  return {
    name: 'open_sessions',
    sql: `SELECT ${SESSION_COLUMNS} FROM sessions FINAL
      WHERE ${where.sql}
      ORDER BY started_at DESC, toString(session_id) DESC
      LIMIT {limit:UInt32}`,
    params: { ...where.params, limit },
    row: sessionRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

/** Open sessions with events since `heardMs`, each with its bytes since `sinceMs`, a whole minute. */
export function liveSessionsQuery(of: {
  readonly fromMs: number;
  readonly heardMs: number;
  readonly sinceMs: number;
  readonly limit: number;
}): Query<typeof activeRow> {
  const heard = {
    sql: `updated_at >= ${timeSql('heard_since')}`,
    params: { heard_since: of.heardMs },
  };
  return {
    ...activePageQuery({ ...of, filter: heard, position: null }),
    name: 'live_sessions',
    settings: OPEN_SETTINGS,
    reuse: false,
  };
}

const openTotalsRow = z.object({ bytes_sent: int64, bytes_received: int64 });

/** The bytes of all open sessions that pass. */
export function openTotalsQuery(fromMs: number, filter: Condition): Query<typeof openTotalsRow> {
  const where = allOf([openSince(fromMs), filter]);
  return {
    name: 'open_totals',
    sql: `SELECT sum(s.bytes_sent) AS bytes_sent, sum(s.bytes_received) AS bytes_received
      FROM sessions AS s FINAL WHERE ${where.sql}`,
    params: where.params,
    row: openTotalsRow,
    settings: { ...OPEN_SETTINGS, prefer_column_name_to_alias: 1 },
    reuse: true,
  };
}
