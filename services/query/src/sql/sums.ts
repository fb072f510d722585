import {
  countsAtEnd,
  ENDED_SQL,
  endedSql,
  FIGURES,
  keySql,
  MOVED_SQL,
  movedSql,
  PAIR_COLUMNS,
  plainAddressSql,
  STARTED_SQL,
  SUM_NAMES,
} from '@sockscope/schemas/sums';
import type { BucketSpan, Dimension, FiguresSql, SumName } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { int64 } from './columns.js';
import { FINAL_SETTINGS } from './expressions.js';
import { allOf } from './query.js';
import { storedText } from './stored.js';
import type { Condition, Query, SqlParams } from './query.js';
import type { Pieces, Span } from '../sums/plan.js';
import { endedInSame, endedWithin } from './earlier-starts.js';
import type { Sought } from './earlier-starts.js';
import { finishedFirst } from './finished-first.js';
import { countedWithin, isSame, withinMs, withinSeconds } from './spans.js';
import { trafficSessions } from './traffic-sessions.js';
import type { TrafficOf } from './traffic-sessions.js';

/**
 * Addresses that are known only when the connection stands. No table of sums or minutes holds them, so
 * the sessions themselves are counted.
 */
const ADDRESS_COLUMNS = { destination_address: 'dest_ip', egress_address: 'egress_ip' } as const;
export type AddressBy = keyof typeof ADDRESS_COLUMNS;

/** The dimensions of sums. Flows and addresses have no sums of their own. */
export type SumsBy = Dimension | 'flow' | AddressBy;

/** Returns whether a dimension has no sums and is counted from the sessions themselves. */
export function isAddress(by: SumsBy): by is AddressBy {
  return by in ADDRESS_COLUMNS;
}

/** The key of a session as text, in the exact tables and in the rollups; empty for no value. A flow's is a tuple. */
export function keyOf(by: SumsBy): string {
  if (isAddress(by)) {
    return `ifNull(${plainAddressSql(`toString(${ADDRESS_COLUMNS[by]})`)}, '')`;
  }
  return by === 'flow' ? `tuple(${PAIR_COLUMNS.join(', ')})` : keySql(by);
}

/** The key of a row in a sum; several keys if several dimensions are summed. */
function rowKey({ by, together }: SumsOf): string {
  if (together === undefined) return keyOf(by);
  return `arrayJoin([${together.map((each) => `('${each}', ${keySql(each)})`).join(', ')}])`;
}

/** Names the rows that a sum is made of: sums with the same name can be made in one reading (see `together`). */
export function rowsOf({ by, rollup }: SumsOf): string {
  if (rollup?.kind === 'pairs') return rollup.kind;
  // Chosen keys of one dimension are not the rows of another.
  if (rollup !== null && rollup.keys !== null) return by;
  return `${rollup?.kind ?? 'rows'}, ${String(isAtEnd(by))}`;
}

/** Whether all figures of a session count at its end. */
export function isAtEnd(by: SumsBy): boolean {
  return isAddress(by) || (by !== 'flow' && countsAtEnd(by));
}

