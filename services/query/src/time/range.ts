import { DAY_MS } from '@sockscope/schemas/sums';
import { toTimestamp } from '@sockscope/schemas';
import { API_LIMITS } from '@sockscope/schemas/api';
import { invalidParameters } from '../problems/problem.js';
import { startOfDay } from './zone.js';
import type { Span } from '../sums/plan.js';
import type { Provenance } from '../sums/sums.js';

interface RangeParams {
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly time_zone: string;
}

const SECOND_MS = 1_000;

/**
 * The end of a range that has none: now, rounded up to a whole second, so that questions asked
 * within a second are the same question.
 */
export function endOf(query: { readonly to?: number | undefined }, nowMs: number): number {
  return query.to ?? Math.ceil((nowMs + 1) / SECOND_MS) * SECOND_MS;
}

/** The range that a request means: the day of its end, up to its end, unless it says otherwise. */
export function rangeOf(query: RangeParams, nowMs: number): Span {
  const toMs = endOf(query, nowMs);
  return checked(query.from ?? Math.max(0, startOfDay(toMs - 1, query.time_zone)), toMs);
}

/** The same, with a default of so many days. */
export function rangeOfDays(query: RangeParams, days: number, nowMs: number): Span {
  const toMs = endOf(query, nowMs);
  return checked(query.from ?? Math.max(0, toMs - days * DAY_MS), toMs);
}

/** What `checkRange` sees of a range that has both ends, for one that was given an end by default. */
function checked(fromMs: number, toMs: number): Span {
  const days = API_LIMITS.range_days_max;
  const message =
    fromMs >= toMs
      ? 'must lie before the end of the range'
      : toMs - fromMs > days * DAY_MS
        ? `the range may span at most ${days} days`
        : null;
  if (message !== null) throw invalidParameters([{ parameter: 'from', message }]);
  return { fromMs, toMs };
}

/** What every answer over a range says of itself. */
export function answerMetaOf(
  range: Span,
  query: { readonly time_zone: string },
  provenance: Provenance,
  nowMs: number,
) {
  return {
    range: { from: toTimestamp(range.fromMs), to: toTimestamp(range.toMs) },
    time_zone: query.time_zone,
    resolution: provenance.resolution,
    stale_hours: provenance.staleHours,
    incomplete_minutes: provenance.incompleteMinutes,
    as_of: toTimestamp(nowMs),
    data_until: provenance.newestMs === null ? null : toTimestamp(provenance.newestMs),
  };
}
