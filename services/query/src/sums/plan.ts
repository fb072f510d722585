import {
  ceilTo,
  DAY_MS,
  floorTo,
  HOUR_MS,
  nextWeekOf,
  SLICE_MS,
  WEEK_MS,
  weekOf,
} from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';

/** `[fromMs, toMs)`. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A span that is read from the exact tables. */
export interface ExactSpan extends Span {
  /**
   * Sessions that began before this time and ended in the span are in `ended_sessions`. Missing: those that began
   * before the hour in which the span begins.
   */
  readonly nearMs?: number;
}

/** The range that the rollups cover at the moment. */
export interface Coverage {
  /** Whether the rollups have been computed at all. */
  readonly rollups: boolean;
  /** Buckets that changed and were not summed yet. */
  readonly dirty: readonly { readonly span: BucketSpan; readonly bucketMs: number }[];
  /** Starts of slices of ten minutes that are summed by one dimension, and have not changed since. */
  readonly slices: readonly number[];
  /** The newest event of those that ingest has read last; null before the first one. */
  readonly newestMs: number | null;
  /** Nothing is stored of this time and later; null before the first event. */
  readonly emptyFromMs: number | null;
}

/**
 * Which table answers for which part of a range. Together the spans are the range, without overlap;
 * in days and hours they may extend beyond its end, because nothing is stored there yet.
 */
export interface Pieces {
  readonly weeks: readonly Span[];
  readonly days: readonly Span[];
  readonly hours: readonly Span[];
  readonly slices: readonly Span[];
  readonly exact: readonly ExactSpan[];
}

export const NO_PIECES: Pieces = { weeks: [], days: [], hours: [], slices: [], exact: [] };

export interface Plan extends Pieces {
  /** Hours that changed and are answered by sums from before the change, because there are too many. */
  readonly staleHours: number;
  /** The finest that is in use; a week counts as days, and a slice as minutes. */
  readonly resolution: 'minute' | 'hour' | 'day';
}

/** Changed hours that one answer reads from the exact tables; the newest ones win. */
export const EXACT_HOURS_MAX = 48;
/**
 * Spans of hours that one answer reads from the exact tables, or spans between slices. Each has conditions of its own,
 * and ClickHouse takes statements of 128 KiB (`http_max_field_value_size`).
 */
export const EXACT_SPANS_MAX = 48;

/** Cells of a grid as spans, neighbours merged. `starts` must rise. */
export function merged(starts: readonly number[], step: number): Span[] {
  const spans: { fromMs: number; toMs: number }[] = [];
  for (const fromMs of starts) {
    const last = spans.at(-1);
    if (last !== undefined && last.toMs === fromMs) last.toMs = fromMs + step;
    else spans.push({ fromMs, toMs: fromMs + step });
  }
  return spans;
}

/** The rest of a span after cells of a grid are removed. `without` must rise. */
function remaining(span: Span, without: readonly number[], step: number): Span[] {
  const spans: Span[] = [];
  let fromMs = span.fromMs;
  for (const start of without) {
    if (start > fromMs) spans.push({ fromMs, toMs: start });
    fromMs = start + step;
  }
  if (span.toMs > fromMs) spans.push({ fromMs, toMs: span.toMs });
  return spans;
}

function rising(values: Iterable<number>): number[] {
  return [...new Set(values)].toSorted((a, b) => a - b);
}

/**
 * The range in which something can be counted that is known in steps of `stepMs`, and before
 * `goneMs` in whole hours only. Both ends move up to the next step, so that neighbouring ranges count
 * nothing twice. A range within one step becomes that step.
 */
export function snapped(range: Span, stepMs: number, goneMs: number | null): Span {
  const stepOf = (ms: number) => (goneMs !== null && ms < goneMs ? HOUR_MS : stepMs);
  const fromMs = ceilTo(range.fromMs, stepOf(range.fromMs));
  const toMs = ceilTo(range.toMs, stepOf(range.toMs));
  if (fromMs < toMs) return { fromMs, toMs };
  return { fromMs: floorTo(range.fromMs, stepOf(range.fromMs)), toMs };
}

