import { toTimestamp } from '@sockscope/schemas';
import type { SumSort } from '@sockscope/schemas/api';
import { MINUTE_MS, SUM_NAMES } from '@sockscope/schemas/sums';
import type { Dimension, SumName } from '@sockscope/schemas/sums';
import type { CoverageReader, Known, WaitingPartition } from '../coverage/coverage.js';
import {
  filterOf,
  isUnfiltered,
  rollupSourceOf,
  soughtOf,
  trafficFilterOf,
} from '../filters/filters.js';
import type { Filters } from '../filters/filters.js';
import { activeByKeyQuery } from '../sql/active.js';
import { openAtByKeyQuery } from '../sql/open-at.js';
import { sketchesQuery } from '../sql/sketches.js';
import type { SketchesRow } from '../sql/sketches.js';
import { plainOf } from '../sql/stored.js';
import type { Stored } from '../sql/stored.js';
import { isAddress, isAtEnd, rowsOf, seriesQuery } from '../sql/sums.js';
import type { SeriesRow, ShownKeys, Sums, SumsBy, SumsOf } from '../sql/sums.js';
import { flowsQuery, topQuery, topsQuery } from '../sql/top.js';
import type { FlowRow, KeyPosition, TopRow } from '../sql/top.js';
import type { Asking, Store } from '../store/store.js';
import { shownRange } from '../time/range.js';
import { incompleteMinutes } from './incomplete.js';
import { NO_PIECES, planOf, snapped } from './plan.js';
import type { Coverage, Plan, Span } from './plan.js';

/** The parts that questions about sums need. */
export interface SumsDeps {
  readonly store: Store;
  readonly coverage: CoverageReader;
}

interface RangeQuestion {
  readonly range: Span;
  readonly filters: Filters;
}

export interface SumsQuestion extends RangeQuestion {
  readonly by: SumsBy;
  /** Only these keys; null for all. */
  readonly keys?: readonly string[] | null;
  readonly cuts?: readonly number[] | null;
  /** The form of keys for callers that may not see them. */
  readonly shown?: ShownKeys | null;
}

/** The part of an answer that describes its sources. */
export interface Provenance {
  /** The range in which sessions are counted. */
  readonly range: Span;
  /** The range in which bytes are counted. */
  readonly bytesRange: Span;
  readonly resolution: Plan['resolution'];
  readonly staleHours: number;
  /** Minutes whose needed details have expired. */
  readonly incompleteMinutes: number;
  readonly newestMs: number | null;
  /** Partitions whose events are missing in the range. */
  readonly waiting: readonly WaitingPartition[];
}

/** Returns the provenance of an answer made of several: the first one, with the largest gaps of all. */
export function worstOf(first: Provenance, ...others: readonly Provenance[]): Provenance {
  const all = [first, ...others];
  return {
    ...first,
    staleHours: Math.max(...all.map((each) => each.staleHours)),
    incompleteMinutes: Math.max(...all.map((each) => each.incompleteMinutes)),
  };
}

/** The part of every answer that describes its range. */
export function answerMetaOf(
  query: { readonly time_zone: string },
  provenance: Provenance,
  nowMs: number,
) {
  return {
    range: shownRange(provenance.range),
    bytes_range: shownRange(provenance.bytesRange),
    time_zone: query.time_zone,
    resolution: provenance.resolution,
    stale_hours: provenance.staleHours,
    incomplete_minutes: provenance.incompleteMinutes,
    as_of: toTimestamp(nowMs),
    data_until: timeOrNull(provenance.newestMs),
    waiting_partitions: provenance.waiting.map(
      ({ topic, partition, kind, sinceMs, dataUntilMs }) => ({
        topic,
        partition,
        kind,
        since: toTimestamp(sinceMs),
        data_until: timeOrNull(dataUntilMs),
      }),
    ),
  };
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : toTimestamp(ms);
}

export function zeroSums(): Record<SumName, number> {
  return Object.fromEntries(SUM_NAMES.map((name) => [name, 0])) as Record<SumName, number>;
}

/** The sums themselves, without the other columns of the row. */
function pickSums(row: Sums): Sums {
  const sums = zeroSums();
  for (const name of SUM_NAMES) sums[name] = row[name];
  return sums;
}

interface Prepared {
  readonly of: SumsOf;
  readonly provenance: Provenance;
}

