import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { describe, expect, it } from 'vitest';
import type { OpenSpan } from '../time/range.js';
import { tooMuchOf } from './too-much.js';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-03-15T12:00:00Z');
const FIRST_MS = NOW_MS - 30 * DAY_MS;
const refusal = (message: string, serverCode = 158) =>
  new ClickHouseError('clickhouse_server', message, { retryable: false, serverCode });
const tooMany = refusal(
  `Limit for rows (controlled by 'max_rows_to_read' setting) exceeded, max rows: 1.00 million, current rows: 3.00 million.`,
);

const clickhouse: Pick<ClickHouse, 'query'> = {
  query: async ({ row }) => [row.parse({ started_at: new Date(FIRST_MS).toISOString() })],
};
const refused = (error: unknown, range?: OpenSpan, rowsMax = 1_000_000) =>
  tooMuchOf(error, range === undefined ? {} : { range }, { clickhouse, nowMs: NOW_MS, rowsMax });
const last = (ms: number) => ({ fromMs: NOW_MS - ms, toMs: NOW_MS });

describe('a statement that would read too many rows', () => {
  it('is refused with the longest range that is possible, a little less than in proportion', async () => {
    expect(await refused(tooMany, last(30 * DAY_MS))).toMatchObject({
      code: 'too-expensive',
      longestRangeMs: 8 * DAY_MS,
      message: 'it would read 3000000 rows, of at most 1000000: ask for at most 8 days at once',
    });
    expect(await refused(tooMany, last(60_000))).toMatchObject({
      longestRangeMs: 0,
      message: 'it would read 3000000 rows, of at most 1000000: narrow the filters',
    });
  });

  it('counts only the part of the range that holds data, also if a side is open', async () => {
    for (const range of [
      { fromMs: null, toMs: null },
      { fromMs: 0, toMs: NOW_MS + 1_000 * DAY_MS },
      { fromMs: FIRST_MS, toMs: null },
    ]) {
      expect(await refused(tooMany, range)).toMatchObject({ longestRangeMs: 8 * DAY_MS });
    }
    expect(await refused(tooMany, { fromMs: null, toMs: FIRST_MS - DAY_MS })).toMatchObject({
      longestRangeMs: 0,
    });
  });

  it('is read without a unit as well', async () => {
    const few = refusal('max rows: 10.00, current rows: 900.00. (TOO_MANY_ROWS)');
    expect(await refused(few, last(60 * 60_000), 100)).toMatchObject({
      longestRangeMs: 5 * 60_000,
    });
  });

  it('has no possible range if it reads the same for any', async () => {
    expect(await refused(tooMany)).toMatchObject({ code: 'too-expensive', longestRangeMs: 0 });
  });

  it('stays the error that it is if it is another one', async () => {
    const other = refusal('current rows: 3.00 million', 60);
    expect(await refused(other, last(DAY_MS))).toBe(other);
  });
});
