import type { TopMeasure } from '@sockscope/schemas/api';
import {
  countsAtEnd,
  ENDED_SQL,
  floorTo,
  HOUR_MS,
  keySql,
  MINUTE_MS,
  MOVED_SQL,
  PAIR_COLUMNS,
  sessionsSql,
  STARTED_SQL,
  SUM_NAMES,
} from '@sockscope/schemas/sums';
import type { Dimension, SumName } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { int64 } from './columns.js';
import { dateTimeOf, FINAL_SETTINGS, timeSql } from './expressions.js';
import { allOf } from './query.js';
import type { Condition, Query, SqlParams } from './query.js';
import type { SessionsTable } from './sessions.js';

/** The key of a session as text, in the exact tables and in the rollups; empty for no value. A flow's is a tuple. */
function keyOf(dimension: Dimension | 'flow'): string {
  return dimension === 'flow' ? `tuple(${PAIR_COLUMNS.join(', ')})` : keySql(dimension);
}

/** Whether all figures of a session count at its end. */
function isAtEnd(dimension: Dimension | 'flow'): boolean {
  return dimension !== 'flow' && countsAtEnd(dimension);
}

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
} satisfies Record<SumName, typeof int64>;
export type Sums = Readonly<Record<SumName, number>>;

/** What a top list shows of each key. Whether a session was closed or failed it shows only where it counts ends. */
export function topNames(dimension: Dimension | 'flow'): readonly SumName[] {
  const shown = SUM_NAMES.filter(
    (name) => name !== 'sessions_closed' && name !== 'sessions_failed',
  );
  return isAtEnd(dimension) ? SUM_NAMES : shown;
}

/** `[fromMs, toMs)`. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Where the sums of whole hours and days come from. */
export type RollupSource =
  | {
      readonly kind: 'dimension';
      readonly dimension: Dimension;
      /** Only these keys; null for all. */
      readonly keys: readonly string[] | null;
    }
  /** By user, destination and port at once, and filtered by these alone. */
  | { readonly kind: 'pairs'; readonly filter: Condition };

/** What to sum, over which parts of a range, from which tables. */
export interface SumsOf {
  readonly dimension: Dimension | 'flow';
  /** Only these keys of the dimension; null for all. */
  readonly keys: readonly string[] | null;
  /** None where the rollups are pairs. */
  readonly weeks: readonly Span[];
  readonly days: readonly Span[];
  readonly hours: readonly Span[];
  readonly exact: readonly Span[];
  /** Not used where none of them but the exact spans are read. */
  readonly rollup: RollupSource | null;
  readonly sessions: {
    readonly table: SessionsTable;
    readonly filter: Condition;
    /** Whether the sums say how far back those began that ended in the hours of the exact spans. */
    readonly hasBound: boolean;
  };
  readonly traffic: { readonly filter: Condition };
  /** Sums keys together that are shown as one, by an expression over the key; null: each by itself. */
  readonly shownAs: ((key: string) => string) | null;
  /** The figures that are wanted; the others are not read and come as 0. */
  readonly names: readonly SumName[];
  /** Starts of the pieces of a time series; null for one sum over everything. */
  readonly cuts: readonly number[] | null;
}

/** A time in milliseconds lies in one of the spans. Neither list is ever empty. */
function withinMs(column: string, spans: readonly Span[], prefix: string): Condition {
  return {
    sql: spans
      .map(
        (_, i) =>
          `(${column} >= ${timeSql(`${prefix}${i}_from`)} AND ${column} < ${timeSql(`${prefix}${i}_to`)})`,
      )
      .join(' OR '),
    params: Object.fromEntries(
      spans.flatMap((span, i) => [
        [`${prefix}${i}_from`, span.fromMs],
        [`${prefix}${i}_to`, span.toMs],
      ]),
    ),
  };
}

/** The start of a minute, hour or day lies in one of the spans. */
function withinSeconds(column: string, spans: readonly Span[], prefix: string): Condition {
  const at = (name: string) => `toDateTime({${name}:UInt32}, 'UTC')`;
  return {
    sql: spans
      .map(
        (_, i) =>
          `(${column} >= ${at(`${prefix}${i}_from_s`)} AND ${column} < ${at(`${prefix}${i}_to_s`)})`,
      )
      .join(' OR '),
    params: Object.fromEntries(
      spans.flatMap((span, i) => [
        [`${prefix}${i}_from_s`, Math.ceil(span.fromMs / 1_000)],
        [`${prefix}${i}_to_s`, Math.ceil(span.toMs / 1_000)],
      ]),
    ),
  };
}

