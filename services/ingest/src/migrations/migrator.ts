import { ClickHouseError, isoTime, quoteIdentifier } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import type { TablesConfig } from './config.js';
import { MigrationError } from './errors.js';
import { loadMigrations } from './files.js';
import type { Migration } from './files.js';
import { onCluster, renderStatement, storageName, storageTable } from './layout.js';
import type { Layout } from './layout.js';
import { queryUserStatements } from './query-user.js';
import { expirySettings, expirySteps } from './expiry.js';
import { presentDays, retainedTables, retentionClause } from './retention.js';
import type { RetainedTable } from './retention.js';
import { BATCH_TABLE_SETTINGS, BATCH_TABLES, settingsClause } from './settings.js';

const RECORDS = 'ingest_schema_migrations';
const FORMER_RETENTION = 'ingest_former_retention';
/** DDL of one statement; ON CLUSTER waits for every node, and names those that are late. */
const STATEMENT_TIMEOUT_MS = 300_000;
const NODES_MARGIN_MS = 60_000;
/** A table that is copied, or whose parts are rewritten, may be large. */
const REWRITE_TIMEOUT_MS = 6 * 3_600_000;
const MIGRATION_SETTINGS = {
  // Rows past a new retention are deleted by other statements, see expiry.ts.
  materialize_ttl_after_modify: 0,
  // A copied table may have any number of partitions.
  max_partitions_per_insert_block: 0,
};
/**
 * UNKNOWN_TABLE, TABLE_IS_DROPPED and TABLE_UUID_MISMATCH: another process has replaced the table. The statement runs
 * again on the new one.
 */
const REPLACED_CODES: readonly (number | null)[] = [60, 218, 741];
/** Several processes may replace it, one after the other. */
const RUNS_MAX = 4;

export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
  readonly layout: string;
  readonly applied_at: string;
}

export interface MigrationStatus {
  readonly version: number;
  readonly name: string;
  readonly state: 'applied' | 'pending' | 'changed' | 'unknown';
  readonly applied_at: string | null;
}

/** The steps that `migrate` will take or has taken, in order. */
export interface MigrationStep {
  /** `0001_sessions`, `retention`, `query user`. */
  readonly of: string;
  /** Empty if there is only a message. */
  readonly sql: string;
  /** The purpose, if the statement does not show it. */
  readonly note?: string;
}

export interface Migrator {
  /** Each known or recorded migration, by version. */
  status(): Promise<MigrationStatus[]>;
  /** The statements that `migrate` would run now, secrets hidden. Changes nothing. */
  plan(): Promise<MigrationStep[]>;
  /**
   * Brings the database to this version and this configuration: new migrations, settings, retention, then
   * the query service's user. Every statement may run twice, by two processes at once or after a
   * crash in the middle, with the same outcome; a test holds each file to that.
   *
   * @returns the steps that ran.
   * @throws MigrationError
   */
  migrate(options?: {
    onStep?: (step: MigrationStep) => void;
    /** Called before a deletion with its extent, or the reason why it waits. */
    onNote?: (note: string) => void;
  }): Promise<MigrationStep[]>;
}

