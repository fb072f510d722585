import { ClickHouseError, isoTime, quoteIdentifier } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { MigrationError } from './errors.js';
import { loadMigrations } from './files.js';
import { onCluster, renderStatement, storageName, storageTable } from './layout.js';
import { queryUserStatements } from './query-user.js';
import { retainedTables, retentionClause } from './retention.js';
const RECORDS = 'ingest_schema_migrations';
/** DDL of one statement; ON CLUSTER waits for every node. */
const STATEMENT_TIMEOUT_MS = 300000;
/** An old TTL is not applied anew to the rows that are there: parts are dropped as they expire. */
const DDL_SETTINGS = { materialize_ttl_after_modify: 0, distributed_ddl_task_timeout: 240 };
export function layoutOf(config, database) {
  if (config.cluster === '') return { kind: 'single', database };
  return {
    kind: 'cluster',
    database,
    cluster: config.cluster,
    replicated: config.replicated,
    onCluster: config.ddl === 'on_cluster',
  };
}
export function createMigrator(config, deps) {
  const { clickhouse } = deps;
  const layout = layoutOf(config, clickhouse.database);
  const records = storageTable(layout, RECORDS);
  const appliedRow = z.object({
    version: z.int(),
    name: z.string(),
    checksum: z.string(),
    layout: z.string(),
    applied_at: isoTime,
  });
  async function run(of, sql) {
    try {
      await clickhouse.command({ sql, timeoutMs: STATEMENT_TIMEOUT_MS, settings: DDL_SETTINGS });
    } catch (cause) {
      throw new MigrationError('migration_failed', `${of}: ${messageOfServer(cause)}`, {
        cause,
        retryable: cause instanceof ClickHouseError && cause.retryable,
      });
    }
  }
  async function exists(table) {
    const rows = await clickhouse.query({
      sql: 'SELECT name FROM system.tables WHERE database = {database:String} AND name = {table:String}',
      params: { database: layout.database, table },
      row: z.object({ name: z.string() }),
      settings: { database: 'default' },
    });
    return rows.length > 0;
  }
  async function applied() {
    if (!(await exists(storageName(layout, RECORDS)))) return [];
    return clickhouse.query({
      sql: `SELECT version, name, checksum, layout, applied_at FROM ${records} FINAL ORDER BY version`,
      row: appliedRow,
    });
  }
  function bootstrapStatements() {
    return [
      `CREATE DATABASE IF NOT EXISTS ${quoteIdentifier(layout.database)}${onCluster(layout)} ENGINE = Atomic`,
      render(`CREATE TABLE IF NOT EXISTS \${table:${RECORDS}}
(
    version    UInt32                 COMMENT 'number of the file',
    name       String                 COMMENT 'name of the file',
    checksum   String                 COMMENT 'SHA-256 of the file as it was applied',
    layout     LowCardinality(String) COMMENT 'single or cluster',
    applied_at DateTime64(3, 'UTC')   COMMENT 'when it was applied; the latest wins'
)
ENGINE = \${engine:ReplacingMergeTree(applied_at)}
ORDER BY version
COMMENT 'Migrations that were applied; read with FINAL'`),
    ];
  }
  function render(template) {
    const sql = renderStatement(template, layout);
    if (sql === null)
      throw new MigrationError('migration_invalid', `renders to nothing: ${template}`);
    return sql;
  }
  function renderMigration(migration) {
    return migration.statements
      .map((template) => renderStatement(template, layout))
      .filter((sql) => sql !== null)
      .map((sql) => ({ of: fileName(migration), sql }));
  }
  async function known() {
    return deps.migrations ?? (await loadMigrations());
  }
  /** The migrations left to apply. */
  async function pending() {
    const [files, done] = await Promise.all([known(), applied()]);
    for (const record of done) {
      const file = files.find((migration) => migration.version === record.version);
      if (file === undefined) {
        throw new MigrationError(
          'migration_unknown',
          `the database has migration ${record.version} (${record.name}), which this version does not know: use the newer one`,
        );
      }
      if (file.checksum !== record.checksum) {
        throw new MigrationError(
          'migration_changed',
          `${fileName(file)} was changed after it had been applied; a change belongs into a new file`,
        );
      }
    }
    return files.filter((file) => done.every((record) => record.version !== file.version));
  }
  async function retentionSteps() {
    const tables = await clickhouse.query({
      sql: 'SELECT name, engine_full FROM system.tables WHERE database = {database:String}',
      params: { database: layout.database },
      row: z.object({ name: z.string(), engine_full: z.string() }),
      settings: { database: 'default' },
    });
    const engines = new Map(tables.map((table) => [table.name, table.engine_full]));
    return retainedTables(config.retention).flatMap((retained) => {
      // Before the first migration there is none: the plan shows what will be.
      const engine = engines.get(storageName(layout, retained.table)) ?? '';
      const clause = retentionClause(retained, engine);
      if (clause === null) return [];
      const sql = `ALTER TABLE ${storageTable(layout, retained.table)}${onCluster(layout)} ${clause}`;
      return [{ of: 'retention', sql }];
    });
  }
  async function record(migration) {
    await clickhouse.insert({
      table: storageName(layout, RECORDS),
      columns: ['version', 'name', 'checksum', 'layout', 'applied_at'],
      format: 'JSONCompactEachRow',
      settings: { date_time_input_format: 'best_effort' },
      bytes: [
        Buffer.from(
          JSON.stringify([
            migration.version,
            migration.name,
            migration.checksum,
            layout.kind,
            new Date().toISOString(),
          ]),
        ),
      ],
    });
  }
  function userSteps(hidden) {
    return queryUserStatements(config, layout, hidden).map((sql) => ({ of: 'query user', sql }));
  }
  return {
    async status() {
      const [files, done] = await Promise.all([known(), applied()]);
      const statuses = files.map((file) => {
        const found = done.find((each) => each.version === file.version);
        const state =
          found === undefined
            ? 'pending'
            : found.checksum === file.checksum
              ? 'applied'
              : 'changed';
        const { version, name } = file;
        return { version, name, state, applied_at: found?.applied_at ?? null };
      });
      const unknown = done
        .filter((each) => files.every((file) => file.version !== each.version))
        .map(({ version, name, applied_at }) => ({ version, name, state: 'unknown', applied_at }));
      return [...statuses, ...unknown];
    },
    async plan() {
      const files = await pending();
      return [
        ...((await exists(storageName(layout, RECORDS)))
          ? []
          : bootstrapStatements().map((sql) => ({ of: 'bootstrap', sql }))),
        ...files.flatMap(renderMigration),
        ...(await retentionSteps()),
        ...userSteps(true),
      ];
    },
    async migrate(options = {}) {
      const done = [];
      async function step(of, sql, shown = sql) {
        await run(of, sql);
        done.push({ of, sql: shown });
        options.onStep?.({ of, sql: shown });
      }
      // One after the other: each statement may need those before it.
      /* oxlint-disable no-await-in-loop */
      for (const sql of bootstrapStatements()) await run('bootstrap', sql);
      for (const migration of await pending()) {
        for (const { of, sql } of renderMigration(migration)) await step(of, sql);
        await record(migration);
      }
      for (const { of, sql } of await retentionSteps()) await step(of, sql);
      const shown = userSteps(true);
      for (const [index, { of, sql }] of userSteps(false).entries()) {
        await step(of, sql, shown[index]?.sql);
      }
      /* oxlint-enable no-await-in-loop */
      return done;
    },
  };
}
function fileName(migration) {
  return `${String(migration.version).padStart(4, '0')}_${migration.name}`;
}
/** 497: the user lacks a right, or the server has no access management at all. */
const ACCESS_DENIED = 497;
function messageOfServer(cause) {
  if (cause instanceof ClickHouseError && cause.serverCode === ACCESS_DENIED) {
    return `${cause.message}\nThe user of CLICKHOUSE_USER needs this right. Leave CLICKHOUSE_QUERY_USER empty where the server manages its users elsewhere.`;
  }
  return cause instanceof Error ? cause.message : String(cause);
}
