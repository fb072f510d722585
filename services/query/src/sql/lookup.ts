import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { hasKeySql, reaches } from './earlier-starts.js';
import { FINAL_SETTINGS, dateTime64Of, timeSql } from './expressions.js';
import { sessionRow } from './fields.js';
import { allOf } from './query.js';
import type { Condition, Query } from './query.js';
import { SESSION_COLUMNS } from './sessions.js';
import type { SessionsTable } from './sessions.js';

/** Open at any time in a range, both ends included: a time that is quoted is not exact. */
export function openWithin(fromMs: number, toMs: number): Condition {
  return allOf([
    {
      sql: `started_at <= ${timeSql('open_to')}
        AND (status = 'active' OR ended_at >= ${timeSql('open_from')})`,
      params: { open_from: fromMs, open_to: toMs },
    },
    reaches(fromMs, 'within'),
  ]);
}

/**
 * The sessions that pass, by the keys of all versions that pass. Indexes find few of them without FINAL;
 * with FINAL, ClickHouse adds every granule whose keys meet theirs. Only for conditions that few rows pass.
 */
export function byKeys(table: SessionsTable, where: Condition): Condition {
  return allOf([
    where,
    {
      sql: hasKeySql([`SELECT started_at, session_id FROM ${table} WHERE ${where.sql}`]),
      params: {},
    },
  ]);
}

export function startedSince(ms: number): Condition {
  return { sql: `started_at >= ${timeSql('newest_since')}`, params: { newest_since: ms } };
}

/** Milliseconds between a time and the nearest moment at which a session was open. */
const DISTANCE_SQL = `greatest(0,
  toUnixTimestamp64Milli(started_at) - {time:Int64},
  if(status = 'active', 0, {time:Int64} - toUnixTimestamp64Milli(assumeNotNull(ended_at))))`;

/** Sessions that pass, the closest to a time first; without a time the newest. */
export function lookupQuery(of: {
  readonly table: SessionsTable;
  readonly where: Condition;
  readonly timeMs: number | null;
  readonly limit: number;
}): Query<typeof sessionRow> {
  return {
    name: 'lookup',
    sql: `SELECT ${SESSION_COLUMNS}
      FROM ${of.table} FINAL
      WHERE ${of.where.sql}
      ORDER BY ${of.timeMs === null ? '' : `${DISTANCE_SQL}, `}started_at DESC, toString(session_id) DESC
      LIMIT {limit:UInt32}`,
    params: {
      ...of.where.params,
      ...(of.timeMs === null ? {} : { time: of.timeMs }),
      limit: of.limit,
    },
    row: sessionRow,
    settings: FINAL_SETTINGS,
  };
}

const countRow = z.object({ sessions: int64 });

/** Connected sessions that pass and have no recorded egress address. */
export function egressUnrecordedQuery(
  table: SessionsTable,
  where: Condition,
): Query<typeof countRow> {
  const unrecorded = {
    sql: `egress_port IS NULL AND (connect_ms IS NOT NULL OR status IN ('active', 'closed'))`,
    params: {},
  };
  const all = byKeys(table, allOf([where, unrecorded]));
  return {
    name: 'egress_unrecorded',
    sql: `SELECT count() AS sessions FROM ${table} FINAL WHERE ${all.sql}`,
    params: all.params,
    row: countRow,
    settings: FINAL_SETTINGS,
  };
}

const sinceRow = z.object({ started_at: wireTime });

/** The first session of which the egress was recorded. */
export function egressSinceQuery(): Query<typeof sinceRow> {
  return {
    name: 'egress_since',
    sql: `SELECT started_at FROM sessions WHERE egress_port IS NOT NULL ORDER BY started_at LIMIT 1`,
    params: {},
    row: sinceRow,
  };
}

const clockRow = z.object({ proxy_id: z.string(), least_delay_ms: z.int() });

/** Reads each proxy's shortest time from an event of these sessions to its storage. */
export function clocksQuery(
  sessions: readonly { readonly session_id: string; readonly startedMs: number }[],
): Query<typeof clockRow> {
  return {
    name: 'clocks',
    sql: `SELECT proxy_id, min(dateDiff('millisecond', occurred_at, ingested_at)) AS least_delay_ms
      FROM session_events
      PREWHERE started_at IN {starts:Array(DateTime64(3, 'UTC'))} AND session_id IN {ids:Array(UUID)}
      GROUP BY proxy_id ORDER BY proxy_id`,
    params: {
      starts: sessions.map(({ startedMs }) => dateTime64Of(startedMs)),
      ids: sessions.map(({ session_id }) => session_id),
    },
    row: clockRow,
    settings: { max_threads: 1 },
  };
}
