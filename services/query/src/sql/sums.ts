import { int64 } from '@sockscope/runtime/clickhouse';
import type { TopMeasure } from '@sockscope/schemas/api';
import { z } from 'zod';
import { timeSql } from './expressions.js';
import type { Query, SqlParams } from './query.js';

/** What sums can be had by. */
export type Dimension = 'total' | 'user' | 'destination';

/** The key of a session and of a minute of its traffic, as text. */
const KEY_SQL: Readonly<Record<Dimension, string>> = {
  total: `''`,
  user: 'user',
  destination: 'dest_host',
};

const sumColumns = {
  sessions_started: int64,
  sessions_closed: int64,
  sessions_failed: int64,
  sessions_rejected: int64,
  bytes_sent: int64,
  bytes_received: int64,
  packets_sent: int64,
  packets_received: int64,
  duration_ms: int64,
};
export const sumsRow = z.object(sumColumns);
export type Sums = z.output<typeof sumsRow>;

const SUM_NAMES = Object.keys(sumColumns);

/** `[fromMs, toMs)`. */
export interface Range {
  readonly fromMs: number;
  readonly toMs: number;
}

function rangeParams(range: Range): SqlParams {
  return {
    from_ms: range.fromMs,
    to_ms: range.toMs,
    // A minute belongs to the range that its start lies in.
    from_s: Math.ceil(range.fromMs / 1_000),
    to_s: Math.ceil(range.toMs / 1_000),
  };
}

/**
 * The exact tables' rows of a range with their key: sessions at their start, sessions at their
 * end, and traffic in its minute. Summed by key they are what the rollups hold.
 */
function exactSumsSql(dimension: Dimension): string {
  const key = KEY_SQL[dimension];
  return `
    SELECT ${key} AS key, count() AS sessions_started,
      toUInt64(0) AS sessions_closed, toUInt64(0) AS sessions_failed,
      toUInt64(0) AS sessions_rejected, toUInt64(0) AS bytes_sent, toUInt64(0) AS bytes_received,
      toUInt64(0) AS packets_sent, toUInt64(0) AS packets_received, toUInt64(0) AS duration_ms
    FROM sessions FINAL
    WHERE started_at >= ${timeSql('from_ms')} AND started_at < ${timeSql('to_ms')}
    GROUP BY key
    UNION ALL
    SELECT ${key} AS key, 0, countIf(status = 'closed'), countIf(status = 'failed'),
      countIf(status = 'rejected_by_acl'), 0, 0, 0, 0, sum(assumeNotNull(duration_ms))
    FROM sessions FINAL
    WHERE status != 'active' AND ended_at >= ${timeSql('from_ms')} AND ended_at < ${timeSql('to_ms')}
      AND started_at < ${timeSql('to_ms')}
    GROUP BY key
    UNION ALL
    SELECT ${key} AS key, 0, 0, 0, 0, sum(bytes_sent), sum(bytes_received),
      sum(packets_sent), sum(packets_received), 0
    FROM session_traffic_1m FINAL
    WHERE bucket >= toDateTime({from_s:UInt32}, 'UTC') AND bucket < toDateTime({to_s:UInt32}, 'UTC')
    GROUP BY key`;
}

/** The sums of a range over everything: one row. */
export function totalSumsQuery(range: Range): Query<typeof sumsRow> {
  return {
    name: 'sums_total',
    sql: `SELECT ${SUM_NAMES.map((name) => `sum(s.${name}) AS ${name}`).join(', ')}
      FROM (${exactSumsSql('total')}) AS s`,
    params: rangeParams(range),
    row: sumsRow,
  };
}

/** Expressions over the summed columns. Fixed text: a client chooses among the names only. */
const MEASURE_SQL: Readonly<Record<TopMeasure, string>> = {
  bytes: 'bytes_sent + bytes_received',
  bytes_sent: 'bytes_sent',
  bytes_received: 'bytes_received',
  sessions: 'sessions_started',
  duration_ms: 'duration_ms',
  rejected: 'sessions_rejected',
};

const topRow = z.object({ key: z.string(), is_total: z.int().min(0).max(1), ...sumColumns });
export type TopRow = z.output<typeof topRow>;

/** The total row, then the `limit` largest keys by the measure; ties by key. */
export function topSumsQuery(top: {
  readonly dimension: Dimension;
  readonly by: TopMeasure;
  readonly limit: number;
  readonly range: Range;
}): Query<typeof topRow> {
  return {
    name: `top_${top.dimension}`,
    sql: `SELECT s.key AS key, toUInt8(grouping(s.key)) AS is_total,
        ${SUM_NAMES.map((name) => `sum(s.${name}) AS ${name}`).join(', ')}
      FROM (${exactSumsSql(top.dimension)}) AS s
      GROUP BY s.key WITH ROLLUP
      HAVING is_total = 1 OR ${MEASURE_SQL[top.by]} > 0
      ORDER BY is_total DESC, ${MEASURE_SQL[top.by]} DESC, key ASC
      LIMIT {limit:UInt32}`,
    params: { ...rangeParams(top.range), limit: top.limit + 1 },
    row: topRow,
  };
}

const uniquesRow = z.object({
  unique_users: int64,
  unique_destinations: int64,
  unique_sources: int64,
});

/** Distinct users, destinations and sources of the sessions that started in the range. */
export function uniquesQuery(range: Range): Query<typeof uniquesRow> {
  return {
    name: 'uniques',
    sql: `SELECT uniqExact(user) AS unique_users, uniqExact(dest_host) AS unique_destinations,
        uniqExact(source_ip) AS unique_sources
      FROM sessions
      WHERE started_at >= ${timeSql('from_ms')} AND started_at < ${timeSql('to_ms')}`,
    params: { from_ms: range.fromMs, to_ms: range.toMs },
    row: uniquesRow,
  };
}

const quantilesRow = z.object({
  ended: int64,
  p50: z.number(),
  p90: z.number(),
  p95: z.number(),
  p99: z.number(),
  max: int64,
});

/** Durations of the sessions that ended in the range. Zeros where none ended. */
export function durationQuantilesQuery(range: Range): Query<typeof quantilesRow> {
  return {
    name: 'duration_quantiles',
    sql: `SELECT count() AS ended,
        ifNotFinite(q[1], 0) AS p50, ifNotFinite(q[2], 0) AS p90, ifNotFinite(q[3], 0) AS p95,
        ifNotFinite(q[4], 0) AS p99, max(d) AS max,
        quantilesExactInclusive(0.5, 0.9, 0.95, 0.99)(d) AS q
      FROM (
        SELECT assumeNotNull(duration_ms) AS d FROM sessions FINAL
        WHERE status != 'active' AND ended_at >= ${timeSql('from_ms')} AND ended_at < ${timeSql('to_ms')}
          AND started_at < ${timeSql('to_ms')}
      )`,
    params: { from_ms: range.fromMs, to_ms: range.toMs },
    row: quantilesRow,
  };
}
