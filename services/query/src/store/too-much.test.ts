import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import { describe, expect, it } from 'vitest';
import { tooMuchOf } from './too-much.js';

const DAY_MS = 86_400_000;
const refusal = (message: string, serverCode = 158) =>
  new ClickHouseError('clickhouse_server', message, { retryable: false, serverCode });
const tooMany = refusal(
  `Limit for rows (controlled by 'max_rows_to_read' setting) exceeded, max rows: 1.00 million, current rows: 3.00 million.`,
);

describe('a statement that would read too many rows', () => {
  it('is refused with the longest range that is possible, a little less than in proportion', () => {
    expect(tooMuchOf(tooMany, 30 * DAY_MS, 1_000_000)).toMatchObject({
      code: 'too-expensive',
      longestRangeMs: 8 * DAY_MS,
      message: 'it would read 3000000 rows, of at most 1000000: ask for at most 8 days at once',
    });
    expect(tooMuchOf(tooMany, 60_000, 1_000_000)).toMatchObject({
      longestRangeMs: 0,
      message: 'it would read 3000000 rows, of at most 1000000: narrow the filters',
    });
  });

  it('is read without a unit as well', () => {
    const few = refusal('max rows: 10.00, current rows: 900.00. (TOO_MANY_ROWS)');
    expect(tooMuchOf(few, 60 * 60_000, 100)).toMatchObject({ longestRangeMs: 5 * 60_000 });
  });

  it('stays the error that it is if no range is known, and others do, too', () => {
    expect(tooMuchOf(tooMany, null, 1_000_000)).toBe(tooMany);
    const other = refusal('current rows: 3.00 million', 60);
    expect(tooMuchOf(other, DAY_MS, 1_000_000)).toBe(other);
  });
});
