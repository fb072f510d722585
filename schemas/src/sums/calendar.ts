import { MINUTE_MS } from '../events/time.js';

/**
 * The buckets of sums: hours, days and ISO weeks, all UTC. Times are milliseconds since 1970.
 */

export { MINUTE_MS };
/** The part of an hour that is summed by itself while the hour still changes. */
export const SLICE_MS = 10 * MINUTE_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;
/** ISO weeks begin on Mondays. 1970 began on a Thursday, so its first Monday is the fifth of January. */
export const FIRST_MONDAY_MS = 4 * DAY_MS;

/** Returns the latest multiple of `step` that is not after `ms`. */
export function floorTo(ms: number, step: number): number {
  return Math.floor(ms / step) * step;
}

/** Returns the earliest multiple of `step` that is not before `ms`. */
export function ceilTo(ms: number, step: number): number {
  return Math.ceil(ms / step) * step;
}

/** Returns the Monday on which the ISO week of a time begins. */
export function weekOf(ms: number): number {
  return floorTo(ms - FIRST_MONDAY_MS, WEEK_MS) + FIRST_MONDAY_MS;
}

/** Returns the first Monday that is not before a time. */
export function nextWeekOf(ms: number): number {
  return ceilTo(ms - FIRST_MONDAY_MS, WEEK_MS) + FIRST_MONDAY_MS;
}