/** The tables that answer, each with its part of the range. */
export function prepare(question: SumsQuestion, coverage: Coverage & Known): Prepared {
  const { by, range, filters, keys = null, cuts = null, shown = null } = question;
  const rollup = rollupSourceOf(by, filters);
  const sought = soughtOf(filters);
  const hasSums = coverage.rollups && rollup !== null;
  const usable = { ...coverage, rollups: hasSums };
  // Without sums nothing answers for expired rows: they are missing, and reported as missing.
  const sessionsGoneMs = hasSums ? coverage.sessionsGoneMs : null;
  const minutesGoneMs = hasSums ? coverage.minutesGoneMs : null;
  const options = { cuts: cuts ?? [], byDimension: rollup?.kind === 'dimension' };
  const countedRange = snapped(range, 1, sessionsGoneMs);
  const counted = planOf(countedRange, usable, { ...options, goneMs: sessionsGoneMs });
  const isMovedAlike = isAtEnd(by);
  const movedRange = isMovedAlike ? countedRange : snapped(range, MINUTE_MS, minutesGoneMs);
  const traffic = trafficFilterOf(filters);
  // Sums of parts of a range must be the sum of the range: see TrafficOf.
  const areMinutesKept =
    coverage.minutesGoneMs === null || movedRange.fromMs >= coverage.minutesGoneMs;
  const moved = isMovedAlike
    ? counted
    : planOf(movedRange, usable, { ...options, goneMs: minutesGoneMs });
  return {
    provenance: {
      range: countedRange,
      bytesRange: movedRange,
      resolution: counted.resolution,
      staleHours: Math.max(counted.staleHours, moved.staleHours),
      incompleteMinutes: incompleteMinutes(
        { counted, moved: isMovedAlike ? { exact: [] } : moved },
        rollup?.kind === 'pairs',
        coverage,
      ),
      newestMs: coverage.newestMs,
      waiting: coverage.waiting.filter(
        ({ dataUntilMs }) => dataUntilMs === null || dataUntilMs < countedRange.toMs,
      ),
    },
    of: {
      by,
      keys,
      counted,
      moved,
      rollup,
      sessions: { ...sought, hasEnds: sought.hasEnds && !isAddress(by) },
      traffic: {
        filter: traffic.filter,
        of: traffic.isWhole ? 'rows' : cuts === null && areMinutesKept ? 'totals' : 'keys',
      },
      shown,
      cuts,
    },
  };
}

/** The total, then the largest keys after a position. */
export async function topSums(
  deps: SumsDeps,
  question: SumsQuestion,
  page: { readonly sort: SumSort; readonly limit: number; readonly after?: KeyPosition | null },
  asking: Asking,
): Promise<{ rows: readonly TopRow[]; provenance: Provenance }> {
  const { of, provenance } = prepare(question, await deps.coverage.read());
  const query = topQuery(of, page.sort, page.limit, page.after ?? null);
  return { rows: await deps.store.ask(query, asking), provenance };
}

/**
 * The same for several dimensions, in the order of the questions: in one reading, if they are summed from the same rows.
 */
export async function topSumsOf(
  deps: SumsDeps,
  questions: readonly (SumsQuestion & { readonly by: Dimension })[],
  page: { readonly sort: SumSort; readonly limit: number },
  asking: Asking,
): Promise<{ rows: readonly TopRow[]; provenance: Provenance }[]> {
  const coverage = await deps.coverage.read();
  const prepared = questions.map((question) => prepare(question, coverage));
  if (new Set(prepared.map(({ of }) => rowsOf(of))).size > 1) {
    return Promise.all(questions.map((question) => topSums(deps, question, page, asking)));
  }
  const all = questions.map(({ by }, i) => ({ ...(prepared[i] as Prepared).of, by }));
  const rows = await deps.store.ask(topsQuery(all, page.sort, page.limit), asking);
  return questions.map(({ by }, i) => ({
    rows: rows.filter(({ dimension }) => dimension === by),
    provenance: (prepared[i] as Prepared).provenance,
  }));
}

/** The total, then the largest flows. */
export async function flowSums(
  deps: SumsDeps,
  question: RangeQuestion & Pick<SumsQuestion, 'shown'>,
  { sort, limit }: { readonly sort: SumSort; readonly limit: number },
  asking: Asking,
): Promise<{ rows: readonly FlowRow[]; provenance: Provenance }> {
  const { of, provenance } = prepare({ ...question, by: 'flow' }, await deps.coverage.read());
  return { rows: await deps.store.ask(flowsQuery(of, sort, limit), asking), provenance };
}

/** One row per key and piece in which anything was counted. */
export async function seriesSums(
  deps: SumsDeps,
  question: SumsQuestion,
  asking: Asking,
): Promise<{ rows: readonly SeriesRow[]; provenance: Provenance }> {
  const { of, provenance } = prepare(question, await deps.coverage.read());
  return { rows: await deps.store.ask(seriesQuery(of), asking), provenance };
}

