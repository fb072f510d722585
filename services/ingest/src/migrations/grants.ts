/** `grants plan`: the users of ClickHouse with the least rights, for an administrator to make. */
import type { Command } from '@sockscope/runtime';
import { quoteIdentifier } from '@sockscope/runtime/clickhouse';
import type { MigrateConfig } from './command.js';
import type { TablesConfig } from './config.js';
import { onCluster } from './layout.js';
import type { Layout } from './layout.js';
import { layoutOf } from './migrator.js';
import { queryUserStatements } from './query-user.js';

const USERS = {
  migrate: 'sockscope_migrate',
  ingest: 'sockscope_ingest',
  query: 'sockscope_query',
} as const;

/** The engines of our tables. Servers may ask for a right for each (`table_engines_require_grant`). */
const ENGINES = ['MergeTree', 'ReplacingMergeTree', 'AggregatingMergeTree'] as const;

function enginesOf(layout: Layout): readonly string[] {
  if (layout.kind === 'single') return ENGINES;
  const replicated = ENGINES.map((engine) => `Replicated${engine}`);
  return ['Distributed', ...ENGINES, ...(layout.replicated ? replicated : [])];
}

/** Hangs `grants` on the service's command line. */
export function registerGrants(program: Command, config: () => MigrateConfig): void {
  program
    .command('grants')
    .description('the users in ClickHouse')
    .command('plan')
    .description('print the statements that create users with the least rights; change nothing')
    .action(() => {
      const { tables, clickhouse } = config();
      const statements = grantStatements(tables, layoutOf(tables, clickhouse.database));
      process.stdout.write(
        "-- Replace *** with the SHA-256 of each user's password, in hexadecimal.\n",
      );
      for (const sql of statements) process.stdout.write(`${sql};\n`);
    });
}

export function grantStatements(config: TablesConfig, layout: Layout): string[] {
  const on = onCluster(layout);
  const database = `${quoteIdentifier(layout.database)}.*`;
  const user = (name: string) =>
    `CREATE USER IF NOT EXISTS ${quoteIdentifier(name)}${on} IDENTIFIED WITH sha256_hash BY '***'`;
  const grant = (name: string, rights: string, what: string) =>
    `GRANT${on} ${rights} ON ${what} TO ${quoteIdentifier(name)}`;
  const { migrate, ingest } = USERS;
  return [
    user(migrate),
    // verify and rebuild make tables beside the live ones: they run as this user too.
    grant(
      migrate,
      'SELECT, INSERT, CREATE DATABASE, CREATE TABLE, DROP TABLE, ALTER TABLE',
      database,
    ),
    ...enginesOf(layout).map((engine) => grant(migrate, 'TABLE ENGINE', engine)),
    grant(migrate, 'SELECT', 'system.parts'),
    grant(migrate, 'SELECT', 'system.disks'),
    ...(layout.kind === 'cluster' ? [grant(migrate, 'CLUSTER, REMOTE', '*.*')] : []),
    user(ingest),
    grant(ingest, 'SELECT, INSERT', database),
    ...queryUserStatements(
      { ...config, query_user: config.query_user || USERS.query },
      layout,
      true,
    ),
  ];
}
