import { countedSql, FINISHED_FIRST } from '@sockscope/schemas/sums';
import { z } from 'zod';
import type { ExactSpan, Span } from '../sums/plan.js';
import { int64 } from './columns.js';
import { endedWithin } from './earlier-starts.js';
import type { Sought } from './earlier-starts.js';
import { FINAL_SETTINGS } from './expressions.js';
import { allOf } from './query.js';
import type { Query } from './query.js';
import { withinMs, withinSeconds } from './spans.js';
import { unionOf } from './sums.js';
import type { Part } from './sums.js';

/** A period, and where its sketches come from: stored ones, else the sessions that began or ended in it. */
export interface SketchesOf {
  readonly fromMs: number;
  readonly days: readonly Span[];
  readonly hours: readonly Span[];
  readonly exact: readonly ExactSpan[];
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
const STORED = `users_sketch AS users_state, destinations_sketch AS destinations_state,
  sources_sketch AS sources_state, duration_sketch AS durations_state`;

/** The start of the period that a time lies in. */
const slotOf = (ms: string) => `roundDown(${ms}, {periods:Array(Int64)}) AS slot`;

/** See FINISHED_FIRST. */
const FIRST: Part = {
  sql: `SELECT toInt64(0) AS slot, ${NO_KEYS}, ${NO_DURATIONS} ${FINISHED_FIRST}`,
  params: {},
};

/** Sketches of whole days or hours. */
function storedPart(span: 'detail_day' | 'detail_hour', spans: readonly Span[]): Part[] {
  if (spans.length === 0) return [];
  const table = span === 'detail_day' ? 'rollup_sketches_1d' : 'rollup_sketches_1h';
  const within = withinSeconds('bucket', spans, span);
  // Before FINAL, because no version of a row changes its bucket: sketches are large.
  return [
    {
      sql: `SELECT ${slotOf('toInt64(toUnixTimestamp(bucket)) * 1000')}, ${STORED}
      FROM ${table} FINAL PREWHERE ${within.sql}
      WHERE ${countedSql(span, within.sql)}`,
      params: within.params,
    },
  ];
}

/** Sketches of the sessions that began or ended in some spans. */
function exactParts(spans: readonly ExactSpan[], sought: Sought): Part[] {
  if (spans.length === 0) return [];
  const began = allOf([withinMs('started_at', spans, 'began'), sought.filter]);
  return [
    {
      // No version of a row changes any of these.
      sql: `SELECT ${slotOf('toUnixTimestamp64Milli(started_at)')}, ${KEYS}, ${NO_DURATIONS}
      FROM ${sought.table} WHERE ${began.sql} GROUP BY slot`,
      params: began.params,
    },
    ...endedWithin(spans, 'e', sought).map(({ table, where }) => ({
      sql: `SELECT ${slotOf('toUnixTimestamp64Milli(assumeNotNull(ended_at))')}, ${NO_KEYS}, ${DURATIONS}
      FROM ${table} FINAL WHERE ${where.sql} GROUP BY slot`,
      params: where.params,
    })),
  ];
}

const sketchesRow = z.object({
  slot: int64,
  users: int64,
  destinations: int64,
  sources: int64,
  quantiles: z.array(z.number().nullable()),
});
export type SketchesRow = z.output<typeof sketchesRow>;

/**
 * One row, with its start as `slot`, for each period in which a session began or ended: the distinct users, destinations
 * and sources of the sessions that began in it, exact up to a few thousand, then within a few tenths of a percent; and
 * quantiles of the durations of those that ended in it, within 1 %. In one statement, because to plan one costs as
 * much as to read a period.
 *
 * @param periods in the order of time, without overlap; at least one.
 */
export function sketchesQuery(
  periods: readonly SketchesOf[],
  sought: Sought,
): Query<typeof sketchesRow> {
  const exact = periods.flatMap((period) => period.exact);
  const stored = [
    ...storedPart(
      'detail_day',
      periods.flatMap(({ days }) => days),
    ),
    ...storedPart(
      'detail_hour',
      periods.flatMap(({ hours }) => hours),
    ),
  ];
  const { sql, params } = unionOf([
    ...(stored.length === 0 ? [] : [FIRST]),
    ...stored,
    ...exactParts(exact, sought),
  ]);
  const all = periods.flatMap(({ days, hours }) => [...days, ...hours]).concat(exact);
  return {
    name: 'sketches',
    sql: `SELECT slot,
        uniqCombined64Merge(17)(users_state) AS users,
        uniqCombined64Merge(17)(destinations_state) AS destinations,
        uniqCombined64Merge(17)(sources_state) AS sources,
        arrayMap(q -> if(isFinite(q), q, NULL),
          quantilesDDMerge(0.01, ${QUANTILES.join(', ')})(durations_state)) AS quantiles
      FROM (
    ${sql}
      )
      GROUP BY slot`,
    params: { ...params, periods: periods.map(({ fromMs }) => fromMs) },
    row: sketchesRow,
    range: {
      fromMs: Math.min(...all.map(({ fromMs }) => fromMs)),
      toMs: Math.max(...all.map(({ toMs }) => toMs)),
    },
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
