import { toTimestamp } from '@sockscope/schemas';
import { API_LIMITS } from '@sockscope/schemas/api';
import type { RangeParams } from '@sockscope/schemas/api';
import { DAY_MS } from '@sockscope/schemas/sums';
import { invalidParameters } from '../problems/problem.js';
import type { Span } from '../sums/plan.js';
import { addMonths, floorOf, momentMs, periodSpan } from './moment.js';
import { momentOf, startOfDay, wallOf } from './zone.js';

const SECOND_MS = 1_000;

/**
 * The value of `now` in a range: rounded up to a whole second, so that questions asked within a second
 * are the same question.
 */
export function nowOf(nowMs: number): number {
  return Math.ceil((nowMs + 1) / SECOND_MS) * SECOND_MS;
}

/** Both ends of a range of which either may be missing. */
export interface OpenSpan {
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

/** The range that a request names. @throws ProblemError invalid-parameters if it is empty. */
export function openRangeOf(query: RangeParams, nowMs: number): OpenSpan {
  const { from, to, period, time_zone: zone } = query;
  if (period !== undefined) {
    const span = periodSpan(period, zone);
    if (span.fromMs < span.toMs) return span;
    throw invalidParameters([{ parameter: 'period', message: 'was skipped in this time zone' }]);
  }
  const atMs = nowOf(nowMs);
  const span = {
    fromMs: from === undefined ? null : momentMs(from, atMs, zone),
    toMs: to === undefined ? null : momentMs(to, atMs, zone),
  };
  if (span.fromMs !== null && span.toMs !== null) checked(span.fromMs, span.toMs, Infinity);
  return span;
}

/** The range that a request means: the day of its end, up to its end, unless it names another. */
export function rangeOf(query: RangeParams, nowMs: number): Span {
  const { fromMs, toMs } = openRangeOf(query, nowMs);
  const endMs = toMs ?? nowOf(nowMs);
  return checked(fromMs ?? Math.max(0, startOfDay(endMs - 1, query.time_zone)), endMs);
}

/** The same, with a default in days. */
export function rangeOfDays(query: RangeParams, days: number, nowMs: number): Span {
  const { fromMs, toMs } = openRangeOf(query, nowMs);
  const endMs = toMs ?? nowOf(nowMs);
  return checked(fromMs ?? Math.max(0, endMs - days * DAY_MS), endMs);
}

function checked(fromMs: number, toMs: number, days: number = API_LIMITS.range_days_max): Span {
  if (toMs <= fromMs) {
    throw invalidParameters([{ parameter: 'to', message: 'must be after from' }]);
  }
  if (toMs - fromMs > days * DAY_MS) {
    const message = `the range may cover at most ${days} days`;
    throw invalidParameters([{ parameter: 'from', message }]);
  }
  return { fromMs, toMs };
}

/**
 * The period that a range is compared with. Of whole calendar months, the same number of months
 * before; of a month's beginning, the month before up to the same day and time; likewise of days.
 * Of anything else, the same length just before. Nothing is before 1970, and no period is empty.
 */
export function periodBefore(range: Span, zone: string): Span {
  const fromWall = wallOf(range.fromMs, zone).getTime();
  const toWall = wallOf(range.toMs, zone).getTime();
  const starts = (ms: number, unit: 'd' | 'M') => floorOf(ms, unit, zone) === ms;
  const monthsOf = (wallMs: number) => {
    const wall = new Date(wallMs);
    return wall.getUTCFullYear() * 12 + wall.getUTCMonth();
  };
  // A wall clock shows whole seconds.
  const restMs = range.toMs % SECOND_MS;
  const at = (wallMs: number) => momentOf(wallMs, zone);
  if (starts(range.fromMs, 'M')) {
    const months = monthsOf(toWall) - monthsOf(fromWall);
    if (months > 0 && starts(range.toMs, 'M')) {
      return spanBefore(at(addMonths(fromWall, -months)), range.fromMs, range);
    }
    if (months === 0 && !isOneDay(range, zone)) {
      return spanBefore(at(addMonths(fromWall, -1)), at(addMonths(toWall, -1)) + restMs, range);
    }
  }
  if (starts(range.fromMs, 'd')) {
    const days = Math.round((Math.floor(toWall / DAY_MS) * DAY_MS - fromWall) / DAY_MS);
    if (days > 0 && starts(range.toMs, 'd')) {
      return spanBefore(at(fromWall - days * DAY_MS), range.fromMs, range);
    }
    if (days === 0) return spanBefore(at(fromWall - DAY_MS), at(toWall - DAY_MS) + restMs, range);
  }
  return spanBefore(2 * range.fromMs - range.toMs, range.fromMs, range);
}

/** Whether a range lies within one day, up to its end. */
function isOneDay(range: Span, zone: string): boolean {
  return startOfDay(range.toMs - 1, zone) <= range.fromMs;
}

function spanBefore(fromMs: number, toMs: number, range: Span): Span {
  const start = Math.max(0, fromMs);
  return { fromMs: start, toMs: Math.max(start + 1, Math.min(toMs, range.fromMs)) };
}

/** A range as answers show it. */
export function shownRange(span: Span): { from: string; to: string } {
  return { from: toTimestamp(span.fromMs), to: toTimestamp(span.toMs) };
}