export interface MigratorDeps {
  /** Connected to a database that exists, such as `default`: ours may have to be made first. */
  readonly admin: ClickHouse;
  /** The database that gets the tables. */
  readonly database: string;
  /** Instead of the files of this package. */
  readonly migrations?: readonly Migration[];
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

export function layoutOf(config: TablesConfig, database: string): Layout {
  if (config.cluster === '') return { kind: 'single', database };
  return {
    kind: 'cluster',
    database,
    cluster: config.cluster,
    replicated: config.replicated,
    onCluster: config.ddl === 'on_cluster',
  };
}

export function createMigrator(config: TablesConfig, deps: MigratorDeps): Migrator {
  const { admin } = deps;
  const now = deps.now ?? Date.now;
  const layout = layoutOf(config, deps.database);
  const records = storageTable(layout, RECORDS);

  const appliedRow = z.object({
    version: z.int(),
    name: z.string(),
    checksum: z.string(),
    layout: z.string(),
    applied_at: isoTime,
  });

  async function run(of: string, sql: string, runs = 1): Promise<void> {
    const isRewrite = /^INSERT|\b(MATERIALIZE|DROP INDEX)\b/.test(sql);
    const timeoutMs = isRewrite ? REWRITE_TIMEOUT_MS : STATEMENT_TIMEOUT_MS;
    try {
      await admin.command({
        sql,
        timeoutMs,
        settings: {
          ...MIGRATION_SETTINGS,
          distributed_ddl_task_timeout: (timeoutMs - NODES_MARGIN_MS) / 1_000,
        },
      });
    } catch (cause) {
      const isReplaced =
        cause instanceof ClickHouseError && REPLACED_CODES.includes(cause.serverCode);
      if (isReplaced && runs < RUNS_MAX) return run(of, sql, runs + 1);
      throw new MigrationError('migration_failed', `${of}: ${messageOfServer(cause)}`, {
        cause,
        retryable: cause instanceof ClickHouseError && cause.retryable,
      });
    }
  }

  async function exists(table: string): Promise<boolean> {
    const rows = await admin.query({
      sql: 'SELECT name FROM system.tables WHERE database = {database:String} AND name = {table:String}',
      params: { database: layout.database, table },
      row: z.object({ name: z.string() }),
    });
    return rows.length > 0;
  }

  async function applied(): Promise<AppliedMigration[]> {
    if (!(await exists(storageName(layout, RECORDS)))) return [];
    return admin.query({
      sql: `SELECT version, name, checksum, layout, applied_at FROM ${records} FINAL ORDER BY version`,
      row: appliedRow,
    });
  }

  function bootstrapStatements(): string[] {
    return [
      `CREATE DATABASE IF NOT EXISTS ${quoteIdentifier(layout.database)}${onCluster(layout)}`,
      render(
        `CREATE TABLE IF NOT EXISTS \${table:${RECORDS}}
(
    version    UInt32                 COMMENT 'number of the file',
    name       String                 COMMENT 'name of the file',
    checksum   String                 COMMENT 'SHA-256 of the file as it was applied',
    layout     LowCardinality(String) COMMENT 'single or cluster',
    applied_at DateTime64(3, 'UTC')   COMMENT 'when it was applied; the latest wins'
)
ENGINE = \${engine:ReplacingMergeTree(applied_at)}
ORDER BY version
COMMENT 'Migrations that were applied; read with FINAL'`,
      ),
    ];
  }

  function render(template: string): string {
    const sql = renderStatement(template, layout);
    if (sql === null)
      throw new MigrationError('migration_invalid', `renders to nothing: ${template}`);
    return sql;
  }

  function renderMigration(migration: Migration): MigrationStep[] {
    return migration.statements
      .map((template) => renderStatement(template, layout))
      .filter((sql) => sql !== null)
      .map((sql) => ({ of: fileName(migration), sql }));
  }

  async function known(): Promise<readonly Migration[]> {
    return deps.migrations ?? (await loadMigrations());
  }

  /** The migrations left to apply. */
  async function pending(): Promise<Migration[]> {
    const [files, done] = await Promise.all([known(), applied()]);
    for (const record of done) {
      const file = files.find((migration) => migration.version === record.version);
      if (file === undefined) {
        throw new MigrationError(
          'migration_unknown',
          `the database has migration ${record.version} (${record.name}), which this version does not know: use the newer version`,
        );
      }
      if (file.checksum !== record.checksum) {
        throw new MigrationError(
          'migration_changed',
          `${fileName(file)} was changed after it had been applied; put the change into a new file`,
        );
      }
    }
    return files.filter((file) => done.every((record) => record.version !== file.version));
  }

  /** Returns the present tables by the name under which rows are stored. */
  async function presentTables() {
    const tables = await admin.query({
      sql: 'SELECT name, engine_full, partition_key FROM system.tables WHERE database = {database:String}',
      params: { database: layout.database },
      row: z.object({ name: z.string(), engine_full: z.string(), partition_key: z.string() }),
    });
    return new Map(tables.map((table) => [table.name, table]));
  }

  async function retentionSteps(): Promise<MigrationStep[]> {
    const found = await presentTables();
    const steps: MigrationStep[] = [];
    for (const retained of retainedTables(config.retention)) {
      // Before the first migration there is none: the plan shows the future one.
      const table = found.get(storageName(layout, retained.table));
      steps.push(
        ...(await retentionOf(retained, table?.engine_full ?? '', table?.partition_key ?? '')),
      );
    }
    return steps;
  }

  async function settingsSteps(): Promise<MigrationStep[]> {
    const found = await presentTables();
    return BATCH_TABLES.flatMap((table) => {
      const engine = found.get(storageName(layout, table))?.engine_full;
      const clause = engine === undefined ? null : settingsClause(BATCH_TABLE_SETTINGS, engine);
      if (clause === null) return [];
      const alter = `ALTER TABLE ${storageTable(layout, table)}${onCluster(layout)}`;
      return [{ of: 'settings', sql: `${alter} ${clause}` }];
    });
  }

  async function retentionOf(
    retained: RetainedTable,
    engine: string,
    partitionKey: string,
  ): Promise<MigrationStep[]> {
    const alter = `ALTER TABLE ${storageTable(layout, retained.table)}${onCluster(layout)}`;
    const clause = retentionClause(retained, engine);
    const isThere = engine !== '' && retained.days > 0;
    const settings = isThere ? expirySettings(partitionKey, engine) : null;
    const expiry = await expirySteps(
      retained,
      { partitionKey, isChanged: clause !== null },
      { clickhouse: admin, layout, nowMs: now() },
    );
    return [
      ...(settings === null ? [] : [{ of: 'retention', sql: `${alter} ${settings}` }]),
      ...(clause === null ? [] : rememberRetention(retained.table, engine)),
      ...(clause === null ? [] : [{ of: 'retention', sql: `${alter} ${clause}` }]),
      ...expiry.map((step) => ({ of: 'retention', ...step })),
    ];
  }

  /**
   * Read before the change, because it is unknown afterwards. An hour more, because the change takes its
   * time. Before a first import, nothing can have expired.
   */
  function rememberRetention(table: string, engine: string): MigrationStep[] {
    const days = presentDays(engine);
    if (days === null) return [];
    const sql = `INSERT INTO ${storageTable(layout, FORMER_RETENTION)} (source, days, changed_at) SELECT '${table}', ${days}, now('UTC') + INTERVAL 1 HOUR WHERE (SELECT count() FROM ${storageTable(layout, 'sessions')}) + (SELECT count() FROM ${storageTable(layout, 'rollup_1h')}) > 0`;
    return [{ of: 'retention', sql }];
  }

  async function recordApplied(migration: Migration): Promise<void> {
    const { version, name, checksum } = migration;
    await admin.command({
      sql: `INSERT INTO ${records} (version, name, checksum, layout, applied_at) SELECT {version:UInt32}, {name:String}, {checksum:String}, {layout:String}, now64(3)`,
      params: { version, name, checksum, layout: layout.kind },
      settings: { async_insert: 0 },
    });
  }

  function userSteps(hidden: boolean): MigrationStep[] {
    return queryUserStatements(config, layout, hidden).map((sql) => ({ of: 'query user', sql }));
  }

  return {
    async status() {
      const [files, done] = await Promise.all([known(), applied()]);
      const statuses = files.map((file): MigrationStatus => {
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
        .map(({ version, name, applied_at }) => ({
          version,
          name,
          state: 'unknown' as const,
          applied_at,
        }));
      return [...statuses, ...unknown];
    },
    async plan() {
      const files = await pending();
      return [
        ...((await exists(storageName(layout, RECORDS)))
          ? []
          : bootstrapStatements().map((sql) => ({ of: 'bootstrap', sql }))),
        ...files.flatMap(renderMigration),
        ...(await settingsSteps()),
        ...(await retentionSteps()),
        ...userSteps(true),
      ];
    },
    async migrate(options = {}) {
      const done: MigrationStep[] = [];
      async function step(of: string, sql: string, shown = sql): Promise<void> {
        await run(of, sql);
        done.push({ of, sql: shown });
        options.onStep?.({ of, sql: shown });
      }
      // One after the other: each statement may need those before it.

      for (const sql of bootstrapStatements()) await run('bootstrap', sql);
      for (const migration of await pending()) {
        for (const { of, sql } of renderMigration(migration)) await step(of, sql);
        await recordApplied(migration);
      }
      for (const { of, sql } of await settingsSteps()) await step(of, sql);
      for (const { of, sql, note } of await retentionSteps()) {
        if (note !== undefined) options.onNote?.(note);
        if (sql !== '') await step(of, sql);
      }
      const shown = userSteps(true);
      for (const [index, { of, sql }] of userSteps(false).entries()) {
        await step(of, sql, shown[index]?.sql);
      }
      return done;
    },
  };
}

function fileName(migration: Migration): string {
  return `${String(migration.version).padStart(4, '0')}_${migration.name}`;
}

/** 497: the user lacks a right; 514: the server has no place to store users in. */
const NO_ACCESS_MANAGEMENT: readonly (number | null)[] = [497, 514];

function messageOfServer(cause: unknown): string {
  if (cause instanceof ClickHouseError && NO_ACCESS_MANAGEMENT.includes(cause.serverCode)) {
    return `${cause.message}\nThe user of CLICKHOUSE_USER needs this right. Leave CLICKHOUSE_QUERY_USER empty if the server manages its users elsewhere.`;
  }
  return cause instanceof Error ? cause.message : String(cause);
}
