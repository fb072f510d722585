import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import { MINUTE_MS } from '@sockscope/schemas/sums';
import { ProblemError } from '../problems/problem.js';

const TOO_MANY_ROWS = 158;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  thousand: 1e3,
  million: 1e6,
  billion: 1e9,
  trillion: 1e12,
};
/** Days differ, so a range just as long as was computed might be refused as well. */
const MARGIN = 0.8;

/** Rows that the statement would have read, as ClickHouse writes them: `8.19 thousand`. */
function rowsIn(message: string): number | null {
  const found = /current rows: (\d+(?:\.\d+)?) ?([a-z]*)/.exec(message);
  const unit = UNITS[found?.[2] ?? ''];
  return found?.[1] === undefined || unit === undefined ? null : Number(found[1]) * unit;
}

/**
 * A refusal that names the longest possible range. ClickHouse refuses before it reads, because it knows by
 * its index how many rows it would have to; they grow with the range.
 *
 * @param rangeMs length of the range that the statement reads; null if that is not known.
 * @returns the error itself if it is another one.
 */
export function tooMuchOf(error: unknown, rangeMs: number | null, rowsMax: number): unknown {
  if (!(error instanceof ClickHouseError) || error.serverCode !== TOO_MANY_ROWS) return error;
  const rows = rowsIn(error.message);
  if (rows === null || rangeMs === null || rows <= rowsMax) return error;
  const longestMs = Math.floor((rangeMs * MARGIN * rowsMax) / rows / MINUTE_MS) * MINUTE_MS;
  const narrower =
    longestMs === 0 ? 'narrow the filters' : `ask for at most ${shownLength(longestMs)} at once`;
  return new ProblemError(
    'too-expensive',
    `it would read ${Math.round(rows)} rows, of at most ${rowsMax}: ${narrower}`,
    { longestRangeMs: longestMs, cause: error },
  );
}

function shownLength(ms: number): string {
  const hours = ms / 3_600_000;
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return hours >= 2 ? `${Math.floor(hours)} hours` : `${Math.floor(hours * 60)} minutes`;
}
