import { randomBytes } from 'node:crypto';
import { loadConfig } from '@sockscope/runtime';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { loadMigrations } from './files.js';
import { createMigrator } from './migrator.js';
import { tablesConfig } from './config.js';
import type { TablesConfig } from './config.js';
import { grantStatements } from './grants.js';
import { queryUserStatements } from './query-user.js';

let admin: ClickHouse;
let database: string;
const defaults = loadConfig(tablesConfig, {});

beforeEach(() => {
  database = `migrate_${randomBytes(5).toString('hex')}`;
  admin = createClickHouse({
    ...clickhouseConfig.parse({ url: inject('clickhouseUrl') }),
    database: 'default',
  });
});

afterEach(async () => {
  await admin.command({ sql: `DROP DATABASE IF EXISTS ${database} SYNC` });
  await admin.close();
});

const migrator = (config: TablesConfig = defaults) => createMigrator(config, { admin, database });

async function schema(): Promise<unknown[]> {
  return admin.query({
    sql: 'SELECT name, create_table_query FROM system.tables WHERE database = {database:String} ORDER BY name',
    params: { database },
    row: z.object({ name: z.string(), create_table_query: z.string() }),
  });
}

async function ttlOf(table: string): Promise<string> {
  const [row] = await admin.query({
    sql: "SELECT extract(engine_full, 'TTL (.+) SETTINGS') AS ttl FROM system.tables WHERE database = {database:String} AND name = {table:String}",
    params: { database, table },
    row: z.object({ ttl: z.string() }),
  });
  return row?.ttl ?? 'no such table';
}