/** The sums of a range over everything that passes. */
export async function totalSums(
  deps: SumsDeps,
  question: RangeQuestion,
  asking: Asking,
): Promise<{ sums: Sums; provenance: Provenance }> {
  const { rows, provenance } = await seriesSums(deps, { ...question, by: 'total' }, asking);
  const [row] = rows;
  return { sums: row === undefined ? zeroSums() : pickSums(row), provenance };
}

/** Later than any session may start. */
const END_OF_TIME_MS = Date.UTC(2100, 0, 1);

/** How many more sessions began than ended. */
function netOf(row: Sums): number {
  return row.sessions_started - row.sessions_closed - row.sessions_failed - row.sessions_rejected;
}

/**
 * Sessions that were open at a time, by key. If there are sums: open sessions of now, minus those that began and
 * plus those that ended since; so this goes as far back as the sums. Otherwise the sessions that were open are
 * counted.
 */
export async function openAtByKey(
  deps: SumsDeps,
  question: Omit<SumsQuestion, 'range' | 'cuts'> & {
    readonly atMs: number;
    /** If `atMs` is this time or later, the present open sessions count, even if the clock of a proxy is fast. */
    readonly nowMs: number;
  },
  asking: Asking,
): Promise<ReadonlyMap<string, number>> {
  const { atMs, nowMs, by, filters, keys = null, shown = null } = question;
  const coverage = await deps.coverage.read();
  // Nothing has changed since the newest event.
  const isPresent = atMs >= nowMs || (coverage.emptyFromMs !== null && atMs > coverage.emptyFromMs);
  const range = { fromMs: atMs, toMs: END_OF_TIME_MS };
  const { of } = prepare({ by, filters, keys, shown, range }, coverage);
  if (!isPresent && (of.rollup === null || !coverage.rollups)) {
    // As in the sums: a session that begins at the time is not open yet, and one that ends at it still is.
    const query = openAtByKeyQuery({ atMs: atMs - 1, sought: of.sessions, by, keys, shown });
    return byPlainKey(await deps.store.ask(query, asking), ({ active }) => active);
  }
  const [openNow, after] = await Promise.all([
    deps.store.ask(activeByKeyQuery({ by, keys, shown, filter: filterOf(filters) }), asking),
    isPresent ? [] : deps.store.ask(seriesQuery({ ...of, moved: NO_PIECES }), asking),
  ]);
  const counts = byPlainKey(openNow, ({ active }) => active);
  // Rows that arrive between the two may make them disagree for a moment.
  for (const [key, net] of byPlainKey(after, netOf)) {
    const open = (counts.get(key) ?? 0) - net;
    if (open > 0) counts.set(key, open);
    else counts.delete(key);
  }
  return counts;
}

function byPlainKey<Row extends { readonly key: Stored }>(
  rows: readonly Row[],
  value: (row: Row) => number,
): Map<string, number> {
  return new Map(rows.map((row) => [plainOf(row.key), value(row)]));
}

/** Sessions that were open at a time. */
export async function openAt(
  deps: SumsDeps,
  question: { readonly atMs: number; readonly nowMs: number; readonly filters: Filters },
  asking: Asking,
): Promise<number> {
  const counts = await openAtByKey(deps, { ...question, by: 'total' }, asking);
  return counts.get('') ?? 0;
}

/** Figures of a period that cannot be summed. */
export type PeriodSketches = Omit<SketchesRow, 'slot'>;

/** Distinct values and quantiles of some periods, in their order; see sketchesQuery. Undefined for a period without sessions. */
export async function sketchesOf(
  deps: SumsDeps,
  { ranges, filters }: { readonly ranges: readonly Span[]; readonly filters: Filters },
  asking: Asking,
): Promise<(PeriodSketches | undefined)[]> {
  const coverage = await deps.coverage.read();
  // There are sketches of all sessions together only.
  const usable = { ...coverage, rollups: coverage.rollups && isUnfiltered(filters) };
  const periods = ranges.map((range) => {
    const { provenance } = prepare({ by: 'total', range, filters }, coverage);
    const plan = planOf(provenance.range, usable, { goneMs: coverage.sessionsGoneMs });
    return { ...plan, fromMs: provenance.range.fromMs };
  });
  const inOrder = periods.toSorted((a, b) => a.fromMs - b.fromMs);
  const rows = await deps.store.ask(sketchesQuery(inOrder, soughtOf(filters)), asking);
  return periods.map(({ fromMs }) => rows.find(({ slot }) => slot === fromMs));
}