/** How a range may be answered. */
export interface PlanOptions {
  /** The cuts of a time series; rising, inside the range. */
  readonly cuts?: readonly number[];
  /** Whether sums by one dimension answer; else it is details, which have no weeks and slices and are made later. */
  readonly byDimension?: boolean;
  /** The exact tables hold nothing before this time; null if they hold everything. */
  readonly goneMs?: number | null;
}

/**
 * Chooses the coarsest tables that answer exactly: whole ISO weeks if summed, else whole UTC days,
 * else whole hours. The rest is the edges, the hours that changed since they were summed, and the hours that a cut
 * of a time series goes through: it comes from slices of ten minutes, else from the exact tables.
 */
export function planOf(range: Span, coverage: Coverage, options: PlanOptions = {}): Plan {
  const { cuts = [], byDimension = false, goneMs = null } = options;
  if (!coverage.rollups) {
    return { ...NO_PIECES, exact: [range], staleHours: 0, resolution: 'minute' };
  }
  const grid = hourGrid(range, coverage);

  const inGrid = (ms: number) => ms >= grid.fromMs && ms < grid.toMs;
  const isKept = (ms: number) => goneMs === null || ms >= goneMs;
  const cutHours = cuts
    .filter((cut) => cut % HOUR_MS !== 0)
    .map((cut) => floorTo(cut, HOUR_MS))
    .filter(inGrid);
  const dirtyOf = (span: BucketSpan) =>
    coverage.dirty.filter((each) => each.span === span).map(({ bucketMs }) => bucketMs);
  const dirty = rising(dirtyOf(byDimension ? 'hour' : 'detail_hour').filter(inGrid));
  const readAgain = dirty.filter(isKept).slice(-EXACT_HOURS_MAX);
  const exactHours = inFewSpans(rising([...readAgain, ...cutHours.filter(isKept)]));
  const read = new Set(exactHours);

  const dayGrid = { fromMs: ceilTo(grid.fromMs, DAY_MS), toMs: floorTo(grid.toMs, DAY_MS) };
  // A day is made from its hours, and is dirty until that is done.
  const brokenDays = rising(
    [
      ...dirty,
      ...dirtyOf(byDimension ? 'day' : 'detail_day'),
      ...cutHours,
      ...exactHours,
      ...cuts.filter((cut) => cut % DAY_MS !== 0),
    ].map((ms) => floorTo(ms, DAY_MS)),
  ).filter((day) => day >= dayGrid.fromMs && day < dayGrid.toMs);
  const wholeDays = dayGrid.fromMs < dayGrid.toMs ? remaining(dayGrid, brokenDays, DAY_MS) : [];
  const weeks = byDimension
    ? weeksOf(dayGrid, [
        ...brokenDays,
        ...dirtyOf('week'),
        ...cuts.filter((cut) => weekOf(cut) !== cut),
      ])
    : [];
  const days = subtract(wholeDays, weeks);

  const hours = subtract(subtract(remaining(grid, exactHours, HOUR_MS), wholeDays), weeks);
  const edges = [
    { fromMs: range.fromMs, toMs: grid.fromMs },
    { fromMs: grid.toMs, toMs: range.toMs },
  ].filter((span) => span.toMs > span.fromMs);
  const fine = [...edges, ...merged(exactHours, HOUR_MS)].toSorted((a, b) => a.fromMs - b.fromMs);
  const cutSlices = new Set(
    cuts.filter((cut) => cut % SLICE_MS !== 0).map((cut) => floorTo(cut, SLICE_MS)),
  );
  const isWhole = (slice: number) => isKept(slice) && !cutSlices.has(slice);
  const slices = byDimension ? slicesOf(fine, coverage.slices.filter(isWhole)) : [];
  // A process that names slices also stores ends in another slice than the start in `ended_sessions`.
  const slicedHours = new Set(coverage.slices.map((slice) => floorTo(slice, HOUR_MS)));
  const exact = subtract(fine, slices).map((span) =>
    slicedHours.has(floorTo(span.fromMs, HOUR_MS))
      ? { ...span, nearMs: floorTo(span.fromMs, SLICE_MS) }
      : span,
  );
  return {
    weeks,
    days,
    hours,
    slices,
    exact,
    staleHours: dirty.filter((hour) => !read.has(hour)).length,
    resolution: fine.length > 0 ? 'minute' : hours.length > 0 ? 'hour' : 'day',
  };
}

