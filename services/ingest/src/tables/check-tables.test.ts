import { describe, expect, it } from 'vitest';
import { encodedType, tableProblems } from './check-tables.js';
import { TABLE_COLUMNS } from './columns.js';

const asTheyShouldBe = Object.entries(TABLE_COLUMNS).flatMap(([table, columns]) =>
  Object.entries(columns).map(([name, type]) => ({ table, name, type })),
);

describe('the check of the tables', () => {
  it('passes the written columns, and further ones', () => {
    expect(tableProblems(asTheyShouldBe)).toEqual([]);
    expect(
      tableProblems([...asTheyShouldBe, { table: 'sessions', name: 'more', type: 'UInt8' }]),
    ).toEqual([]);
  });

  it('ignores wrappers that only describe storage', () => {
    expect(encodedType('LowCardinality(String)')).toBe('String');
    expect(encodedType('SimpleAggregateFunction(max, UInt64)')).toBe('UInt64');
    expect(encodedType('SimpleAggregateFunction(any, LowCardinality(Nullable(String)))')).toBe(
      'Nullable(String)',
    );
    expect(encodedType("DateTime64(3, 'UTC')")).toBe("DateTime64(3, 'UTC')");
  });

  it('names every table, column and type that is not so', () => {
    const other = asTheyShouldBe
      .filter(({ table }) => table !== 'session_events')
      .filter(({ table, name }) => table !== 'sessions' || name !== 'user')
      .map((row) =>
        row.table === 'session_traffic_1m' && row.name === 'bucket'
          ? { ...row, type: 'UInt32' }
          : row,
      );
    expect(tableProblems(other)).toEqual([
      'sessions.user: there is no such column',
      "session_traffic_1m.bucket: is UInt32; ingest writes DateTime('UTC')",
      'session_events: there is no such table',
    ]);
  });
});
