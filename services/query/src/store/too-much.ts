import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, Settings } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { MINUTE_MS } from '@sockscope/schemas/sums';
import { ProblemError, RETRY_AFTER_SECONDS } from '../problems/problem.js';
import type { Query } from '../sql/query.js';
import { earliestSessionQuery } from '../sql/sessions.js';
import type { OpenSpan } from '../time/range.js';

const TOO_MANY_ROWS = 158;
const TIMEOUT_EXCEEDED = 159;
const TOO_SLOW = 160;
const MEMORY_LIMIT_EXCEEDED = 241;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  thousand: 1e3,
  million: 1e6,
  billion: 1e9,
  trillion: 1e12,
};
/** Days differ, so a range just as long as was computed might be refused as well. */
const MARGIN = 0.8;
/** Part of the range to propose if nothing shows how far the statement came. */
const UNKNOWN_SHARE = 1 / 2;
const TIMEOUT_MS = 2_000;

/** How long a statement runs before ClickHouse extrapolates its time, in seconds. */
const EXTRAPOLATE_AFTER_S = 2;

/** Settings that end a statement early if it would exceed its deadline at its pace so far. */
export function extrapolating(timeoutMs: number): Settings {
  return {
    timeout_before_checking_execution_speed: EXTRAPOLATE_AFTER_S,
    max_estimated_execution_time: Math.ceil(timeoutMs / 1_000),
  };
}

/** Fewer rows are read within seconds, unless the machine stands still. */
const EXTRAPOLATED_ROWS_MIN = 1_000_000;

/** Whether an extrapolation rests on a pause of the machine, so that the statement deserves its full time. */
export function stoodStill(error: unknown): boolean {
  if (!(error instanceof ClickHouseError) || error.serverCode !== TOO_SLOW) return false;
  const rows = /rows to process: (\d+)/.exec(error.message)?.[1];
  return rows !== undefined && Number(rows) < EXTRAPOLATED_ROWS_MIN;
}

/** Whether ClickHouse refused a statement for the rows that it would read. */
export function hasTooManyRows(error: unknown): boolean {
  return error instanceof ClickHouseError && error.serverCode === TOO_MANY_ROWS;
}

/** The limit that a statement hit. */
interface Limit {
  readonly code: 'too-expensive' | 'deadline-exceeded';
  readonly what: string;
  /** Part of the range that would have been possible. */
  readonly share: number;
}

interface Limits {
  readonly rowsMax: number;
  readonly timeoutMs: number;
}

/** Returns the limit behind an error; null if it is another error. */
function limitOf(error: ClickHouseError, { rowsMax, timeoutMs }: Limits): Limit | null {
  const timeout: Limit = {
    code: 'deadline-exceeded',
    what: 'no answer in time',
    share: UNKNOWN_SHARE,
  };
  if (error.code === 'clickhouse_timeout') return timeout;
  switch (error.serverCode) {
    case TOO_MANY_ROWS: {
      const rows = rowsIn(error.message);
      if (rows === null) return null;
      const what = `it would read ${Math.round(rows)} rows, of at most ${rowsMax}`;
      // Of several reads together only those so far are counted.
      return { code: 'too-expensive', what, share: Math.min(1, rowsMax / rows) };
    }
    case TOO_SLOW: {
      const seconds = Number(/execution time \((\d+(?:\.\d+)?) seconds\)/.exec(error.message)?.[1]);
      if (Number.isNaN(seconds)) return timeout;
      const limitS = timeoutMs / 1_000;
      const what = `it would take about ${Math.ceil(seconds)} s, of at most ${limitS}`;
      return { code: 'too-expensive', what, share: Math.min(1, limitS / seconds) };
    }
    case TIMEOUT_EXCEEDED:
      return timeout;
    case MEMORY_LIMIT_EXCEEDED:
      // The memory of the whole server ran out: this statement may be innocent.
      return error.message.includes('(total)')
        ? null
        : {
            code: 'too-expensive',
            what: 'it would take more memory than one query may',
            share: UNKNOWN_SHARE,
          };
    default:
      return null;
  }
}

/** Rows that the statement would have read, as ClickHouse writes them: `8.19 thousand`. */
function rowsIn(message: string): number | null {
  const found = /current rows: (\d+(?:\.\d+)?) ?([a-z]*)/.exec(message);
  const unit = UNITS[found?.[2] ?? ''];
  return found?.[1] === undefined || unit === undefined ? null : Number(found[1]) * unit;
}

/**
 * A refusal that names the longest possible range: rows, time and memory grow with the range. ClickHouse knows
 * the rows before it reads, and the time after two seconds.
 *
 * @param query without a range, no range is short enough.
 * @returns the error itself if it is another one.
 */
export async function tooMuchOf(
  error: unknown,
  query: Pick<Query, 'range'>,
  deps: Limits & {
    readonly clickhouse: Pick<ClickHouse, 'query' | 'ping'>;
    readonly nowMs: number;
  },
): Promise<unknown> {
  const limit = error instanceof ClickHouseError ? limitOf(error, deps) : null;
  if (limit === null) return error;
  const { code, what, share } = limit;
  if (code === 'deadline-exceeded' && !(await answers(deps.clickhouse))) {
    return new ProblemError('store-unavailable', 'try again shortly', {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
      cause: error,
    });
  }
  // Slowness may pass, unlike a limit of rows or memory.
  if (code === 'deadline-exceeded' && query.range === undefined) return error;
  const readMs = query.range === undefined ? 0 : await lengthOfData(query.range, deps);
  const longestMs = Math.floor((readMs * MARGIN * share) / MINUTE_MS) * MINUTE_MS;
  const narrower =
    longestMs === 0 ? 'narrow the filters' : `ask for at most ${shownLength(longestMs)} at once`;
  return new ProblemError(code, `${what}: ${narrower}`, {
    longestRangeMs: longestMs,
    cause: error,
    ...(code === 'deadline-exceeded' ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : {}),
  });
}

/** Whether the database answers at all: one that stands still lets every statement run out of time. */
async function answers(clickhouse: Pick<ClickHouse, 'ping'>): Promise<boolean> {
  return clickhouse.ping({ timeoutMs: TIMEOUT_MS }).then(
    () => true,
    (error: unknown) => !(error instanceof ClickHouseError) || error.code === 'clickhouse_server',
  );
}

/** Milliseconds of the part of a range in which there can be data. */
async function lengthOfData(
  { fromMs, toMs }: OpenSpan,
  { clickhouse, nowMs }: { readonly clickhouse: Pick<ClickHouse, 'query'>; readonly nowMs: number },
): Promise<number> {
  const { sql, params, row } = earliestSessionQuery();
  const firstMs = await clickhouse.query({ sql, params, row, timeoutMs: TIMEOUT_MS }).then(
    ([earliest]) => Date.parse(earliest?.started_at ?? toTimestamp(nowMs)),
    // The database may be too busy to answer. Then the range counts from its own beginning.
    () => fromMs ?? nowMs,
  );
  return Math.max(0, Math.min(toMs ?? nowMs, nowMs) - Math.max(fromMs ?? firstMs, firstMs));
}

function shownLength(ms: number): string {
  const hours = ms / 3_600_000;
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return hours >= 2 ? `${Math.floor(hours)} hours` : `${Math.floor(hours * 60)} minutes`;
}