export const sumColumns = {
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

/** The source of the sums of whole hours and days. */
export type RollupSource =
  | {
      readonly kind: 'dimension';
      readonly dimension: Dimension;
      /** Only these keys; null for all. */
      readonly keys: readonly string[] | null;
    }
  /** Sums by user, destination and port together, filtered by these alone. */
  | { readonly kind: 'pairs'; readonly filter: Condition };

/** How the keys of a dimension are shown to a caller that sees them masked. */
export interface ShownKeys {
  /** An expression over the key. */
  readonly sql: (key: string) => string;
  /** Whether several keys may be shown as one. */
  readonly merges: boolean;
  /** The bound parameters of the expression. */
  readonly params: SqlParams;
}

/** The measures to sum, the parts of the range, and the tables. */
export interface SumsOf {
  readonly by: SumsBy;
  /** Only these keys; null for all. */
  readonly keys: readonly string[] | null;
  /** The source of starts and ends of sessions. Pairs have no weeks. */
  readonly counted: Pieces;
  /** The source of bytes and packets. */
  readonly moved: Pieces;
  /** Not used if only exact pieces are read. */
  readonly rollup: RollupSource | null;
  readonly sessions: Sought;
  readonly traffic: {
    /** Conditions on columns of the table of traffic. */
    readonly filter: Condition;
    readonly of: TrafficOf;
  };
  readonly shown: ShownKeys | null;
  /** Starts of the pieces of a time series; null for one sum over everything. */
  readonly cuts: readonly number[] | null;
  /** Dimensions that are summed in one reading instead of `by`: see rowsOf. Keys are pairs of both. */
  readonly together?: readonly Dimension[];
}

const MOVED_NAMES: readonly SumName[] = SUM_NAMES.filter((name) => FIGURES[name] === 'traffic');
const COUNTED_NAMES: readonly SumName[] = SUM_NAMES.filter((name) => FIGURES[name] !== 'traffic');

/** A key as the caller sees it, if several keys may be shown as one; else as it is stored. */
export function shownKey(expression: string, shown: ShownKeys | null): string {
  return shown?.merges === true ? shown.sql(expression) : expression;
}

function keyIn(expression: string, of: SumsOf): Condition[] {
  if (of.keys === null) return [];
  return [
    {
      sql: `${shownKey(expression, of.shown)} IN {keys:Array(String)}`,
      params: { keys: [...of.keys] },
    },
  ];
}

export interface Part {
  readonly sql: string;
  readonly params: SqlParams;
}

/** Rows (key, slot, sums) of one table. `columns` gives the figures that it has; others are 0. */
function part(of: {
  readonly table: string;
  readonly key: string;
  readonly slot: string;
  readonly columns: FiguresSql;
  readonly where: Condition;
  /**
   * The exact tables have many rows for a key; the rollups' rows are summed once, with all others.
   */
  readonly summed: boolean;
  /** The rows are chosen before FINAL: no version of a row changes what the condition reads. */
  readonly isStable?: boolean;
}): Part {
  const columns = SUM_NAMES.map((name) => `${of.columns[name] ?? 'toUInt64(0)'} AS s_${name}`);
  return {
    sql: `SELECT ${of.key} AS k, ${of.slot} AS slot, ${columns.join(', ')}
      FROM ${of.table} FINAL
      ${of.isStable === true ? 'PREWHERE' : 'WHERE'} ${of.where.sql}
      ${of.summed ? 'GROUP BY k, slot' : ''}`,
    params: of.where.params,
  };
}

/** The tables of the sums of each length, and their kind of bucket. Details have no weeks and no slices. */
const PIECES = [
  ['w', 'weeks', ['rollup_1w', 'week'], ['rollup_1w', 'week']],
  ['d', 'days', ['rollup_1d', 'day'], ['rollup_pairs_1d', 'detail_day']],
  ['h', 'hours', ['rollup_1h', 'hour'], ['rollup_pairs_1h', 'detail_hour']],
  ['ten', 'slices', ['rollup_10m', 'slice'], ['rollup_10m', 'slice']],
] as const;

function rollupParts(of: SumsOf): Part[] {
  const source = of.rollup;
  if (source === null) return [];
  return PIECES.flatMap(([prefix, pieces, byDimension, byPairs]) => {
    const [table, span] = source.kind === 'pairs' ? byPairs : byDimension;
    const { [pieces]: counted } = of.counted;
    const { [pieces]: moved } = of.moved;
    const read = (spans: readonly Span[], names: readonly SumName[], name: string) =>
      spans.length === 0 ? [] : [rollupPart(of, source, { table, span, spans, names, name })];
    if (isSame(counted, moved)) return read(counted, SUM_NAMES, prefix);
    return [
      ...read(counted, COUNTED_NAMES, `${prefix}c`),
      ...read(moved, MOVED_NAMES, `${prefix}m`),
    ];
  });
}

function rollupPart(
  of: SumsOf,
  source: RollupSource,
  from: {
    readonly table: string;
    readonly span: BucketSpan | 'slice';
    readonly spans: readonly Span[];
    readonly names: readonly SumName[];
    /** Prefix of its parameters. */
    readonly name: string;
  },
): Part {
  const within = countedWithin(from.span, from.spans, from.name);
  const common = {
    table: from.table,
    slot: slotSql(of, 'toInt64(toUnixTimestamp(bucket)) * 1000'),
    columns: Object.fromEntries(from.names.map((name) => [name, name])),
    summed: false,
  };
  if (source.kind === 'pairs') {
    const key = rowKey(of);
    return part({ ...common, key, where: allOf([source.filter, within, ...keyIn(key, of)]) });
  }
  const dimension = {
    sql: 'dimension IN {rollup_dimensions:Array(String)}',
    params: { rollup_dimensions: [...(of.together ?? [source.dimension])] },
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
  return part({
    ...common,
    key: of.together === undefined ? summedKey(of.by) : `(toString(dimension), key)`,
    where: allOf([dimension, within, ...only, ...keyIn(summedKey(of.by), of)]),
  });
}

/** The key of a row of a dimension's sums. */
const summedKey = (by: SumsBy) => (by === 'total' ? `''` : 'key');

function slotSql(of: SumsOf, ms: string): string {
  return of.cuts === null ? 'toInt64(0)' : `roundDown(${ms}, {cuts:Array(Int64)})`;
}

/** Rows (key, slot, sums) of the parts of a range that only the exact tables answer. */
function exactParts(of: SumsOf): Part[] {
  const key = rowKey(of);
  const keys = keyIn(key, of);
  const ofKeys = { ...of.sessions, filter: allOf([of.sessions.filter, ...keys]) };
  const { exact } = of.counted;
  if (isAtEnd(of.by)) return endedParts(of, { ofKeys, key, began: 'any' });
  // Without cuts, start and end of a session count in one place, so one reading finds both.
  const isOnce = of.cuts === null;
  const parts = endedParts(of, { ofKeys, key, began: isOnce ? 'before' : 'any' });
  const { exact: minutes } = of.moved;
  const hasTotals = of.traffic.of === 'totals' && minutes.length > 0;
  const isAlike = isSame(exact, minutes);
  const began = (where: Condition, columns: FiguresSql) =>
    part({
      table: of.sessions.table,
      key,
      slot: slotSql(of, 'toUnixTimestamp64Milli(started_at)'),
      columns,
      where: allOf([where, ofKeys.filter]),
      summed: true,
    });
  if (exact.length > 0) {
    const ended = endedInSame(exact, 's');
    const atEnd = isOnce ? endedSql(ended) : {};
    const moved = hasTotals && isAlike ? movedSql(ended) : {};
    parts.push(began(withinMs('started_at', exact, 's'), { ...STARTED_SQL, ...atEnd, ...moved }));
  }
  if (hasTotals && !isAlike) {
    const within = withinMs('started_at', minutes, 't');
    const whole = {
      sql: `(${within.sql}) AND ${endedInSame(minutes, 't')}`,
      params: within.params,
    };
    parts.push(began(whole, MOVED_SQL));
  }
  if (minutes.length === 0) return parts;
  parts.push(
    part({
      summed: true,
      table: 'session_traffic_1m',
      key,
      slot: slotSql(of, 'toInt64(toUnixTimestamp(bucket)) * 1000'),
      columns: MOVED_SQL,
      where: allOf([
        withinSeconds('bucket', minutes, 'm'),
        of.traffic.filter,
        trafficSessions(of.traffic.of, minutes, of.sessions),
        ...keys,
      ]),
      // What of a minute is read never changes but its counters.
      isStable: true,
    }),
  );
  return parts;
}

/** The ends of sessions, and for fields that are known only then all figures. */
function endedParts(
  of: SumsOf,
  {
    ofKeys,
    key,
    began,
  }: {
    readonly ofKeys: Sought;
    readonly key: string;
    readonly began: 'any' | 'before';
  },
): Part[] {
  if (of.counted.exact.length === 0) return [];
  return endedWithin(of.counted.exact, 'e', ofKeys, began).map((source) =>
    part({
      ...source,
      summed: true,
      key,
      slot: slotSql(of, 'toUnixTimestamp64Milli(assumeNotNull(ended_at))'),
      columns: isAtEnd(of.by) ? { ...ENDED_SQL, ...MOVED_SQL } : ENDED_SQL,
    }),
  );
}

export function union(of: SumsOf): Part {
  const sums = rollupParts(of);
  const noKey = of.together === undefined ? `''` : `('', '')`;
  const key = of.rollup?.kind === 'pairs' ? rowKey(of) : noKey;
  const first = sums.length === 0 ? [] : [finishedFirst(key)];
  const { sql, params } = unionOf([...first, ...sums, ...exactParts(of)]);
  return {
    sql,
    params: { ...params, ...of.shown?.params, ...(of.cuts === null ? {} : { cuts: [...of.cuts] }) },
  };
}

export function unionOf(parts: readonly Part[]): Part {
  if (parts.length === 0) throw new TypeError('nothing to sum');
  return {
    sql: parts.map(({ sql }) => sql).join('\n    UNION ALL\n    '),
    params: Object.assign({}, ...parts.map(({ params }) => params)) as SqlParams,
  };
}

/** Returns the range from the first piece to the last. */
export function wholeSpanOf({ counted }: Pick<SumsOf, 'counted'>): Span {
  const { weeks, days, hours, slices, exact } = counted;
  const pieces = [...weeks, ...days, ...hours, ...slices, ...exact];
  return {
    fromMs: Math.min(...pieces.map(({ fromMs }) => fromMs)),
    toMs: Math.max(...pieces.map(({ toMs }) => toMs)),
  };
}

/** Every figure by its name. */
export const SUMMED_SQL = SUM_NAMES.map((name) => `sum(s_${name}) AS ${name}`).join(', ');

const seriesRow = z.object({ key: storedText, slot: int64, ...sumColumns });
export type SeriesRow = z.output<typeof seriesRow>;

/** One row per key and piece in which anything was counted. */
export function seriesQuery(of: SumsOf): Query<typeof seriesRow> {
  const { sql, params } = union(of);
  return {
    name: `series_${of.by}`,
    sql: `SELECT ${shownKey('k', of.shown)} AS key, slot, ${SUMMED_SQL}
      FROM (
    ${sql}
      ) GROUP BY key, slot`,
    params,
    row: seriesRow,
    range: wholeSpanOf(of),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