describe('migrate', () => {
  it('makes all tables, and has nothing to do the second time', async () => {
    expect((await migrator().status()).map(({ state }) => state)).toContain('pending');
    expect((await migrator().migrate()).length).toBeGreaterThan(10);
    const before = await schema();
    expect(await migrator().migrate()).toEqual([]);
    expect(await schema()).toEqual(before);
    expect(new Set((await migrator().status()).map(({ state }) => state))).toEqual(
      new Set(['applied']),
    );
  });

  it('makes the same tables when several processes begin at once', async () => {
    await Promise.all([migrator().migrate(), migrator().migrate(), migrator().migrate()]);
    const together = (await schema()).length;
    await admin.command({ sql: `DROP DATABASE ${database} SYNC` });
    await migrator().migrate();
    expect((await schema()).length).toBe(together);
  });

  it('continues where a process died between two statements', async () => {
    const migrations = await loadMigrations();
    const first = migrations[0];
    if (first === undefined) throw new Error('no migrations');
    const cut = { ...first, statements: first.statements.slice(0, 2) };
    const dying = createMigrator(defaults, { admin, database, migrations: [cut] });
    await expect(dying.migrate()).rejects.toMatchObject({ code: 'migration_failed' });
    // A file is recorded after its last statement, which a dead process does not reach.
    await admin.command({ sql: `TRUNCATE TABLE ${database}.ingest_schema_migrations` });
    await migrator().migrate();
    expect(await schema()).not.toEqual([]);
    expect(await migrator().plan()).toEqual([]);
  });

  it('changes nothing in a dry run', async () => {
    const plan = await migrator().plan();
    expect(plan.map(({ of }) => of)).toContain('0001_sessions');
    expect(await schema()).toEqual([]);
  });

  it('brings each table to its retention, later changes included', async () => {
    await migrator().migrate();
    expect(await ttlOf('session_events')).toBe('toDateTime(started_at) + toIntervalDay(30)');
    expect(await ttlOf('sessions_by_user')).toBe('');
    const day = 86_400_000;
    const retention = { ...defaults.retention, sessions: 365 * day, session_events: 0 };
    await migrator({ ...defaults, retention }).migrate();
    expect(await ttlOf('session_events')).toBe('');
    expect(await ttlOf('sessions_by_user')).toBe('toDateTime(started_at) + toIntervalDay(365)');
    expect(await migrator({ ...defaults, retention }).migrate()).toEqual([]);
  });

  it('remembers each retention that there was, and when it was changed', async () => {
    const day = 86_400_000;
    const former = () =>
      admin.query({
        sql: `SELECT source, days, abs(dateDiff('minute', changed_at, now() + INTERVAL 1 HOUR)) < 5 AS is_now
          FROM ${database}.ingest_former_retention FINAL ORDER BY days`,
        row: z.object({ source: z.string(), days: z.int(), is_now: z.int() }),
      });
    const traffic = (days: number) =>
      migrator({
        ...defaults,
        retention: { ...defaults.retention, session_traffic_1m: days * day },
      });
    await traffic(30).migrate();
    await traffic(31).migrate();
    // Nothing was stored under it.
    expect(await former()).toEqual([]);
    await admin.command({ sql: `INSERT INTO ${database}.sessions (started_at) SELECT now64(3)` });
    await traffic(30).migrate();
    expect((await traffic(0).plan()).map(({ of }) => of)).toEqual(['retention', 'retention']);
    await traffic(0).migrate();
    await traffic(90).migrate();
    await traffic(60).migrate();
    expect(await former()).toEqual([
      { source: 'session_traffic_1m', days: 30, is_now: 1 },
      { source: 'session_traffic_1m', days: 31, is_now: 1 },
      { source: 'session_traffic_1m', days: 90, is_now: 1 },
    ]);
  });

  it('deletes rows past a retention that is introduced, lowered, or set again after an import', async () => {
    await migrator().migrate();
    // Made by the version before: parts without any expiry.
    const days = [1, 20, 33, 60, 100, 400];
    for (const table of ['sessions', 'sessions_by_user', 'rollup_pairs_1h']) {
      const time = table === 'rollup_pairs_1h' ? 'bucket' : 'started_at';
      await admin.command({
        sql: `INSERT INTO ${database}.${table} (${time}) SELECT now() - INTERVAL arrayJoin([${days.join(', ')}]) DAY`,
        settings: { max_partitions_per_insert_block: 0 },
      });
    }
    const left = async (table: string) => {
      const [row] = await admin.query({
        sql: `SELECT count() AS rows FROM ${database}.${table} FINAL`,
        row: z.object({ rows: int64 }),
      });
      return row?.rows;
    };
    const keep = (sessionDays: number) => {
      const sessions = sessionDays * 86_400_000;
      return migrator({ ...defaults, retention: { ...defaults.retention, sessions } });
    };
    const plan = await keep(50).plan();
    const told = plan.flatMap(({ note }) => (note === undefined ? [] : [note])).join('\n');
    expect(told).toMatch(/sessions: partition \d{4}-\d\d-\d\d is past its 50 days: 1 rows/);
    expect(await left('sessions')).toBe(days.length);

    await keep(50).migrate();
    await expect.poll(() => left('sessions')).toBe(3);
    await expect.poll(() => left('sessions_by_user')).toBe(3);
    await keep(25).migrate();
    await expect.poll(() => left('sessions')).toBe(2);
    await expect.poll(() => left('sessions_by_user')).toBe(2);
    expect(await keep(25).migrate()).toEqual([]);

    // The import: no retention, old rows, and back.
    await keep(0).migrate();
    await admin.command({
      sql: `INSERT INTO ${database}.sessions_by_user (started_at) SELECT now() - INTERVAL 300 DAY`,
    });
    await keep(25).migrate();
    await expect.poll(() => left('sessions_by_user')).toBe(2);
  });

  it('brings the copies of a database from before into weeks, with every row, also a second time', async () => {
    const migrations = await loadMigrations();
    const at = migrations.findIndex(({ name }) => name === 'weekly_copies');
    const former = migrations.slice(0, at);
    await createMigrator(defaults, { admin, database, migrations: former }).migrate();
    const days = 40;
    await admin.command({
      sql: `INSERT INTO ${database}.sessions (started_at, session_id, user, dest_host)
        SELECT now() - INTERVAL number DAY, generateUUIDv4(), 'user', 'host' FROM numbers(${days})`,
    });
    for (const copy of ['sessions_by_user', 'sessions_by_destination']) {
      // A row that only the copy has goes, because sessions decides.
      await admin.command({ sql: `INSERT INTO ${database}.${copy} (user) VALUES ('nobody')` });
    }
    const copies = () =>
      admin.query({
        sql: `SELECT name, partition_key, total_rows FROM system.tables
          WHERE database = {database:String} AND name IN ('sessions_by_user', 'sessions_by_destination') ORDER BY name`,
        params: { database },
        row: z.object({ name: z.string(), partition_key: z.string(), total_rows: int64 }),
      });
    const weekly = ['sessions_by_destination', 'sessions_by_user'].map((name) => ({
      name,
      partition_key: 'toMonday(started_at)',
      total_rows: days,
    }));
    await migrator().migrate();
    expect(await copies()).toEqual(weekly);
    await admin.command({
      sql: `DELETE FROM ${database}.ingest_schema_migrations WHERE name = 'weekly_copies'`,
      settings: { mutations_sync: 2 },
    });
    await migrator().migrate();
    expect(await copies()).toEqual(weekly);
  });

  it('copies the rows of long sessions of a database from before, also a second time', async () => {
    const migrations = await loadMigrations();
    const at = migrations.findIndex(({ name }) => name === 'long_sessions');
    const before = migrations.slice(0, at);
    await createMigrator(defaults, { admin, database, migrations: before }).migrate();
    await admin.command({
      sql: `INSERT INTO ${database}.sessions (started_at, updated_at, session_id, status, version)
        SELECT toDateTime64('2026-03-01 10:00:00', 3, 'UTC') AS start, start + toIntervalMinute([9, 10, 60][number + 1]), generateUUIDv4(), 'active', number
        FROM numbers(3)`,
    });
    const long = () =>
      admin.query({
        sql: `SELECT version FROM ${database}.long_sessions FINAL ORDER BY version`,
        row: z.object({ version: z.int() }),
      });
    await migrator().migrate();
    expect(await long()).toEqual([{ version: 1 }, { version: 2 }]);
    await admin.command({
      sql: `DELETE FROM ${database}.ingest_schema_migrations WHERE name IN ('long_sessions', 'younger_long_sessions')`,
      settings: { mutations_sync: 2 },
    });
    await migrator().migrate();
    expect(await long()).toEqual([{ version: 1 }, { version: 2 }]);
  });

  it('gives the ends of a database from before their addresses, also after a former version has added rows', async () => {
    const migrations = await loadMigrations();
    const at = migrations.findIndex(({ name }) => name === 'lookups');
    await createMigrator(defaults, {
      admin,
      database,
      migrations: migrations.slice(0, at),
    }).migrate();
    const add = (end: string, more = '') =>
      admin.command({
        sql: `INSERT INTO ${database}.sessions (started_at, session_id, ended_at, status, egress_ip, egress_port, dest_ip, connect_ms, assumed, version)
          SELECT toDateTime64('2026-03-01 10:05:00', 3, 'UTC'), generateUUIDv4(), ${end}, 'closed',
            toIPv6('192.0.2.1'), 40001, toIPv6('198.51.100.1'), 7, 0, 4 ${more}`,
      });
    const formerRow = () =>
      admin.command({
        sql: `INSERT INTO ${database}.ended_sessions (ended_at, started_at, session_id, status, version)
          SELECT ended_at, started_at, session_id, status, version FROM ${database}.sessions
          WHERE ended_at IS NOT NULL AND toStartOfHour(assumeNotNull(ended_at)) != toStartOfHour(started_at)`,
      });
    const ends = () =>
      admin.query({
        sql: `SELECT egress_port AS port, count() AS ends,
            countIf(toString(egress_ip) = '::ffff:192.0.2.1' AND toString(dest_ip) = '::ffff:198.51.100.1' AND connect_ms = 7) AS known
          FROM ${database}.ended_sessions FINAL GROUP BY port ORDER BY port`,
        row: z.object({ port: z.int(), ends: int64, known: int64 }),
      });
    await add(`toDateTime64('2026-03-01 10:25:00', 3, 'UTC')`);
    await add('NULL');
    await add(`toDateTime64('2026-03-01 11:25:00', 3, 'UTC')`, 'FROM numbers(3)');
    await formerRow();
    await migrator().migrate();
    const known = { port: 40001, ends: 3, known: 3 };
    expect(await ends()).toEqual([known]);

    await add(`toDateTime64('2026-03-01 12:25:00', 3, 'UTC')`);
    await admin.command({
      sql: `INSERT INTO ${database}.ended_sessions (ended_at, started_at, session_id, status, version)
        SELECT assumeNotNull(ended_at), started_at, session_id, status, version FROM ${database}.sessions
        WHERE ended_at > toDateTime64('2026-03-01 12:00:00', 3, 'UTC')`,
    });
    expect(await ends()).toEqual([{ port: 0, ends: 1, known: 0 }, known]);
    await admin.command({
      sql: `DELETE FROM ${database}.ingest_schema_migrations WHERE name = 'lookups'`,
      settings: { mutations_sync: 2 },
    });
    await migrator().migrate();
    expect(await ends()).toEqual([{ ...known, ends: 4, known: 4 }]);
  });

  it('refuses to skip a file that was changed after it had been applied', async () => {
    await migrator().migrate();
    const migrations = (await loadMigrations()).map((each) => ({ ...each, checksum: 'other' }));
    const changed = createMigrator(defaults, { admin, database, migrations });
    await expect(changed.migrate()).rejects.toMatchObject({ code: 'migration_changed' });
    expect((await changed.status())[0]?.state).toBe('changed');
  });

  it('refuses to work on the tables of a newer version', async () => {
    await migrator().migrate();
    const migrations = (await loadMigrations()).slice(0, -1);
    const older = createMigrator(defaults, { admin, database, migrations });
    await expect(older.migrate()).rejects.toMatchObject({ code: 'migration_unknown' });
    expect((await older.status()).at(-1)?.state).toBe('unknown');
  });

  it('creates the reader with statements that the server understands, or explains why it cannot', async () => {
    const config = { ...defaults, query_user: 'reader', query_password: 'secret' };
    const layout = { kind: 'single', database } as const;
    for (const sql of queryUserStatements(config, layout, false)) {
      await expect(admin.command({ sql: `EXPLAIN AST ${sql}` })).resolves.toBeUndefined();
    }
    // The server of the tests has its users in a file.
    await expect(migrator(config).migrate()).rejects.toThrow(/Leave CLICKHOUSE_QUERY_USER empty/);
  });

  it('the plan of grants is made of statements that the server understands', async () => {
    const layout = { kind: 'single', database } as const;
    const statements = grantStatements(defaults, layout);
    expect(statements.join('\n')).toContain(`GRANT SELECT, INSERT ON \`${database}\`.* TO`);
    for (const sql of statements) {
      const parsed = `EXPLAIN AST ${sql.replace('***', 'A'.repeat(64))}`;
      await expect(admin.command({ sql: parsed })).resolves.toBeUndefined();
    }
  });

  it('hides the password of the user that it makes', async () => {
    const config = { ...defaults, query_user: 'reader', query_password: 'secret' };
    const plan = JSON.stringify(await migrator(config).plan());
    expect(plan).toContain('CREATE USER IF NOT EXISTS `reader`');
    expect(plan).not.toContain('secret');
    expect(plan).toContain('***');
  });
});
