import { createHash } from 'node:crypto';
import { quoteIdentifier } from '@sockscope/runtime/clickhouse';
import type { TablesConfig } from './config.js';
import { onCluster } from './layout.js';
import type { Layout } from './layout.js';

/**
 * Ceilings of one query of the query service. Its own settings may lower them
 * (`readonly` would forbid even that), never raise them.
 */
const LIMITS: Readonly<Record<string, number>> = {
  max_memory_usage: 4 * 1024 ** 3,
  max_execution_time: 300,
  max_result_rows: 1_000_000_000,
  max_concurrent_queries_for_user: 200,
};

/** Tables that the query service writes. */
const WRITTEN = ['export_audit', 'web_sessions', 'api_keys', 'api_key_uses', 'annotations'];

/**
 * The user that the query service reads with: SELECT on our database, INSERT into a few tables of its
 * own, no DDL, no table functions, no other database. Empty if the configuration names none.
 */
export function queryUserStatements(
  config: TablesConfig,
  layout: Layout,
  hidden: boolean,
): string[] {
  if (config.query_user === '') return [];
  const on = onCluster(layout);
  const name = quoteIdentifier(config.query_user);
  const profile = quoteIdentifier(`${config.query_user}_limits`);
  const database = quoteIdentifier(layout.database);
  const hash = hidden
    ? '***'
    : createHash('sha256').update(config.query_password).digest('hex').toUpperCase();
  const limits = Object.entries(LIMITS).map(([key, max]) => `${key} = ${max} MAX ${max}`);
  const identified = `IDENTIFIED WITH sha256_hash BY '${hash}'`;
  return [
    `CREATE SETTINGS PROFILE IF NOT EXISTS ${profile}${on}`,
    `ALTER SETTINGS PROFILE ${profile}${on} SETTINGS ${limits.join(', ')}`,
    `CREATE USER IF NOT EXISTS ${name}${on} ${identified}`,
    `ALTER USER ${name}${on} ${identified} SETTINGS PROFILE ${profile}`,
    `GRANT${on} SELECT ON ${database}.* TO ${name}`,
    ...WRITTEN.map((table) => `GRANT${on} INSERT ON ${database}.${table} TO ${name}`),
  ];
}
