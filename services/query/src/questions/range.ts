import type { Range } from '../sql/sums.js';
import { startOfDay } from '../time/zone.js';
import { invalidParameters } from '../http/problem.js';

/**
 * The range that a request means: today up to now in its time zone, unless it says otherwise.
 * A range that is asked for may end in the future.
 */
export function rangeOf(
  query: { from?: number | undefined; to?: number | undefined; time_zone: string },
  nowMs: number,
): Range {
  const toMs = query.to ?? nowMs;
  const fromMs = query.from ?? startOfDay(toMs - 1, query.time_zone);
  if (fromMs >= toMs) {
    throw invalidParameters([
      { parameter: 'from', message: 'must lie before the end of the range' },
    ]);
  }
  return { fromMs, toMs };
}
