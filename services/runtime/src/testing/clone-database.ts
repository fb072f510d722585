import { z } from 'zod';
import type { ClickHouse } from '../clickhouse/clickhouse.js';

/** The table of applied migrations. */
const RECORDS = 'ingest_schema_migrations';

/**
 * Makes an empty database with the tables of a migrated one, which takes a fraction of the time of a
 * migration.
 *
 * @param admin a client whose own database exists.
 */
export async function cloneDatabase(
  admin: ClickHouse,
  template: string,
  database: string,
): Promise<void> {
  const tables = await admin.query({
    sql: 'SELECT create_table_query AS sql FROM system.tables WHERE database = {template:String}',
    params: { template },
    row: z.object({ sql: z.string() }),
  });
  await admin.command({ sql: `CREATE DATABASE ${database}` });
  await Promise.all(
    tables.map(({ sql }) => admin.command({ sql: sql.replaceAll(template, database) })),
  );
  await admin.command({
    sql: `INSERT INTO ${database}.${RECORDS} SELECT * FROM ${template}.${RECORDS} FINAL`,
  });
}
