import type { SumSort } from '@sockscope/schemas/api';
import { DIMENSIONS } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { FINAL_SETTINGS } from './expressions.js';
import type { Query, SqlParams } from './query.js';
import { byShown, shownOrder } from './shown.js';
import { storedText } from './stored.js';
import { isAtEnd, shownKey, sumColumns, SUMMED_SQL, union, wholeSpanOf } from './sums.js';
import type { SumsBy, SumsOf } from './sums.js';

export const ENDED_SQL = 'sessions_closed + sessions_failed + sessions_rejected';

/** Expressions over the summed columns. Fixed text: a client chooses among the names only. */
export function figureSql(sort: SumSort): string {
  if (sort === 'bytes') return 'bytes_sent + bytes_received';
  return sort === 'sessions_ended' ? ENDED_SQL : sort;
}

/** Breaks ties before the name does. */
function sessionsOf(by: SumsBy): string {
  return isAtEnd(by) ? ENDED_SQL : 'sessions_started';
}

/** The start of a page of a list: after this key. */
export interface KeyPosition {
  readonly value: number;
  readonly sessions: number;
  /** The key as answers show it. */
  readonly key: string;
}

/** Something that happened: keys whose sums were all taken back are left out. */
const ANY_SQL = `sessions_started + ${ENDED_SQL} + bytes_sent + bytes_received + packets_sent + packets_received > 0`;

/** The order of a list, and the condition for rows after a position in it. */
function orderOf(of: SumsOf, sort: SumSort) {
  const value = figureSql(sort);
  const sessions = sessionsOf(of.by);
  // If keys are hidden, equal values are in the order of the shown names. Otherwise their places
  // would reveal them.
  const key = shownOrder(of.shown);
  return {
    sql: `${value} DESC, ${sessions} DESC, ${key} ASC`,
    after: `(${value} < {after_value:UInt64} OR (${value} = {after_value:UInt64}
        AND (${sessions} < {after_sessions:UInt64} OR (${sessions} = {after_sessions:UInt64}
        AND ${key} > {after_key:String}))))`,
  };
}

function groupedKey(of: SumsOf): string {
  return shownKey('k', of.shown);
}

/** The total row, then the `limit` largest keys after a position. */
function topSql(of: SumsOf, sort: SumSort, after: KeyPosition | null) {
  const { sql, params } = union(of);
  const order = orderOf(of, sort);
  return {
    sql: `SELECT ${groupedKey(of)} AS key, toUInt8(grouping(key)) AS is_total, ${SUMMED_SQL}
      FROM (
    ${sql}
      )
      GROUP BY key WITH ROLLUP
      HAVING is_total = 1 OR (${ANY_SQL}${after === null ? '' : ` AND ${order.after}`})
      ORDER BY is_total DESC, ${order.sql}
      LIMIT {limit:UInt32}`,
    params:
      after === null
        ? params
        : {
            ...params,
            after_value: after.value,
            after_sessions: after.sessions,
            after_key: after.key,
          },
  };
}

/** Every key with its sums, the largest first. @param limit null for all of them. */
export function topKeysSql(
  of: SumsOf,
  sort: SumSort,
  limit: number | null,
): { sql: string; params: SqlParams } {
  const { sql, params } = union(of);
  return {
    sql: `SELECT ${groupedKey(of)} AS key, ${SUMMED_SQL}
      FROM (
    ${sql}
      )
      GROUP BY key
      HAVING ${ANY_SQL}
      ORDER BY ${orderOf(of, sort).sql}
      ${limit === null ? '' : 'LIMIT {limit:UInt64}'}`,
    params: { ...params, ...(limit === null ? {} : { limit }) },
  };
}

const isTotal = z.int().min(0).max(1);
const topRow = z.object({ key: storedText, is_total: isTotal, ...sumColumns });
export type TopRow = z.output<typeof topRow>;

/** @param limit keys; the total comes besides. */
export function topQuery(
  of: SumsOf,
  sort: SumSort,
  limit: number,
  after: KeyPosition | null,
): Query<typeof topRow> {
  const { sql, params } = topSql(of, sort, after);
  return {
    name: `top_${of.by}`,
    sql,
    params: { ...params, limit: limit + 1 },
    row: topRow,
    range: wholeSpanOf(of),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

const topsRow = topRow.extend({ dimension: z.enum(DIMENSIONS) });

/** The same for several dimensions that are summed from the same rows, which are read once: see rowsOf. */
export function topsQuery(
  all: readonly (SumsOf & { readonly by: Dimension })[],
  sort: SumSort,
  limit: number,
): Query<typeof topsRow> {
  const [first] = all;
  if (first === undefined) throw new TypeError('nothing to rank');
  const together = all.map(({ by }) => by);
  const { sql, params } = union({ ...first, together });
  return {
    name: `top_${together.join('_')}`,
    sql: `SELECT k.1 AS dimension, ${byShown(all, (shown) => shownKey('k.2', shown))} AS key,
        toUInt8(grouping(key)) AS is_total, ${SUMMED_SQL}
      FROM (
    ${sql}
      )
      GROUP BY dimension, key WITH ROLLUP
      HAVING grouping(dimension) = 0 AND (is_total = 1 OR ${ANY_SQL})
      ORDER BY dimension, is_total DESC, ${figureSql(sort)} DESC, ${sessionsOf(first.by)} DESC,
        ${byShown(all, shownOrder)} ASC
      LIMIT {limit:UInt32} BY dimension`,
    params: {
      ...(Object.assign({}, ...all.map(({ shown }) => shown?.params)) as SqlParams),
      ...params,
      limit: limit + 1,
    },
    row: topsRow,
    range: wholeSpanOf(first),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}

const flowRow = z.object({
  key: z.tuple([storedText, z.string(), z.int()]),
  is_total: isTotal,
  ...sumColumns,
});
export type FlowRow = z.output<typeof flowRow>;

/** Returns a top list by user, destination and port together. */
export function flowsQuery(of: SumsOf, sort: SumSort, limit: number): Query<typeof flowRow> {
  const { sql, params } = topSql(of, sort, null);
  return {
    name: 'flows',
    sql,
    params: { ...params, limit: limit + 1 },
    row: flowRow,
    range: wholeSpanOf(of),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