function keyIn(expression: string, keys: readonly string[] | null): Condition[] {
  return keys === null
    ? []
    : [{ sql: `${expression} IN {keys:Array(String)}`, params: { keys: [...keys] } }];
}

interface Part {
  readonly sql: string;
  readonly params: SqlParams;
}

/** Rows (key, slot, sums) of one table. `columns` gives the figures that it has; others are 0. */
function part(of: {
  readonly table: string;
  readonly key: string;
  readonly slot: string;
  readonly names: readonly SumName[];
  readonly columns: Partial<Record<SumName, string>>;
  readonly where: Condition;
  /** The exact tables have many rows for a key; those of the rollups are summed once, with all others. */
  readonly summed: boolean;
  /** Further columns. */
  readonly states: string | null;
}): Part {
  const sums = of.names.map((name) => `${of.columns[name] ?? 'toUInt64(0)'} AS s_${name}`);
  const columns = of.states === null ? sums : [...sums, of.states];
  return {
    sql: `SELECT ${of.key} AS k, ${of.slot} AS slot, ${columns.join(', ')}
      FROM ${of.table} FINAL
      WHERE ${of.where.sql}
      ${of.summed ? 'GROUP BY k, slot' : ''}`,
    params: of.where.params,
  };
}

function rollupParts(of: SumsOf, states: string | null): Part[] {
  const source = of.rollup;
  if (source === null) return [];
  const parts = [
    ['w', of.weeks, 'rollup_1w'],
    ['d', of.days, source.kind === 'pairs' ? 'rollup_pairs_1d' : 'rollup_1d'],
    ['h', of.hours, source.kind === 'pairs' ? 'rollup_pairs_1h' : 'rollup_1h'],
  ] as const;
  const columns = Object.fromEntries(SUM_NAMES.map((name) => [name, name]));
  return parts
    .filter(([, spans]) => spans.length > 0)
    .map(([prefix, spans, table]) => {
      const of_ = {
        table,
        slot: slotSql(of, 'toInt64(toUnixTimestamp(bucket)) * 1000'),
        names: of.names,
        columns,
        summed: false,
        states,
      };
      const within = withinSeconds('bucket', spans, prefix);
      if (source.kind === 'pairs') {
        const key = keyOf(of.dimension);
        return part({
          ...of_,
          key,
          where: allOf([source.filter, within, ...keyIn(key, of.keys)]),
        });
      }
      const dimension = {
        sql: 'dimension = {rollup_dimension:String}',
        params: { rollup_dimension: source.dimension },
      };
      const only: Condition[] =
        source.keys === null
          ? []
          : [
              {
                sql: 'key IN {rollup_keys:Array(String)}',
                params: { rollup_keys: [...source.keys] },
              },
            ];
      const key = of.dimension === 'total' ? `''` : 'key';
      return part({
        ...of_,
        key,
        where: allOf([dimension, within, ...only, ...keyIn(key, of.keys)]),
      });
    });
}

function slotSql(of: SumsOf, ms: string): string {
  return of.cuts === null ? 'toInt64(0)' : `roundDown(${ms}, {cuts:Array(Int64)})`;
}

/** Whether a minute begins in the span; traffic counts where its minute begins. */
function hasMinute({ fromMs, toMs }: Span): boolean {
  return Math.ceil(fromMs / MINUTE_MS) < Math.ceil(toMs / MINUTE_MS);
}

/** So many minutes are named for the index of the minutes in which sessions ended; more occur in every granule. */
const NAMED_MINUTES_MAX = 120;

/** Milliseconds of all spans together. */
export function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
}

/** The cells of a grid that spans touch, by their starts in milliseconds. */
function cellsOf(spans: readonly Span[], stepMs: number): number[] {
  const cells = new Set<number>();
  for (const { fromMs, toMs } of spans) {
    for (let ms = floorTo(fromMs, stepMs); ms < toMs; ms += stepMs) cells.add(ms);
  }
  return [...cells];
}

/** The hours that spans touch, by their starts in milliseconds. */
export function hoursOf(spans: readonly Span[]): number[] {
  return cellsOf(spans, HOUR_MS);
}

