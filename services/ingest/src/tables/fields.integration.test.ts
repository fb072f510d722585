/** The migrations are written by hand; this holds the tables that they make against the table of fields. */
import { columnsOf } from '@sockscope/schemas';
import type { FieldTable } from '@sockscope/schemas';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { z } from 'zod';
import '@sockscope/runtime/testing';
import { createTestTables } from '../testing/fold-into-tables.js';

let tables: Awaited<ReturnType<typeof createTestTables>>;

beforeAll(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
});
afterAll(async () => {
  await tables.drop();
});

it.each<[table: string, fields: FieldTable]>([
  ['sessions', 'sessions'],
  ['sessions_by_user', 'sessions'],
  ['sessions_by_destination', 'sessions'],
  ['long_sessions', 'sessions'],
  ['session_traffic_1m', 'session_traffic_1m'],
  ['session_events', 'session_events'],
])('the migrated table %s has every field with its type and codec', async (table, fields) => {
  const rows = await tables.clickhouse.query({
    sql: `SELECT name, type, compression_codec AS codec FROM system.columns
      WHERE database = currentDatabase() AND table = {table:String}`,
    params: { table },
    row: z.object({ name: z.string(), type: z.string(), codec: z.string() }),
  });
  const plain = (type: string) => /^SimpleAggregateFunction\(any, (.+)\)$/.exec(type)?.[1] ?? type;
  const actual = new Map(rows.map(({ name, type, codec }) => [name, { type: plain(type), codec }]));
  const expected = columnsOf(fields);
  expect(Object.fromEntries([...expected.keys()].map((name) => [name, actual.get(name)]))).toEqual(
    Object.fromEntries(expected),
  );
});