/** These hours in at most `EXACT_SPANS_MAX` spans: if there are more, with all hours of the smallest gaps. */
function inFewSpans(hours: readonly number[]): readonly number[] {
  const spans = merged(hours, HOUR_MS);
  const [first, last] = [spans[0], spans.at(-1)];
  if (first === undefined || last === undefined) return hours;
  const closed = subtract([{ fromMs: first.fromMs, toMs: last.toMs }], spans)
    .toSorted((a, b) => a.toMs - a.fromMs - (b.toMs - b.fromMs))
    .slice(0, Math.max(0, spans.length - EXACT_SPANS_MAX));
  return rising([...hours, ...closed.flatMap(hoursOf)]);
}

function hoursOf({ fromMs, toMs }: Span): number[] {
  return Array.from({ length: (toMs - fromMs) / HOUR_MS }, (_, i) => fromMs + i * HOUR_MS);
}

/** The whole slices of some spans; none if too many spans remained between them. */
function slicesOf(spans: readonly Span[], starts: readonly number[]): Span[] {
  const within = starts.filter((start) =>
    spans.some(({ fromMs, toMs }) => start >= fromMs && start + SLICE_MS <= toMs),
  );
  const slices = merged(rising(within), SLICE_MS);
  const between = subtract(spans, slices).length;
  return between > Math.max(EXACT_SPANS_MAX, spans.length) ? [] : slices;
}

/** The whole weeks of some days, without weeks that contain a break. */
function weeksOf(days: Span, breaks: readonly number[]): Span[] {
  const grid = { fromMs: nextWeekOf(days.fromMs), toMs: weekOf(days.toMs) };
  if (grid.fromMs >= grid.toMs) return [];
  const isWithin = (ms: number) => ms >= grid.fromMs && ms < grid.toMs;
  return remaining(grid, rising(breaks.filter(isWithin).map(weekOf)), WEEK_MS);
}

/**
 * The whole hours of a range, which may be none. A range that ends after everything has no edge at its end: the
 * rest of the day is empty, so today's sums equal the whole day's.
 */
function hourGrid(range: Span, { emptyFromMs }: Coverage): Span {
  const endsAfterAll = emptyFromMs !== null && range.toMs > emptyFromMs;
  const fromMs = ceilTo(range.fromMs, HOUR_MS);
  const toMs = endsAfterAll ? ceilTo(range.toMs, DAY_MS) : floorTo(range.toMs, HOUR_MS);
  return fromMs < toMs ? { fromMs, toMs } : { fromMs: range.toMs, toMs: range.toMs };
}

/** Spans without the parts that lie in the others. Both lists rise and have no overlap in themselves. */
function subtract(spans: readonly Span[], others: readonly Span[]): Span[] {
  return spans.flatMap((span) => {
    const parts: Span[] = [];
    let { fromMs } = span;
    for (const other of others) {
      if (other.toMs <= fromMs || other.fromMs >= span.toMs) continue;
      if (other.fromMs > fromMs) parts.push({ fromMs, toMs: other.fromMs });
      fromMs = Math.max(fromMs, other.toMs);
    }
    if (fromMs < span.toMs) parts.push({ fromMs, toMs: span.toMs });
    return parts;
  });
}
