import { describe, expect, it } from 'vitest';
import { loadMigrations, splitStatements } from './files.js';
import { renderStatement } from './layout.js';
import type { Layout } from './layout.js';

const SINGLE: Layout = { kind: 'single', database: 'sockscope' };
const CLUSTER: Layout = {
  kind: 'cluster',
  database: 'sockscope',
  cluster: 'main',
  replicated: true,
  onCluster: true,
};

async function rendered(layout: Layout): Promise<string[]> {
  const migrations = await loadMigrations();
  return migrations
    .flatMap(({ statements }) => statements)
    .map((statement) => renderStatement(statement, layout))
    .filter((sql) => sql !== null);
}

function tablesOf(statements: readonly string[]): string[] {
  return statements
    .map((sql) => /^CREATE TABLE IF NOT EXISTS `sockscope`\.`(\w+)`/.exec(sql)?.[1])
    .filter((name) => name !== undefined);
}

describe('migrations', () => {
  // In ingest_rollup_buckets every number is a maximum, and the others replace: the same rows twice change nothing.
  it('may all be run twice', async () => {
    for (const sql of await rendered(SINGLE)) {
      expect(sql).toMatch(
        /^(CREATE TABLE IF NOT EXISTS |CREATE OR REPLACE TABLE |ALTER TABLE \S+\s+(ADD (INDEX|COLUMN|CONSTRAINT|PROJECTION) IF NOT EXISTS|MATERIALIZE (INDEX|PROJECTION)|MODIFY (COLUMN|SETTING|TTL|COMMENT)) |INSERT INTO \S+`(ingest_rollup_buckets|session_ends|ended_sessions|long_sessions|sessions_by_user|sessions_by_destination)` )/,
      );
    }
  });

  it('describe every column', async () => {
    const columns = (await rendered(SINGLE))
      .filter((sql) => sql.includes('\n('))
      .flatMap((sql) => (/\n\(\n([\s\S]*?)\n\)\n/.exec(sql)?.[1] ?? '').split('\n'))
      .filter((line) => !line.startsWith('    INDEX '));
    expect(columns.length).toBeGreaterThan(100);
    for (const column of columns) expect(column).toMatch(/ COMMENT '[^']+/);
  });

  it('make the same tables on a cluster as on one node, under Distributed tables with the same names', async () => {
    const names = tablesOf(await rendered(SINGLE));
    const onCluster = tablesOf(await rendered(CLUSTER));
    expect(onCluster.toSorted()).toEqual(
      [...names, ...names.map((name) => `${name}_local`)].toSorted(),
    );
  });

  it('send every statement to every node, with engines that replicate', async () => {
    for (const sql of await rendered(CLUSTER)) {
      // Rows are inserted through the Distributed table, once.
      if (sql.startsWith('INSERT')) {
        expect(sql).not.toContain('_local`');
        continue;
      }
      expect(sql.split('\n')[0]).toContain(" ON CLUSTER 'main'");
      if (sql.startsWith('CREATE')) {
        expect(sql).toMatch(
          /ENGINE = (Distributed\('main', 'sockscope', '\w+_local', .+\)|Replicated\w*MergeTree\('\/clickhouse\/tables\/\{shard\}\/\{database\}\/\{table\}', '\{replica\}')/,
        );
      }
    }
  });

  it('keep a session on one shard', async () => {
    const statements = (await rendered(CLUSTER)).filter((sql) =>
      sql.includes('ENGINE = Distributed'),
    );
    for (const table of [
      'sessions',
      'sessions_by_user',
      'sessions_by_destination',
      'session_traffic_1m',
      'session_events',
    ]) {
      expect(statements.find((sql) => sql.includes(`\`${table}\` `))).toContain(
        'cityHash64(session_id))',
      );
    }
  });
});

describe('renderStatement', () => {
  it('leaves replication and Distributed tables out on one node', () => {
    expect(renderStatement('${distributed:t:cityHash64(id)}', SINGLE)).toBeNull();
    const template =
      'CREATE TABLE IF NOT EXISTS ${table:t} (v UInt8) ENGINE = ${engine:ReplacingMergeTree(v)}';
    expect(renderStatement(template, SINGLE)).toBe(
      'CREATE TABLE IF NOT EXISTS `sockscope`.`t` (v UInt8) ENGINE = ReplacingMergeTree(v)',
    );
    expect(renderStatement(template, { ...CLUSTER, replicated: false, onCluster: false })).toBe(
      'CREATE TABLE IF NOT EXISTS `sockscope`.`t_local` (v UInt8) ENGINE = ReplacingMergeTree(v)',
    );
  });

  it('refuses a placeholder that it does not know', () => {
    expect(() => renderStatement('DROP TABLE ${tabel:t}', SINGLE)).toThrow(/unknown placeholder/);
  });
});

describe('splitStatements', () => {
  it('drops comments, and keeps a semicolon within a line', () => {
    expect(splitStatements("-- a;\nSELECT 'x;y'\n  , 1;\n\n-- b\nSELECT 2;\n")).toEqual([
      "SELECT 'x;y'\n  , 1",
      'SELECT 2',
    ]);
  });
});
