import { HOUR_MS, MINUTE_MS } from '@sockscope/schemas/sums';

/** `[lowMs, highMs)` of session starts; null leaves that side open. */
export interface Window {
  readonly lowMs: number | null;
  readonly highMs: number | null;
}

/** Width of the first slice, and the factor for the next one if nothing was found. */
export interface Pace {
  readonly firstMs: number;
  readonly emptyFactor: number;
}

/** If every session passes, a minute of a busy proxy fills a page. */
export const DENSE: Pace = { firstMs: MINUTE_MS, emptyFactor: 10 };
/**
 * One user's or one destination's sessions, in a table of their order: those who had none within an
 * hour have few in a week, and a week of few rows costs what an hour costs.
 */
export const SPARSE: Pace = { firstMs: HOUR_MS, emptyFactor: 168 };

const SLICES_MAX = 6;
/** Beyond what the density so far promises: it is seldom even. */
const MARGIN = 1.5;
const FACTOR_MIN = 4;
const FACTOR_MAX = 1_000;

/**
 * Cuts a range of starts into disjoint slices in reading order, so that a full page is found in a
 * short slice. Each is as wide as the sessions found so far promise; the sixth takes all that is left.
 * Together they are the range.
 *
 * `next(found)` takes how many sessions the slice before held.
 *
 * @param anchorMs where reading begins: the cursor's position or the end of the range that is
 * read first. A bound that is open on that side stays open in the first slice.
 * @param wanted how many sessions fill the page.
 */
export function* windows(
  range: Window,
  order: 'asc' | 'desc',
  anchorMs: number,
  wanted: number,
  pace: Pace,
): Generator<Window, void, number> {
  const isDesc = order === 'desc';
  const far = isDesc ? range.lowMs : range.highMs;
  let near = isDesc ? range.highMs : range.lowMs;
  let edgeMs =
    near === null ? anchorMs : isDesc ? Math.min(anchorMs, near) : Math.max(anchorMs, near);
  let widthMs = pace.firstMs;
  let missing = wanted;
  for (let slice = 1; slice < SLICES_MAX; slice += 1) {
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
