import { countedSql, SUM_NAMES } from '@sockscope/schemas/sums';
import { z } from 'zod';
import type { ExactSpan, Span } from '../sums/plan.js';
import { int64 } from './columns.js';
import { FINAL_SETTINGS } from './expressions.js';
import { allOf } from './query.js';
import type { Query } from './query.js';
import { endedWithin } from './earlier-starts.js';
import { finishedFirst } from './finished-first.js';
import { isSame, withinMs, withinSeconds } from './spans.js';
import { wholeSpanOf, exactParts, rollupParts, sumColumns, SUMMED_SQL, unionOf } from './sums.js';
import type { Part, RowStates, SumsOf } from './sums.js';

/** The sessions of sketches: all together, or exactly the ones that pass. */
export interface SketchesOf {
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
const durationsIf = (condition: string) =>
  `quantilesDDStateIf(0.01, 0.5)(assumeNotNull(duration_ms), ${condition}) AS durations_state`;
const NO_STATES = `${NO_KEYS}, ${NO_DURATIONS}`;
const STATES = `users_sketch AS users_state, destinations_sketch AS destinations_state,
  sources_sketch AS sources_state, duration_sketch AS durations_state`;
const ROW_STATES: RowStates = {
  began: (ended) => `${KEYS}, ${durationsIf(ended)}`,
  ended: `${NO_KEYS}, ${DURATIONS}`,
  moved: NO_STATES,
};
const NO_ROW_STATES: RowStates = {
  began: () => NO_STATES,
  ended: NO_STATES,
  moved: NO_STATES,
};
const NO_SUMS = `'' AS k, toInt64(0) AS slot, ${SUM_NAMES.map((name) => `toUInt64(0) AS s_${name}`).join(', ')}`;

/** Rows of the sketches of whole days and hours. */
function sketchParts({ days, hours }: SketchesOf): Part[] {
  const parts = [
    ['sketch_d', days, 'rollup_sketches_1d', 'detail_day'],
    ['sketch_h', hours, 'rollup_sketches_1h', 'detail_hour'],
  ] as const;
  return parts
    .filter(([, spans]) => spans.length > 0)
    .map(([prefix, spans, table, span]) => {
      const within = withinSeconds('bucket', spans, prefix);
      // Before FINAL, because no version of a row changes its bucket: sketches are large.
      return {
        sql: `SELECT ${NO_SUMS}, ${STATES} FROM ${table} FINAL PREWHERE ${within.sql}
        WHERE ${countedSql(span, within.sql)}`,
        params: within.params,
      };
    });
}

/** Sketches of the sessions themselves, if their sums come from elsewhere. */
function sketchedParts(exact: readonly ExactSpan[], sought: SumsOf['sessions']): Part[] {
  if (exact.length === 0) return [];
  const started = allOf([withinMs('started_at', exact, 'sketched'), sought.filter]);
  return [
    {
      // No version of a row changes any of these.
      sql: `SELECT ${NO_SUMS}, ${KEYS}, ${NO_DURATIONS} FROM ${sought.table} WHERE ${started.sql}`,
      params: started.params,
    },
    ...endedWithin(exact, 'sketched', sought).map(({ table, where }) => ({
      sql: `SELECT ${NO_SUMS}, ${ROW_STATES.ended} FROM ${table} FINAL WHERE ${where.sql}`,
      params: where.params,
    })),
  ];
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
 * started in it, exact up to a few thousand, then within a few tenths of a percent; and quantiles
 * of the durations of those that ended in it, within 1 %. In one statement, because sessions that ended in
 * the edges of a period are spread over the hours before, and are read only once so.
 *
 * @param sums by `total`, all figures, without cuts.
 */
export function periodQuery(sums: SumsOf, sketches: SketchesOf): Query<typeof periodRow> {
  const isShared = isSame(sums.counted.exact, sketches.exact);
  const { sql, params } = unionOf([
    ...(sums.rollup === null ? [] : [finishedFirst(`''`, NO_STATES)]),
    ...rollupParts(sums, NO_STATES),
    ...exactParts(sums, isShared ? ROW_STATES : NO_ROW_STATES),
    ...sketchParts(sketches),
    ...(isShared ? [] : sketchedParts(sketches.exact, sums.sessions)),
  ]);
  return {
    name: 'period',
    sql: `SELECT ${SUMMED_SQL},
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
    range: wholeSpanOf(sums),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
