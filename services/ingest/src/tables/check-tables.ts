import { SockscopeError } from '@sockscope/runtime';
import { ACCESS_DENIED, ClickHouseError, tryReading } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { TABLE_COLUMNS } from './columns.js';

const columnRow = z.object({ table: z.string(), name: z.string(), type: z.string() });

const CHECK_TIMEOUT_MS = 5_000;

/** Returns the value's type without wrappers that only describe storage. */
export function encodedType(type: string): string {
  const aggregate = /^SimpleAggregateFunction\(\w+, (.+)\)$/.exec(type);
  if (aggregate?.[1] !== undefined) return encodedType(aggregate[1]);
  const dictionary = /^LowCardinality\((.+)\)$/.exec(type);
  if (dictionary?.[1] !== undefined) return encodedType(dictionary[1]);
  return type;
}

/** The problems that prevent writing to these tables, a sentence for each; empty if there are none. */
export function tableProblems(actual: readonly z.infer<typeof columnRow>[]): string[] {
  return Object.entries(TABLE_COLUMNS).flatMap(([table, columns]) => {
    const types = new Map(actual.filter((row) => row.table === table).map((r) => [r.name, r.type]));
    if (types.size === 0) return [`${table}: there is no such table`];
    return Object.entries(columns).flatMap(([name, expected]) => {
      const type = types.get(name);
      if (type === undefined) return [`${table}.${name}: there is no such column`];
      return encodedType(type) === encodedType(expected)
        ? []
        : [`${table}.${name}: is ${type}; ingest writes ${expected}`];
    });
  });
}

/**
 * The server would cast to the columns of a table of another shape, and lose values that do not
 * fit there.
 *
 * @throws SockscopeError `tables_differ`, retryable because `migrate` may run meanwhile.
 * @throws ClickHouseError that names the right to read a table and the statement that grants it.
 */
export async function checkTables(clickhouse: ClickHouse, signal: AbortSignal): Promise<void> {
  const actual = await clickhouse.query({
    sql: 'SELECT table, name, type FROM system.columns WHERE database = {database:String}',
    params: { database: clickhouse.database },
    row: columnRow,
    timeoutMs: CHECK_TIMEOUT_MS,
    signal,
  });
  const problems = tableProblems(actual);
  if (problems.length === 0) return;
  // The server hides the columns of tables that we may not read.
  const hidden = Object.keys(TABLE_COLUMNS).find(
    (name) => !actual.some((row) => row.table === name),
  );
  if (hidden !== undefined) await throwIfDenied(clickhouse, hidden);
  throw new SockscopeError(
    'tables_differ',
    `the tables in ${clickhouse.database} do not match this version; run migrate:\n  ${problems.join('\n  ')}`,
    { retryable: true },
  );
}

async function throwIfDenied(clickhouse: ClickHouse, table: string): Promise<void> {
  try {
    await tryReading(clickhouse, [table]);
  } catch (error) {
    if (error instanceof ClickHouseError && error.serverCode === ACCESS_DENIED) throw error;
  }
}
