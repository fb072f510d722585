import {
  DAY_MS,
  FIRST_MONDAY_MS,
  floorTo,
  HOUR_MS,
  MINUTE_MS,
  WEEK_MS,
} from '@sockscope/schemas/sums';
import { merged } from '../sums/plan.js';
import type { Span } from '../sums/plan.js';
import { momentOf, wallOf } from './zone.js';

/** Intervals from fine to coarse. They begin by the wall clock. */
export const INTERVALS = {
  '1m': MINUTE_MS,
  '5m': 5 * MINUTE_MS,
  '15m': 15 * MINUTE_MS,
  '30m': 30 * MINUTE_MS,
  '1h': HOUR_MS,
  '3h': 3 * HOUR_MS,
  '6h': 6 * HOUR_MS,
  '12h': 12 * HOUR_MS,
  '1d': DAY_MS,
  '1w': WEEK_MS,
  '1mo': 30 * DAY_MS,
} as const;

export type Interval = keyof typeof INTERVALS;

/**
 * Hours that cuts may go through if the interval is chosen: no sums of hours answer these. Two days of minutes, or
 * fewer spans than one statement may have: hours that have changed come on top.
 */
const CUT_HOURS_MAX = 48;
const CUT_SPANS_MAX = 32;

/**
 * The finest interval that cuts the range into at most `pointsMax` pieces, those at its ends among them, and that
 * sums answer. In a zone with half hours, a long range is cut more coarsely.
 */
export function automaticInterval(range: Span, zone: string, pointsMax: number): Interval {
  const names = Object.keys(INTERVALS) as Interval[];
  return (
    names.find((name) => {
      if ((range.toMs - range.fromMs) / INTERVALS[name] > pointsMax) return false;
      const cuts = cutRange(range, name, zone, pointsMax);
      const { hours, spans } = hoursCut(cuts);
      return cuts.length > 0 && hours <= CUT_HOURS_MAX && spans <= CUT_SPANS_MAX;
    }) ?? '1mo'
  );
}

/** Hours that the cuts after the first one go through, which rise, and the spans that they are in. */
function hoursCut([, ...cuts]: readonly number[]): { hours: number; spans: number } {
  const within = cuts.filter((cut) => cut % HOUR_MS !== 0).map((cut) => floorTo(cut, HOUR_MS));
  const hours = [...new Set(within)];
  return { hours: hours.length, spans: merged(hours, HOUR_MS).length };
}

/** The start, on the wall clock, of the interval after the one that holds `wallMs`. */
function nextWall(wallMs: number, interval: Interval): number {
  if (interval === '1mo') {
    const wall = new Date(wallMs);
    return Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + 1, 1);
  }
  const step = INTERVALS[interval];
  const origin = interval === '1w' ? FIRST_MONDAY_MS : 0;
  return floorTo(wallMs - origin, step) + origin + step;
}

/**
 * The cuts of a range: the starts of the intervals inside it, aligned to the zone's wall clock.
 * The first piece begins with the range and the last ends with it, so those may be shorter.
 *
 * @param limit stop with an empty list if there would be more pieces.
 * @returns starts of the pieces in milliseconds, the first being `fromMs`.
 */
export function cutRange(
  { fromMs, toMs }: Span,
  interval: Interval,
  zone: string,
  limit: number,
): number[] {
  const starts = [fromMs];
  const step = INTERVALS[interval];
  let next: number;
  // Half and quarter hours off UTC exist, and clocks that change by half an hour.
  const nextShort = (ms: number) => {
    const secondMs = Math.floor(ms / 1_000) * 1_000;
    return secondMs + step - (wallOf(secondMs, zone).getTime() % step);
  };
  if (step <= HOUR_MS) {
    next = nextShort(fromMs);
  } else {
    next = momentOf(nextWall(wallOf(fromMs, zone).getTime(), interval), zone);
  }
  while (next < toMs) {
    if (starts.length >= limit) return [];
    starts.push(next);
    if (step <= HOUR_MS) {
      next = nextShort(next);
      continue;
    }
    let wall = nextWall(wallOf(next, zone).getTime(), interval);
    let moment = momentOf(wall, zone);
    // When the clock goes back, the first moment of a later wall time may lie behind.
    while (moment <= next) {
      wall = nextWall(wall, interval);
      moment = momentOf(wall, zone);
    }
    next = moment;
  }
  return starts;
}
