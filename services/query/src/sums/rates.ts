/** Rates from the traffic of minutes, the finest that the tables keep. */
import { MINUTE_MS, minuteOf } from '@sockscope/schemas';

/** A rate over less than this would be noise. */
const RATE_WINDOW_MIN_MS = 1_000;

/** The time from which on traffic counts as recent: the previous minute's start, in milliseconds since 1970. */
export function rateSinceMs(nowMs: number): number {
  return minuteOf(nowMs) - MINUTE_MS;
}

/** The time that a session's recent traffic covers, in milliseconds. */
export function rateWindowMs(startedMs: number, sinceMs: number, nowMs: number): number {
  return Math.max(RATE_WINDOW_MIN_MS, nowMs - Math.max(startedMs, sinceMs));
}

/** The elapsed part of the minute that begins at `minuteMs`, the divisor of its bytes. */
export function minuteWindowMs(minuteMs: number, nowMs: number): number {
  return Math.min(MINUTE_MS, Math.max(RATE_WINDOW_MIN_MS, nowMs - minuteMs));
}

/** Bytes per second, whole. */
export function perSecond(bytes: number, windowMs: number): number {
  return Math.round((bytes * 1_000) / windowMs);
}
