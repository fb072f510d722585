import type { TopMeasure } from '@sockscope/schemas/api';
import { HOUR_MS, SUM_NAMES } from '@sockscope/schemas/sums';
import type { Dimension, SumName } from '@sockscope/schemas/sums';
import type { CoverageReader, Kept } from '../coverage/coverage.js';
import { activeCountQuery } from '../sql/active.js';
import {
  flowsQuery,
  hoursOf,
  lengthOf,
  periodQuery,
  seriesQuery,
  topNames,
  topQuery,
} from '../sql/sums.js';
import type { FlowRow, PeriodRow, SeriesRow, Sums, SumsOf, TopRow } from '../sql/sums.js';
import type { Asking, Store } from '../store/store.js';
import {
  filterOf,
  isUnfiltered,
  rollupSourceOf,
  sessionsTableOf,
  trafficFilterOf,
} from '../filters/filters.js';
import type { Filters } from '../filters/filters.js';
import { incompleteMinutes } from './incomplete.js';
import { planOf } from './plan.js';
import type { Coverage, Plan, Span } from './plan.js';

/** What questions about sums need. */
export interface SumsDeps {
  readonly store: Store;
  readonly coverage: CoverageReader;
}

interface RangeQuestion {
  readonly range: Span;
  readonly filters: Filters;
}

export interface SumsQuestion extends RangeQuestion {
  readonly dimension: Dimension;
  /** Only these keys of the dimension; null for all. */
  readonly keys?: readonly string[] | null;
  readonly cuts?: readonly number[] | null;
  /** See SumsOf. */
  readonly shownAs?: SumsOf['shownAs'];
}

/** What an answer says of its own making. */
export interface Provenance {
  readonly resolution: Plan['resolution'];
  readonly staleHours: number;
  /** Minutes whose sums are known no longer in the detail that was needed. */
  readonly incompleteMinutes: number;
  readonly newestMs: number | null;
}

/** Of an answer that is made of several: as the first, with the worst of what any of them lacks. */
export function together(first: Provenance, ...others: readonly Provenance[]): Provenance {
  const all = [first, ...others];
  return {
    ...first,
    staleHours: Math.max(...all.map((each) => each.staleHours)),
    incompleteMinutes: Math.max(...all.map((each) => each.incompleteMinutes)),
  };
}

export function zeroSums(): Record<SumName, number> {
  return Object.fromEntries(SUM_NAMES.map((name) => [name, 0])) as Record<SumName, number>;
}

/** The sums themselves, without whatever else stands in the row. */
function pickSums(row: Sums): Sums {
  const sums = zeroSums();
  for (const name of SUM_NAMES) sums[name] = row[name];
  return sums;
}

function prepare<D extends Dimension | 'flow'>(
  question: Omit<SumsQuestion, 'dimension'> & { readonly dimension: D },
  names: readonly SumName[],
  coverage: Coverage & Kept,
): { of: SumsOf & { dimension: D }; provenance: Provenance } {
  const { dimension, range, filters, keys = null, cuts = null, shownAs = null } = question;
  const rollup = rollupSourceOf(dimension, filters);
  const usable = { ...coverage, rollups: coverage.rollups && rollup !== null };
  const plan = planOf(range, usable, cuts ?? [], rollup?.kind === 'dimension');
  return {
    provenance: {
      resolution: plan.resolution,
      staleHours: plan.staleHours,
      incompleteMinutes: incompleteMinutes(plan, rollup?.kind === 'pairs', coverage),
      newestMs: coverage.newestMs,
    },
    of: {
      dimension,
      keys,
      weeks: plan.weeks,
      days: plan.days,
      hours: plan.hours,
      exact: plan.exact,
      rollup,
      sessions: {
        table: sessionsTableOf(filters),
        filter: filterOf(filters),
        hasBound: coverage.rollups && hasStartBound(plan.exact, coverage),
      },
      traffic: { filter: trafficFilterOf(filters, range) },
      shownAs,
      names,
      cuts,
    },
  };
}

/** More hours than an edge or two: then a bound of the start excludes nothing. */
const BOUND_HOURS_MAX = 4;

/** Whether the sums know how far back those began that ended in the spans: not of hours that changed since. */
function hasStartBound(spans: readonly Span[], { dirtyHours }: Coverage): boolean {
  if (spans.length === 0 || lengthOf(spans) > BOUND_HOURS_MAX * HOUR_MS) return false;
  const dirty = new Set(dirtyHours);
  return hoursOf(spans).every((hour) => !dirty.has(hour));
}

