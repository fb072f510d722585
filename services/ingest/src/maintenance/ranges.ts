const HOUR_S = 3_600;
/** Rows of the other table that one statement holds in the memory of the database: about 200 MB. */
const RANGE_ROWS_MAX = 2_000_000;

/** An hour of a table, compared with the table that rows are carried over to. */
export interface ComparedHour {
  /** Seconds since 1970. */
  readonly hour: number;
  readonly to_rows: number;
  readonly is_same: number;
}

/** Half-open, seconds since 1970. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * The hours that differ, as few ranges: the copies of `sessions` are not ordered by time, so each
 * range costs a reading of a month. Years of which the other table has nothing are one range.
 *
 * @param hours in their order.
 */
export function rangesToCarry(
  hours: readonly ComparedHour[],
  rowsMax: number = RANGE_ROWS_MAX,
): Range[] {
  const ranges: Range[] = [];
  let open: { from: number; to: number; rows: number } | null = null;
  for (const { hour, to_rows, is_same } of hours) {
    if (is_same !== 0) {
      open = null;
      continue;
    }
    if (open === null || open.rows + to_rows > rowsMax) {
      open = { from: hour, to: hour, rows: 0 };
      ranges.push(open);
    }
    open.to = hour + HOUR_S;
    open.rows += to_rows;
  }
  return ranges.map(({ from, to }) => ({ from, to }));
}
