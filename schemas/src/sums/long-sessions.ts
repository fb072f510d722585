import { MINUTE_MS } from './calendar.js';

/**
 * Ten minutes: the age of a session from which on each of its rows is stored in `long_sessions` too, by the time of the row's event.
 * Times of a session never run backwards (ADR 0007), so every row after the first one that is stored there follows it.
 */
export const LONG_SESSION_MS = 10 * MINUTE_MS;

/** Returns whether `long_sessions` has this row of `sessions` too. */
export function isLong(row: { readonly started_at: string; readonly updated_at: string }): boolean {
  return Date.parse(row.updated_at) - Date.parse(row.started_at) >= LONG_SESSION_MS;
}

/** Holds for rows of `sessions` that `long_sessions` has too. @param heard the time of the row's event. */
export function isLongSql(heard = 'updated_at'): string {
  return `${heard} >= started_at + toIntervalMillisecond(${LONG_SESSION_MS})`;
}