/** What a top list sums, for those who put the question themselves. */
export async function prepareTop<D extends Dimension>(
  deps: SumsDeps,
  question: RangeQuestion & {
    readonly dimension: D;
    readonly shownAs?: SumsOf['shownAs'];
  },
): Promise<SumsOf & { readonly dimension: D }> {
  return prepare(question, topNames(question.dimension), await deps.coverage.read()).of;
}

/** The total, then the largest keys. */
export async function topSums(
  deps: SumsDeps,
  question: SumsQuestion,
  by: TopMeasure,
  limit: number,
  asking: Asking,
): Promise<{ rows: readonly TopRow[]; provenance: Provenance }> {
  const names = topNames(question.dimension);
  const { of, provenance } = prepare(question, names, await deps.coverage.read());
  return { rows: await deps.store.ask(topQuery(of, by, limit), asking), provenance };
}

const FLOW_NAMES = ['sessions_started', 'bytes_sent', 'bytes_received'] as const;

/** The total, then the largest flows. */
export async function flowSums(
  deps: SumsDeps,
  question: RangeQuestion,
  by: TopMeasure,
  limit: number,
  asking: Asking,
): Promise<{ rows: readonly FlowRow[]; provenance: Provenance }> {
  const { of, provenance } = prepare(
    { ...question, dimension: 'flow' as const },
    FLOW_NAMES,
    await deps.coverage.read(),
  );
  return { rows: await deps.store.ask(flowsQuery(of, by, limit), asking), provenance };
}

/** One row per key and piece in which anything was counted. */
export async function seriesSums(
  deps: SumsDeps,
  question: SumsQuestion,
  asking: Asking,
): Promise<{ rows: readonly SeriesRow[]; provenance: Provenance }> {
  const { of, provenance } = prepare(question, SUM_NAMES, await deps.coverage.read());
  return { rows: await deps.store.ask(seriesQuery(of), asking), provenance };
}

/** The sums of a range over everything that passes. */
export async function totalSums(
  deps: SumsDeps,
  question: RangeQuestion,
  asking: Asking,
): Promise<{ sums: Sums; provenance: Provenance }> {
  const { rows, provenance } = await seriesSums(deps, { ...question, dimension: 'total' }, asking);
  const [row] = rows;
  return { sums: row === undefined ? zeroSums() : pickSums(row), provenance };
}

/** Later than any session may start. */
export const END_OF_TIME_MS = Date.UTC(2100, 0, 1);

/** How many more sessions began than ended. */
export function netOf(row: Sums): number {
  return row.sessions_started - row.sessions_closed - row.sessions_failed - row.sessions_rejected;
}

/**
 * Sessions that were open at a time: those open now, without what began and with what ended since. After
 * the newest event that was stored there is neither.
 */
export async function openAt(
  deps: SumsDeps,
  atMs: number,
  filters: Filters,
  asking: Asking,
  nowMs: number,
): Promise<number> {
  const since = { fromMs: atMs, toMs: END_OF_TIME_MS };
  const countOpen = async () => {
    const fromMs = await deps.coverage.openFrom();
    return deps.store.ask(activeCountQuery(fromMs, filterOf(filters)), asking);
  };
  const { newestMs } = await deps.coverage.read();
  const isPresent = atMs >= nowMs || (newestMs !== null && atMs > newestMs);
  const [open, after] = await Promise.all([
    countOpen(),
    isPresent ? null : totalSums(deps, { range: since, filters }, asking),
  ]);
  // Rows that arrive between the two may make them disagree for a moment.
  return Math.max(0, (open[0]?.active ?? 0) - (after === null ? 0 : netOf(after.sums)));
}

/** Everything that is told of a period, over all that passes; see periodQuery. */
export async function periodSums(
  deps: SumsDeps,
  question: RangeQuestion,
  asking: Asking,
): Promise<{ row: PeriodRow; provenance: Provenance }> {
  const { range, filters } = question;
  const coverage = await deps.coverage.read();
  const { of, provenance } = prepare(
    { ...question, dimension: 'total' as const },
    SUM_NAMES,
    coverage,
  );
  // There are sketches of all sessions together only.
  const sketches = planOf(range, {
    ...coverage,
    rollups: coverage.rollups && isUnfiltered(filters),
  });
  const [row] = await deps.store.ask(periodQuery(of, sketches), asking);
  if (row === undefined) throw new TypeError('a sum over everything has a row');
  return { row, provenance };
}
