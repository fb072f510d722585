import { SockscopeError } from '@sockscope/runtime';
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

/** What keeps us from writing to these tables, a sentence for each; empty if nothing differs. */
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
 * The server would cast to whatever the columns of a table of another shape are, losing what does not
 * fit there.
 *
 * @throws SockscopeError `tables_differ`, retryable because `migrate` may run meanwhile.
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
  throw new SockscopeError(
    'tables_differ',
    `the tables in ${clickhouse.database} do not match this version; run migrate:\n  ${problems.join('\n  ')}`,
    { retryable: true },
  );
}