/** No session that ended in these hours began earlier; 1970 where one of them has no such figure. */
function startBound(spans: readonly Span[], prefix: string): Condition {
  const hours = `{${prefix}_hours:Array(DateTime('UTC'))}`;
  return {
    sql: `started_at >= (
        SELECT if(count() = length(${hours}), min(earliest_start), toDateTime64(0, 3, 'UTC'))
        FROM rollup_sketches_1h FINAL PREWHERE bucket IN ${hours})`,
    params: { [`${prefix}_hours`]: hoursOf(spans).map(dateTimeOf) },
  };
}

/** Sessions that ended in the spans. */
function endedWithin(spans: readonly Span[], prefix: string, hasBound: boolean): Condition {
  const latestMs = Math.max(...spans.map((span) => span.toMs));
  return allOf([
    { sql: `status != 'active'`, params: {} },
    withinMs('ended_at', spans, prefix),
    // What has ended had begun: the primary key can use that.
    {
      sql: `started_at < ${timeSql(`${prefix}_latest`)}`,
      params: { [`${prefix}_latest`]: latestMs },
    },
    ...(hasBound ? [startBound(spans, prefix)] : []),
    // Implied, too: the index ended_minutes can use it.
    ...(lengthOf(spans) > NAMED_MINUTES_MAX * MINUTE_MS
      ? []
      : [
          {
            sql: `toStartOfMinute(ended_at) IN {${prefix}_minutes:Array(DateTime('UTC'))}`,
            params: { [`${prefix}_minutes`]: cellsOf(spans, MINUTE_MS).map(dateTimeOf) },
          },
        ]),
  ]);
}

/** States of sketches that rows of the exact tables come with, as columns. */
interface RowStates {
  readonly started: string;
  readonly ended: string;
  readonly moved: string;
}

function exactParts(of: SumsOf, states: RowStates | null): Part[] {
  if (of.exact.length === 0) return [];
  const key = keyOf(of.dimension);
  const keys = keyIn(key, of.keys);
  const { table, filter, hasBound } = of.sessions;
  const atEnd = isAtEnd(of.dimension);
  const ended = part({
    summed: true,
    states: states?.ended ?? null,
    names: of.names,
    table,
    key,
    slot: slotSql(of, 'toUnixTimestamp64Milli(assumeNotNull(ended_at))'),
    columns: atEnd ? { ...ENDED_SQL, ...MOVED_SQL } : ENDED_SQL,
    where: allOf([endedWithin(of.exact, 'e', hasBound), filter, ...keys]),
  });
  if (atEnd) return [ended];
  const started = part({
    summed: true,
    states: states?.started ?? null,
    names: of.names,
    table,
    key,
    slot: slotSql(of, 'toUnixTimestamp64Milli(started_at)'),
    columns: STARTED_SQL,
    where: allOf([withinMs('started_at', of.exact, 'e'), filter, ...keys]),
  });
  const minutes = of.exact.filter(hasMinute);
  if (minutes.length === 0) return [started, ended];
  const moved = part({
    summed: true,
    states: states?.moved ?? null,
    names: of.names,
    table: 'session_traffic_1m',
    key,
    slot: slotSql(of, 'toInt64(toUnixTimestamp(bucket)) * 1000'),
    columns: MOVED_SQL,
    where: allOf([withinSeconds('bucket', minutes, 'm'), of.traffic.filter, ...keys]),
  });
  return [started, ended, moved];
}

/** The key as top lists group by it. */
function shownKeySql(of: SumsOf): string {
  return of.shownAs === null ? 'k' : of.shownAs('k');
}

function union(of: SumsOf): Part {
  const { sql, params } = unionOf([...rollupParts(of, null), ...exactParts(of, null)]);
  return { sql, params: { ...params, ...(of.cuts === null ? {} : { cuts: [...of.cuts] }) } };
}

function unionOf(parts: readonly Part[]): Part {
  if (parts.length === 0) throw new TypeError('nothing to sum');
  return {
    sql: parts.map(({ sql }) => sql).join('\n    UNION ALL\n    '),
    params: Object.assign({}, ...parts.map(({ params }) => params)) as SqlParams,
  };
}

/** Every figure by its name, those that are not wanted as 0. */
function summedSql(of: SumsOf): string {
  return SUM_NAMES.map((name) =>
    of.names.includes(name) ? `sum(s_${name}) AS ${name}` : `toUInt64(0) AS ${name}`,
  ).join(', ');
}

