import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { EGRESS_UNRECORDED_SQL, keysWithin } from './earlier-starts.js';
import type { Keyed, LookedUp } from './earlier-starts.js';
import { ENDED_UNKNOWN_SQL } from './filters.js';
import type { Span } from '../sums/plan.js';
import { FINAL_SETTINGS, dateTime64Of, timeSql } from './expressions.js';
import { sessionRow } from './fields.js';
import { allOf, anyOf } from './query.js';
import type { Condition, Query } from './query.js';
import { hasIds, SESSION_COLUMNS } from './sessions.js';
import type { Projection, SessionsTable } from './sessions.js';

/** Keys have decided which granules are read: the indexes exclude no more of them. */
const KEYED_SETTINGS = { ...FINAL_SETTINGS, use_skip_indexes_if_final: 0 } as const;

const startRow = z.object({ started_at: wireTime });

/** When sessions of an address began, the newest first, `[fromMs, beforeMs)`. */
export function startsQuery(of: {
  readonly address: Condition;
  readonly projection: Projection;
  readonly fromMs: number;
  readonly beforeMs: number;
  readonly limit: number;
}): Query<typeof startRow> {
  return {
    name: 'lookup_starts',
    sql: `SELECT DISTINCT started_at FROM sessions
      WHERE ${of.address.sql} AND started_at >= ${timeSql('starts_from')} AND started_at < ${timeSql('starts_before')}
      ORDER BY started_at DESC
      LIMIT {limit:UInt32}`,
    params: {
      ...of.address.params,
      starts_from: of.fromMs,
      starts_before: of.beforeMs,
      limit: of.limit,
    },
    row: startRow,
    // Only this projection is compared with the table, without the table's indexes: they are larger than it.
    settings: {
      max_threads: 1,
      use_skip_indexes: 0,
      preferred_optimize_projection_name: of.projection,
    },
  };
}

/**
 * Sessions with these starts that pass and lasted until `endedMs` or longer. Sessions of a destination are side by
 * side in the table by destination; in `sessions` most of them are in a granule of their own.
 */
export function startedAt(of: {
  readonly starts: readonly number[];
  readonly endedMs: number;
  readonly filter: Condition;
  readonly projection: Projection;
}): Keyed & { readonly table: SessionsTable } {
  const started = {
    sql: `started_at IN {starts:Array(DateTime64(3, 'UTC'))}`,
    params: { starts: of.starts.map(dateTime64Of) },
  };
  const where = allOf([
    {
      sql: `status = 'active' OR ended_at >= ${timeSql('ended_from')}`,
      params: { ended_from: of.endedMs },
    },
    of.filter,
  ]);
  if (of.projection === 'by_egress') return { table: 'sessions', keys: started, where };
  const key = 'dest_host, started_at, session_id';
  const keys = {
    sql: `(${key}) IN (SELECT ${key} FROM sessions WHERE ${started.sql} AND ${of.filter.sql})`,
    params: started.params,
  };
  return { table: 'sessions_by_destination', keys, where };
}

/** Milliseconds between a time and the nearest moment at which a session was open. */
const DISTANCE_SQL = `greatest(0,
  toUnixTimestamp64Milli(started_at) - {time:Int64},
  if(status = 'active', 0, {time:Int64} - toUnixTimestamp64Milli(assumeNotNull(ended_at))))`;

/** Sessions that pass, the closest to a time first; without a time the newest. */
export function lookupQuery(of: {
  readonly table: SessionsTable;
  readonly found: Keyed;
  readonly timeMs: number | null;
  readonly limit: number;
}): Query<typeof sessionRow> {
  return {
    name: 'lookup',
    sql: `SELECT ${SESSION_COLUMNS}
      FROM ${of.table} FINAL
      PREWHERE ${of.found.keys.sql}
      WHERE ${of.found.where.sql}
      ORDER BY ${of.timeMs === null ? '' : `${DISTANCE_SQL}, `}started_at DESC, toString(session_id) DESC
      LIMIT {limit:UInt32}`,
    params: {
      ...of.found.keys.params,
      ...of.found.where.params,
      ...(of.timeMs === null ? {} : { time: of.timeMs }),
      limit: of.limit,
    },
    row: sessionRow,
    settings: KEYED_SETTINGS,
  };
}

