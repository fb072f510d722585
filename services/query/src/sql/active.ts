import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { hasKeySql, OPEN_SQL, openNow } from './earlier-starts.js';
import { FINAL_SETTINGS, timeSql } from './expressions.js';
import { sessionRow } from './fields.js';
import { allOf } from './query.js';
import type { Condition, Query } from './query.js';
import { SESSION_COLUMNS, sessionAfter } from './sessions.js';
import type { PagePosition } from './sessions.js';
import { storedText } from './stored.js';
import { keyOf, shownKey, unionOf } from './sums.js';
import type { Part, ShownKeys, SumsBy } from './sums.js';

/** Few granules hold an open session: threads would cost more than they read. */
const OPEN_SETTINGS = { ...FINAL_SETTINGS, max_threads: 1 } as const;

/** A union of the same columns of open sessions that pass. */
function openRows(filter: Condition, select: (table: string, where: string) => string): Part {
  return unionOf(
    openNow(filter).map(({ table, where }) => ({
      sql: select(table, where.sql),
      params: where.params,
    })),
  );
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
  readonly filter: Condition;
  readonly position: PagePosition | null;
  readonly limit: number;
  readonly sinceMs: number;
}): Query<typeof activeRow> {
  const where = allOf([
    page.filter,
    ...(page.position === null ? [] : [sessionAfter(page.position, 'started_at', 'desc')]),
  ]);
  // All columns are read of the page only, which is dense.
  const open = openRows(
    where,
    (table, passes) => `SELECT ${SESSION_COLUMNS} FROM ${table} FINAL
        WHERE ${OPEN_SQL} AND ${hasKeySql([
          `SELECT started_at, session_id FROM ${table} FINAL
          WHERE ${passes}
          ORDER BY started_at DESC, toString(session_id) DESC
          LIMIT {limit:UInt32}`,
        ])}`,
  );
  return {
    name: 'active_page',
    sql: `SELECT s.*, r.recent_sent AS recent_sent, r.recent_received AS recent_received
      FROM (
        ${open.sql}
      ) AS s
      LEFT JOIN (${RECENT_SQL}) AS r ON r.session_id = s.session_id
      ORDER BY s.started_at DESC, toString(s.session_id) DESC
      LIMIT {limit:UInt32}`,
    params: { ...open.params, limit: page.limit, since_s: Math.floor(page.sinceMs / 1_000) },
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
  readonly filter: Condition;
  readonly limit: number;
  readonly sinceMs: number;
}): Query<typeof activeUserRow> {
  const open = openRows(
    of.filter,
    (table, where) =>
      `SELECT session_id, started_at, user, bytes_sent, bytes_received FROM ${table} FINAL WHERE ${where}`,
  );
  return {
    name: 'active_users',
    sql: `SELECT s.user AS user, toUInt8(grouping(s.user)) AS is_total, count() AS sessions,
        sum(s.bytes_sent) AS bytes_sent, sum(s.bytes_received) AS bytes_received,
        sum(r.recent_sent) AS recent_sent, sum(r.recent_received) AS recent_received,
        min(s.started_at) AS first_started_at
      FROM (
        ${open.sql}
      ) AS s
      LEFT JOIN (${RECENT_SQL}) AS r ON r.session_id = s.session_id
      GROUP BY s.user WITH ROLLUP
      ORDER BY is_total DESC, recent_sent + recent_received DESC, sessions DESC, user ASC
      LIMIT {limit:UInt32}`,
    params: { ...open.params, limit: of.limit + 1, since_s: Math.floor(of.sinceMs / 1_000) },
    row: activeUserRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

export const activeByKeyRow = z.object({ key: storedText, active: int64 });

/** Sessions open now that pass, by the keys of a dimension. */
export function activeByKeyQuery(of: {
  readonly by: SumsBy;
  readonly keys: readonly string[] | null;
  readonly shown: ShownKeys | null;
  readonly filter: Condition;
}): Query<typeof activeByKeyRow> {
  const key = shownKey(keyOf(of.by), of.shown);
  const filter = allOf([
    of.filter,
    ...(of.keys === null
      ? []
      : [{ sql: `${key} IN {keys:Array(String)}`, params: { keys: [...of.keys] } }]),
  ]);
  const open = openRows(
    filter,
    (table, where) =>
      `SELECT ${key} AS key, count() AS sessions FROM ${table} FINAL WHERE ${where} GROUP BY key`,
  );
  return {
    name: 'active_by_key',
    sql: `SELECT key, sum(sessions) AS active FROM (${open.sql}) GROUP BY key`,
    params: { ...open.params, ...of.shown?.params },
    row: activeByKeyRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

export type OpenSession = z.output<typeof sessionRow>;

/** Open sessions that pass, the newest first. */
export function openSessionsQuery(filter: Condition, limit: number): Query<typeof sessionRow> {
  const open = openRows(
    filter,
    (table, where) => `SELECT ${SESSION_COLUMNS} FROM ${table} FINAL WHERE ${where}`,
  );
  return {
    name: 'open_sessions',
    sql: `SELECT * FROM (${open.sql})
      ORDER BY started_at DESC, toString(session_id) DESC
      LIMIT {limit:UInt32}`,
    params: { ...open.params, limit },
    row: sessionRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

/** Open sessions with events since `heardMs`, each with its bytes since `sinceMs`, a whole minute. */
export function liveSessionsQuery(of: {
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
export function openTotalsQuery(filter: Condition): Query<typeof openTotalsRow> {
  const open = openRows(
    filter,
    (table, where) =>
      `SELECT bytes_sent AS sent, bytes_received AS received FROM ${table} FINAL WHERE ${where}`,
  );
  return {
    name: 'open_totals',
    sql: `SELECT sum(sent) AS bytes_sent, sum(received) AS bytes_received FROM (${open.sql})`,
    params: open.params,
    row: openTotalsRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}

const anyOpenRow = z.object({ open: z.int() });

/** One row if any session is open, else none. */
export function anyOpenQuery(): Query<typeof anyOpenRow> {
  const open = openRows(allOf([]), (table, where) => {
    return `SELECT 1 AS open FROM ${table} FINAL WHERE ${where} LIMIT 1`;
  });
  return {
    name: 'any_open',
    sql: `SELECT open FROM (${open.sql}) LIMIT 1`,
    params: open.params,
    row: anyOpenRow,
    settings: OPEN_SETTINGS,
    reuse: true,
  };
}
