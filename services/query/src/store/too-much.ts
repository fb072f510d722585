import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { MINUTE_MS } from '@sockscope/schemas/sums';
import { ProblemError } from '../problems/problem.js';
import type { Query } from '../sql/query.js';
import { earliestSessionQuery } from '../sql/sessions.js';
import type { OpenSpan } from '../time/range.js';

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
const TIMEOUT_MS = 2_000;

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
 * @param query without a range, no range is short enough.
 * @returns the error itself if it is another one.
 */
export async function tooMuchOf(
  error: unknown,
  query: Pick<Query, 'range'>,
  deps: {
    readonly clickhouse: Pick<ClickHouse, 'query'>;
    readonly nowMs: number;
    readonly rowsMax: number;
  },
): Promise<unknown> {
  if (!(error instanceof ClickHouseError) || error.serverCode !== TOO_MANY_ROWS) return error;
  const rows = rowsIn(error.message);
  if (rows === null) return error;
  const { rowsMax } = deps;
  const readMs = query.range === undefined ? 0 : await lengthOfData(query.range, deps);
  // Of several reads together only those so far are counted.
  const share = Math.min(1, rowsMax / rows);
  const longestMs = Math.floor((readMs * MARGIN * share) / MINUTE_MS) * MINUTE_MS;
  const narrower =
    longestMs === 0 ? 'narrow the filters' : `ask for at most ${shownLength(longestMs)} at once`;
  return new ProblemError(
    'too-expensive',
    `it would read ${Math.round(rows)} rows, of at most ${rowsMax}: ${narrower}`,
    { longestRangeMs: longestMs, cause: error },
  );
}

/** Milliseconds of the part of a range in which there can be data. */
async function lengthOfData(
  { fromMs, toMs }: OpenSpan,
  { clickhouse, nowMs }: { readonly clickhouse: Pick<ClickHouse, 'query'>; readonly nowMs: number },
): Promise<number> {
  const { sql, params, row } = earliestSessionQuery();
  const [earliest] = await clickhouse.query({ sql, params, row, timeoutMs: TIMEOUT_MS });
  const startedAt = earliest?.started_at ?? null;
  const firstMs = startedAt === null ? nowMs : Date.parse(startedAt);
  return Math.max(0, Math.min(toMs ?? nowMs, nowMs) - Math.max(fromMs ?? firstMs, firstMs));
}

function shownLength(ms: number): string {
  const hours = ms / 3_600_000;
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return hours >= 2 ? `${Math.floor(hours)} hours` : `${Math.floor(hours * 60)} minutes`;
}
