import { z } from 'zod';
import { EVENT_LIMITS } from './limits.js';

const ISO_MS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

/** UTC, ISO 8601, exactly three fractional digits and `Z`: `2026-01-31T23:59:59.999Z`. */
export const timestamp = z
  .string()
  .regex(ISO_MS, 'must be UTC with milliseconds, like 2026-01-31T23:59:59.999Z')
  .refine((text) => {
    const ms = Date.parse(text);
    // The round trip refuses dates that do not exist (30 February) and hour 24.
    return (
      ms >= EVENT_LIMITS.earliest_ms &&
      ms < EVENT_LIMITS.latest_ms &&
      new Date(ms).toISOString() === text
    );
  }, 'must be an existing time from 2020 to 2099')
  .meta({ format: 'date-time' });

export const MINUTE_MS = 60_000;

/** The start of the UTC minute that holds `ms`. Unix time has no leap seconds, so this is a division. */
export function minuteOf(ms: number): number {
  return ms - (ms % MINUTE_MS);
}

/** The wire form of a time in milliseconds since 1970. */
export function toTimestamp(ms: number): string {
  return new Date(ms).toISOString();
}