const seriesRow = z.object({ key: z.string(), slot: int64, ...sumColumns });
export type SeriesRow = z.output<typeof seriesRow>;

/** One row per key and piece in which anything was counted. */
export function seriesQuery(of: SumsOf): Query<typeof seriesRow> {
  const { sql, params } = union(of);
  return {
    name: `series_${of.dimension}`,
    sql: `SELECT k AS key, slot, ${summedSql(of)}
      FROM (
    ${sql}
      ) GROUP BY k, slot`,
    params,
    row: seriesRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

/** Expressions over the summed columns. Fixed text: a client chooses among the names only. */
function measureSql(measure: TopMeasure, dimension: Dimension | 'flow'): string {
  switch (measure) {
    case 'bytes':
      return 'bytes_sent + bytes_received';
    case 'bytes_sent':
      return 'bytes_sent';
    case 'bytes_received':
      return 'bytes_received';
    case 'sessions':
      return sessionsSql(dimension === 'flow' ? 'total' : dimension);
    case 'duration_ms':
      return 'duration_ms';
    case 'rejected':
      return 'sessions_rejected';
  }
}

/** The total row, then the `limit` largest keys by the measure; ties by key. Keys without any are left out. */
function topSql(of: SumsOf, by: TopMeasure): { sql: string; params: SqlParams } {
  const { sql, params } = union(of);
  const key = shownKeySql(of);
  const measure = measureSql(by, of.dimension);
  return {
    sql: `SELECT ${key} AS key, toUInt8(grouping(key)) AS is_total, ${summedSql(of)}
      FROM (
    ${sql}
      )
      GROUP BY key WITH ROLLUP
      HAVING is_total = 1 OR ${measure} > 0
      ORDER BY is_total DESC, ${measure} DESC, key ASC
      LIMIT {limit:UInt32}`,
    params,
  };
}

/** Every key with its sums, the largest by the measure first. @param limit null for all of them. */
export function topKeysSql(
  of: SumsOf,
  by: TopMeasure,
  limit: number | null,
): { sql: string; params: SqlParams } {
  const { sql, params } = union(of);
  const measure = measureSql(by, of.dimension);
  return {
    sql: `SELECT ${shownKeySql(of)} AS key, ${summedSql(of)}
      FROM (
    ${sql}
      )
      GROUP BY key
      HAVING ${measure} > 0
      ORDER BY ${measure} DESC, key ASC
      ${limit === null ? '' : 'LIMIT {limit:UInt64}'}`,
    params: { ...params, ...(limit === null ? {} : { limit }) },
  };
}

const isTotal = z.int().min(0).max(1);
const topRow = z.object({ key: z.string(), is_total: isTotal, ...sumColumns });
export type TopRow = z.output<typeof topRow>;

export function topQuery(of: SumsOf, by: TopMeasure, limit: number): Query<typeof topRow> {
  const { sql, params } = topSql(of, by);
  return {
    name: `top_${of.dimension}`,
    sql,
    params: { ...params, limit: limit + 1 },
    row: topRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

const flowRow = z.object({
  key: z.tuple([z.string(), z.string(), z.int()]),
  is_total: isTotal,
  ...sumColumns,
});

export type FlowRow = z.output<typeof flowRow>;

/** Like a top list, by user, destination and port together. */
export function flowsQuery(
  of: SumsOf & { readonly dimension: 'flow' },
  by: TopMeasure,
  limit: number,
): Query<typeof flowRow> {
  const { sql, params } = topSql(of, by);
  return {
    name: 'flows',
    sql,
    params: { ...params, limit: limit + 1 },
    row: flowRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

/** What sketches are read for: all sessions together, or the exact ones that pass. */
export interface SketchesOf {
  readonly days: readonly Span[];
  readonly hours: readonly Span[];
  readonly exact: readonly Span[];
}

/** The order of `quantiles` in a row. */
export const QUANTILES = [0.5, 0.9, 0.95, 0.99] as const;

const NO_KEYS = `
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS users_state,
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS destinations_state,
  initializeAggregation('uniqCombined64StateIf(17)', toIPv6('::'), 0) AS sources_state`;
const NO_DURATIONS = `initializeAggregation('quantilesDDStateIf(0.01, 0.5)', toUInt64(0), 0) AS durations_state`;
const KEYS = `
  uniqCombined64State(17)(user) AS users_state, uniqCombined64State(17)(dest_host) AS destinations_state,
  uniqCombined64State(17)(source_ip) AS sources_state`;
const DURATIONS = `quantilesDDState(0.01, 0.5)(assumeNotNull(duration_ms)) AS durations_state`;
const NO_STATES = `${NO_KEYS}, ${NO_DURATIONS}`;
const STATES = `users_sketch AS users_state, destinations_sketch AS destinations_state,
  sources_sketch AS sources_state, duration_sketch AS durations_state`;
const ROW_STATES: RowStates = {
  started: `${KEYS}, ${NO_DURATIONS}`,
  ended: `${NO_KEYS}, ${DURATIONS}`,
  moved: NO_STATES,
};
const NO_ROW_STATES: RowStates = { started: NO_STATES, ended: NO_STATES, moved: NO_STATES };
const NO_SUMS = `'' AS k, toInt64(0) AS slot, ${SUM_NAMES.map((name) => `toUInt64(0) AS s_${name}`).join(', ')}`;

/** Rows of the sketches of whole days and hours. */
function sketchParts({ days, hours }: SketchesOf): Part[] {
  const parts = [
    ['sketch_d', days, 'rollup_sketches_1d'],
    ['sketch_h', hours, 'rollup_sketches_1h'],
  ] as const;
  return parts
    .filter(([, spans]) => spans.length > 0)
    .map(([prefix, spans, table]) => {
      const within = withinSeconds('bucket', spans, prefix);
      // Before FINAL, because no version of a row changes its bucket: sketches are large.
      return {
        sql: `SELECT ${NO_SUMS}, ${STATES} FROM ${table} FINAL PREWHERE ${within.sql}`,
        params: within.params,
      };
    });
}

/** Sketches of the sessions themselves, where their sums come from elsewhere. */
function sketchedParts(
  exact: readonly Span[],
  { table, filter, hasBound }: SumsOf['sessions'],
): Part[] {
  if (exact.length === 0) return [];
  const started = allOf([withinMs('started_at', exact, 'sketched'), filter]);
  const ended = allOf([endedWithin(exact, 'sketched', hasBound), filter]);
  return [
    {
      // No version of a row changes any of these.
      sql: `SELECT ${NO_SUMS}, ${ROW_STATES.started} FROM ${table} WHERE ${started.sql}`,
      params: started.params,
    },
    {
      sql: `SELECT ${NO_SUMS}, ${ROW_STATES.ended} FROM ${table} FINAL WHERE ${ended.sql}`,
      params: ended.params,
    },
  ];
}

function isSame(some: readonly Span[], others: readonly Span[]): boolean {
  return (
    some.length === others.length &&
    some.every((span, i) => span.fromMs === others[i]?.fromMs && span.toMs === others[i]?.toMs)
  );
}

const periodRow = z.object({
  ...sumColumns,
  users: int64,
  destinations: int64,
  sources: int64,
  quantiles: z.array(z.number().nullable()),
});
export type PeriodRow = z.output<typeof periodRow>;

/**
 * One row: the sums of a period; the distinct users, destinations and sources of the sessions that
 * started in it, exact up to some thousands, then within a few tenths of a percent; and quantiles of the
 * durations of those that ended in it, within 1 %. In one statement, because what ended in the edges of
 * a period is found all over the hours before, and is read once so.
 *
 * @param sums by `total`, all figures, without cuts.
 */
export function periodQuery(
  sums: SumsOf & { readonly dimension: 'total' },
  sketches: SketchesOf,
): Query<typeof periodRow> {
  const isShared = isSame(sums.exact, sketches.exact);
  const { sql, params } = unionOf([
    ...rollupParts(sums, NO_STATES),
    ...exactParts(sums, isShared ? ROW_STATES : NO_ROW_STATES),
    ...sketchParts(sketches),
    ...(isShared ? [] : sketchedParts(sketches.exact, sums.sessions)),
  ]);
  return {
    name: 'period',
    sql: `SELECT ${summedSql(sums)},
        uniqCombined64Merge(17)(users_state) AS users,
        uniqCombined64Merge(17)(destinations_state) AS destinations,
        uniqCombined64Merge(17)(sources_state) AS sources,
        arrayMap(q -> if(isFinite(q), q, NULL),
          quantilesDDMerge(0.01, ${QUANTILES.join(', ')})(durations_state)) AS quantiles
      FROM (
    ${sql}
      )`,
    params,
    row: periodRow,
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
