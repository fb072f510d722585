const HOUR_MS = 3_600_000;

/** Each is the width of the next slice of history, when the ones before did not fill the page. */
const WIDTHS_MS = [
  HOUR_MS,
  6 * HOUR_MS,
  24 * HOUR_MS,
  7 * 24 * HOUR_MS,
  30 * 24 * HOUR_MS,
] as const;

/** `[lowMs, highMs)` of session starts; null leaves that side open. */
export interface Window {
  readonly lowMs: number | null;
  readonly highMs: number | null;
}

/**
 * Cuts a range of starts into disjoint slices in reading order, widening, so that a full page
 * is found in a short slice and an empty history costs six queries. Together they are the range.
 *
 * @param anchorMs where reading begins: the cursor's position or the end of the range that is
 * read first. A bound that is open on that side stays open in the first slice.
 */
export function* windows(
  range: Window,
  order: 'asc' | 'desc',
  anchorMs: number,
): Generator<Window, void, undefined> {
  if (order === 'desc') {
    let highMs = range.highMs;
    let edgeMs = range.highMs === null ? anchorMs : Math.min(anchorMs, range.highMs);
    for (const width of WIDTHS_MS) {
      const lowMs = edgeMs - width;
      if (range.lowMs !== null && lowMs <= range.lowMs) break;
      yield { lowMs, highMs };
      highMs = lowMs;
      edgeMs = lowMs;
    }
    yield { lowMs: range.lowMs, highMs };
    return;
  }
  let lowMs = range.lowMs;
  let edgeMs = range.lowMs === null ? anchorMs : Math.max(anchorMs, range.lowMs);
  for (const width of WIDTHS_MS) {
    const highMs = edgeMs + width;
    if (range.highMs !== null && highMs >= range.highMs) break;
    yield { lowMs, highMs };
    lowMs = highMs;
    edgeMs = highMs;
  }
  yield { lowMs, highMs: range.highMs };
}
