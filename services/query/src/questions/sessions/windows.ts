import { HOUR_MS, MINUTE_MS, WEEK_MS } from '@sockscope/schemas/sums';

/** `[lowMs, highMs)` of session starts; null leaves that side open. */
export interface Window {
  readonly lowMs: number | null;
  readonly highMs: number | null;
}

/** How a page is looked for. */
export interface Pace {
  /** Width of the first slice. */
  readonly firstMs: number;
  /** Factor for the next slice if nothing was found. */
  readonly emptyFactor: number;
  /** The last of these slices takes all that is left. */
  readonly slicesMax: number;
}

/** If every session passes, a minute of a busy proxy fills a page. */
export const DENSE: Pace = { firstMs: MINUTE_MS, emptyFactor: 10, slicesMax: 6 };
/** If a filter must be tried on each session, a slice that is too long reads much. */
export const FILTERED: Pace = { firstMs: HOUR_MS, emptyFactor: 168, slicesMax: 6 };
/**
 * The sessions of one user or one destination, in a table of their order: all of a rare one's cost less
 * than a few slices that find nothing.
 */
export const KEYED: Pace = { ...FILTERED, slicesMax: 3 };
/**
 * The same if no page of that user or destination is known. A week of most of them is a few granules, in one
 * statement; a busy one has more rows in it, and an hour may fill the page.
 */
export const KEYED_UNKNOWN: Pace = { ...KEYED, firstMs: WEEK_MS };
/** Beyond these rows a first slice of a week is not read. */
export const UNKNOWN_ROWS_MAX = 32_768;

/** A factor beyond the density so far, because it is seldom even. */
const MARGIN = 1.5;
const FACTOR_MIN = 4;
const FACTOR_MAX = 1_000;

/** The sessions to find, and the start. */
interface Walk {
  readonly range: Window;
  readonly order: 'asc' | 'desc';
  /**
   * The start of reading: the cursor's position or the end of the range that is read first. A bound that
   * is open on that side stays open in the first slice.
   */
  readonly anchorMs: number;
  /** How many sessions fill the page. */
  readonly wanted: number;
  readonly pace: Pace;
}

/**
 * Cuts a range of starts into disjoint slices in reading order, so that a full page is found in a
 * short slice. Each is as wide as the sessions found so far promise. Together they are the range.
 *
 * `next(found)` takes how many sessions the slice before held.
 */
export function* windows({
  range,
  order,
  anchorMs,
  wanted,
  pace,
}: Walk): Generator<Window, void, number> {
  const isDesc = order === 'desc';
  const far = isDesc ? range.lowMs : range.highMs;
  let near = isDesc ? range.highMs : range.lowMs;
  let edgeMs =
    near === null ? anchorMs : isDesc ? Math.min(anchorMs, near) : Math.max(anchorMs, near);
  let widthMs = pace.firstMs;
  let missing = wanted;
  for (let slice = 1; slice < pace.slicesMax; slice += 1) {
    const end = isDesc ? edgeMs - widthMs : edgeMs + widthMs;
    if (far !== null && (isDesc ? end <= far : end >= far)) break;
    const found: number = yield isDesc
      ? { lowMs: end, highMs: near }
      : { lowMs: near, highMs: end };
    near = end;
    edgeMs = end;
    missing -= found;
    const factor = found === 0 ? pace.emptyFactor : (missing / found) * MARGIN;
    widthMs = Math.round(widthMs * Math.min(FACTOR_MAX, Math.max(FACTOR_MIN, factor)));
  }
  yield isDesc ? { lowMs: far, highMs: near } : { lowMs: near, highMs: far };
}
