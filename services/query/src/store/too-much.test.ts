import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { describe, expect, it } from 'vitest';
import { problemOfStore } from '../problems/problem.js';
import type { OpenSpan } from '../time/range.js';
import { stoodStill, tooMuchOf } from './too-much.js';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-03-15T12:00:00Z');
const FIRST_MS = NOW_MS - 30 * DAY_MS;
const refusal = (message: string, serverCode = 158) =>
  new ClickHouseError('clickhouse_server', message, { retryable: false, serverCode });
const tooMany = refusal(
  `Limit for rows (controlled by 'max_rows_to_read' setting) exceeded, max rows: 1.00 million, current rows: 3.00 million.`,
);

const clickhouse: Pick<ClickHouse, 'query' | 'ping'> = {
  ping: async () => undefined,
  query: async ({ row }) => [row.parse({ started_at: new Date(FIRST_MS).toISOString() })],
};
const refused = (error: unknown, range?: OpenSpan, rowsMax = 1_000_000, deps = { clickhouse }) =>
  tooMuchOf(error, range === undefined ? {} : { range }, {
    ...deps,
    nowMs: NOW_MS,
    rowsMax,
    timeoutMs: 10_000,
  });
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

describe('a statement that would take too long', () => {
  const slow = (rows: number) =>
    refusal(
      `Estimated query execution time (40.12345 seconds) is too long. Maximum: 10. Estimated rows to process: ${rows} (5000 read in 2.00012 seconds).`,
      160,
    );

  it('is refused with the longest range that is possible at its pace', async () => {
    const problem = await refused(slow(90_000_000), last(20 * DAY_MS));
    expect(problem).toMatchObject({
      code: 'too-expensive',
      message: 'it would take about 41 s, of at most 10: ask for at most 3 days at once',
    });
    const { longestRangeMs = 0 } = problem as { longestRangeMs?: number };
    expect(longestRangeMs / DAY_MS).toBeCloseTo((20 * 0.8 * 10) / 40.12345, 2);
  });

  it('gets its full time if it has so few rows that the machine must have stood still', () => {
    expect(stoodStill(slow(90_000_000))).toBe(false);
    expect(stoodStill(slow(90_000))).toBe(true);
    expect(stoodStill(tooMany)).toBe(false);
  });

  it('and hits the deadline is a 503 that proposes half of its range', async () => {
    const deadline = new ClickHouseError('clickhouse_timeout', 'no answer', { retryable: true });
    for (const error of [deadline, refusal('Timeout exceeded: elapsed 11 seconds', 159)]) {
      expect(await refused(error, last(10 * DAY_MS))).toMatchObject({
        code: 'deadline-exceeded',
        retryAfterSeconds: 2,
        longestRangeMs: 4 * DAY_MS,
        message: 'no answer in time: ask for at most 4 days at once',
      });
      expect(await refused(error)).toBe(error);
    }
  });

  it('is a database that cannot be reached, if that does not answer at all', async () => {
    const deadline = new ClickHouseError('clickhouse_timeout', 'no answer', { retryable: true });
    const fail = () => Promise.reject(deadline);
    const gone = { clickhouse: { query: fail, ping: fail } };
    for (const range of [last(DAY_MS), undefined]) {
      expect(await refused(deadline, range, 1_000_000, gone)).toMatchObject({
        code: 'store-unavailable',
        retryAfterSeconds: 2,
      });
    }
  });

  it('names a range also while the database is too busy to say since when it has data', async () => {
    const deadline = new ClickHouseError('clickhouse_timeout', 'no answer', { retryable: true });
    const busy = { clickhouse: { ...clickhouse, query: () => Promise.reject(deadline) } };
    expect(await refused(deadline, last(10 * DAY_MS), 1, busy)).toMatchObject({
      longestRangeMs: 4 * DAY_MS,
    });
  });
});

describe('a statement that takes too much memory', () => {
  it('is refused with half of its range', async () => {
    const own = refusal('Query memory limit exceeded: would use 2.01 GiB, maximum: 2.00 GiB.', 241);
    expect(await refused(own, last(10 * DAY_MS))).toMatchObject({
      code: 'too-expensive',
      longestRangeMs: 4 * DAY_MS,
      message: 'it would take more memory than one query may: ask for at most 4 days at once',
    });
  });

  it('is asked to come again if it is the memory of the whole server', async () => {
    const all = refusal('(total) memory limit exceeded: would use 8.01 GiB.', 241);
    expect(await refused(all, last(DAY_MS))).toBe(all);
    expect(problemOfStore(all)).toMatchObject({ code: 'overloaded', retryAfterSeconds: 2 });
  });
});
