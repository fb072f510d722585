/**
 * Returns SQL for times from {from} on and before {to}, over a column with milliseconds.
 *
 * The bounds have milliseconds too. If the upper one is a DateTime, ClickHouse reads granules up to the second
 * before it, so rows of a granule or part that begins within the last second are missing (seen in 26.7).
 */
export function withinTimes(column: string): string {
  return `${column} >= {from:DateTime64(3, 'UTC')} AND ${column} < {to:DateTime64(3, 'UTC')}`;
}