const countRow = z.object({ sessions: int64 });

const UNRECORDED: Condition = {
  sql: `${EGRESS_UNRECORDED_SQL} > 0 AND egress_port IS NULL`,
  params: {},
};

/** Connected sessions that pass and have no recorded egress address. */
export function unrecordedOf(of: LookedUp): LookedUp {
  return {
    ...of,
    filter: allOf([of.filter, UNRECORDED]),
    ended: anyOf([{ sql: ENDED_UNKNOWN_SQL, params: {} }, allOf([of.ended, UNRECORDED])]),
    ports: [],
  };
}

/** Counts sessions. */
export function egressUnrecordedQuery(
  table: SessionsTable,
  { keys, where }: Keyed,
): Query<typeof countRow> {
  return {
    name: 'egress_unrecorded',
    sql: `SELECT count() AS sessions FROM ${table} FINAL
      PREWHERE ${keys.sql}
      WHERE ${where.sql}`,
    params: { ...keys.params, ...where.params },
    row: countRow,
    settings: KEYED_SETTINGS,
  };
}

const keyRow = z.object({
  session_id: z.string(),
  started_at: wireTime,
  is_sought: z.int(),
  is_unrecorded: z.int(),
});
export type SessionKey = Pick<z.output<typeof keyRow>, 'session_id' | 'started_at'>;

/** The keys of sessions that began since the full hour at the start of the span, or before it. */
export type KeysPart =
  | { readonly part: 'newest' }
  | {
      readonly part: 'earlier';
      /** See store/long-sessions.ts. */
      readonly longBeforeMs: number;
    };

/**
 * The keys of sessions that may have been open in the span: of those that are sought, and of others without a recorded
 * egress address.
 */
export function lookupKeysQuery(
  span: Span,
  of: { readonly sought: LookedUp; readonly unrecorded: LookedUp | null },
  { limit, ...part }: KeysPart & { readonly limit: number },
): Query<typeof keyRow> {
  const sets = {
    is_sought: of.sought,
    ...(of.unrecorded === null ? {} : { is_unrecorded: of.unrecorded }),
  };
  const keys = keysWithin(span, sets, part);
  const columns = `session_id, started_at, is_sought, ${of.unrecorded === null ? '0 AS ' : ''}is_unrecorded`;
  return {
    name: 'lookup_keys',
    sql: `SELECT ${columns} FROM (${keys.sql}) LIMIT {limit:UInt32}`,
    params: { ...keys.params, limit },
    row: keyRow,
    settings: FINAL_SETTINGS,
  };
}

/** Holds for sessions with these keys. */
export function hasKey(keys: readonly SessionKey[]): Condition {
  return hasIds(
    keys.map(({ session_id }) => session_id),
    keys.map(({ started_at }) => Date.parse(started_at)),
  );
}

const sinceRow = z.object({ started_at: wireTime });

/** The first session of which the egress was recorded. */
export function egressSinceQuery(): Query<typeof sinceRow> {
  return {
    name: 'egress_since',
    sql: `SELECT started_at FROM sessions WHERE egress_port IS NOT NULL ORDER BY started_at LIMIT 1`,
    params: {},
    row: sinceRow,
    // In the order of a projection all of its rows would be read.
    settings: { optimize_use_projections: 0 },
  };
}

const clockRow = z.object({
  session_id: z.string(),
  proxy_id: z.string(),
  least_delay_ms: z.int(),
});

/** Reads the shortest time from an event of each of these sessions to its storage. */
export function clocksQuery(sessions: readonly SessionKey[]): Query<typeof clockRow> {
  const keys = hasKey(sessions);
  return {
    name: 'clocks',
    sql: `SELECT session_id, proxy_id, min(dateDiff('millisecond', occurred_at, ingested_at)) AS least_delay_ms
      FROM session_events
      PREWHERE ${keys.sql}
      GROUP BY session_id, proxy_id`,
    params: keys.params,
    row: clockRow,
    settings: { max_threads: 1 },
  };
}
