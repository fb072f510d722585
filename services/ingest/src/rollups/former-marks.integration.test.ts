import { randomBytes } from 'node:crypto';
import { loadConfig } from '@sockscope/runtime';
import { clickhouseConfig, createClickHouse, int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { countedSql } from '@sockscope/schemas/sums';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { tablesConfig } from '../migrations/config.js';
import { loadMigrations } from '../migrations/files.js';
import { createMigrator } from '../migrations/migrator.js';
import {
  createTestTables,
  NOTHING_EXPIRES,
  storeBatch,
  testLogger,
  testRegistry,
} from '../testing/fold-into-tables.js';
import { createBuckets } from './buckets.js';
import { findRollupDifferences } from './compare.js';
import { rollupsConfig } from './config.js';
import { createMarkKeeper } from './marks.js';
import { createRollupMetrics } from './metrics.js';
import { ALL } from './choose.js';
import { createRollups } from './rollups.js';

/** The migration that makes the buckets. Before it hours were marked one by one, and only rows that differed were inserted. */
const BUCKETS = 12;
/** And what adds columns to them. */
const SLICES = 26;
/** Changes the table of the first. */
const EXPIRY = 32;
const HOUR_MS = 3_600_000;
const BASE_MS = Date.parse('2026-03-01T00:00:00.000Z');
const CALL = { timeoutMs: 120_000 };
const SUMS = [
  ['rollup_1h', 'hour'],
  ['rollup_1d', 'day'],
  ['rollup_1w', 'week'],
  ['rollup_pairs_1h', 'detail_hour'],
  ['rollup_pairs_1d', 'detail_day'],
] as const;
const SOURCES = [
  'sessions',
  'sessions_by_user',
  'sessions_by_destination',
  'session_traffic_1m',
  'session_ends',
  'ended_sessions',
  'session_events',
];

let now: Awaited<ReturnType<typeof createTestTables>>;
let former: ClickHouse;
let admin: ClickHouse;

const tables = { ...loadConfig(tablesConfig, {}), retention: NOTHING_EXPIRES };
const rollupsOf = (clickhouse: ClickHouse) =>
  createRollups(loadConfig(rollupsConfig, {}), {
    clickhouse,
    retention: NOTHING_EXPIRES,
    share: () => ALL,
    logger: testLogger,
    metrics: createRollupMetrics(testRegistry()),
  });

beforeEach(async () => {
  now = await createTestTables(inject('clickhouseUrl'));
  const database = `former_${randomBytes(5).toString('hex')}`;
  const config = clickhouseConfig.parse({ url: inject('clickhouseUrl') });
  admin = createClickHouse({ ...config, database: 'default' });
  const migrations = (await loadMigrations()).filter(
    ({ version }) => ![BUCKETS, SLICES, EXPIRY].includes(version),
  );
  await createMigrator(tables, { admin, database, migrations }).migrate();
  former = createClickHouse({ ...config, database });
});

afterEach(async () => {
  await admin.command({ sql: `DROP DATABASE ${former.database} SYNC` });
  await former.close();
  await admin.close();
  await now.drop();
});

async function figuresOf(table: string, where: string): Promise<unknown> {
  return former.query({
    sql: `SELECT count() AS keys, sum(cityHash64(* EXCEPT computed_at)) AS print
      FROM (SELECT * FROM ${table} FINAL WHERE ${where})`,
    row: z.object({ keys: int64, print: z.string() }),
  });
}

describe('the migration from marks of hours', () => {
  it('keeps every sum, sums the marked hours, and refuses marks of the former kind', async () => {
    const random = seededRandom(3);
    const logs = Array.from({ length: 20 }, (_, i) =>
      sessionLog({ random, startMs: BASE_MS + i * 2 * HOUR_MS, closed: true, intervals: 2 }),
    );
    const keeper = createMarkKeeper(
      { open_sessions_max: 100 },
      { clickhouse: now.clickhouse, logger: testLogger },
    );
    await storeBatch(now.clickhouse, logs.flat(), [keeper]);
    await rollupsOf(now.clickhouse).sumAll();
    for (const table of [...SOURCES, ...SUMS.map(([name]) => name)]) {
      await former.command({
        sql: `INSERT INTO ${table} SELECT * FROM ${now.clickhouse.database}.${table}`,
      });
    }
    for (const [table] of SUMS) {
      // The versions of each key differ, and one key is gone: it was replaced by zeros.
      await former.command({
        sql: `INSERT INTO ${table} SELECT * REPLACE (computed_at + INTERVAL cityHash64(*) % 100 SECOND AS computed_at) FROM ${table}`,
      });
    }
    const before = [];
    for (const [table] of SUMS) before.push(await figuresOf(table, 'true'));

    // A session ended again, and its hours were marked and not summed yet; its former end had to be
    // looked up.
    const last = logs[0]?.at(-1);
    if (last?.type !== 'SessionClosed') throw new Error('the log must end');
    const endMs = Date.parse(last.ended_at) + 30 * HOUR_MS;
    const end = new Date(endMs).toISOString();
    const again = { ...last, seq: last.seq + 1, occurred_at: end, ended_at: end } as const;
    const nothing = { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 };
    const ended = {
      ...again,
      interval_start: end,
      interval_end: end,
      delta: nothing,
      minute: nothing,
      duration_ms: endMs - Date.parse(last.started_at),
    };
    await storeBatch(former, [ended], []);
    const mark = 'generateUUIDv4()';
    await former.command({
      sql: `INSERT INTO ingest_dirty_hours (mark_id, hour) SELECT ${mark}, toStartOfHour(toDateTime({end:UInt32}, 'UTC'))`,
      params: { end: Math.floor(endMs / 1_000) },
    });
    await former.command({
      sql: `INSERT INTO ingest_dirty_sessions (mark_id, session_id, started_at) SELECT ${mark}, session_id, started_at
        FROM sessions FINAL WHERE session_id = '${last.session_id}'`,
    });

    const migrator = createMigrator(tables, { admin, database: former.database });
    await migrator.migrate();
    for (const [i, [table, span]] of SUMS.entries()) {
      expect(await figuresOf(table, countedSql(span, 'true')), table).toEqual(before[i]);
    }
    const { buckets } = await createBuckets(former, CALL).dirty();
    const hours = buckets.filter(({ span }) => span === 'hour').map(({ bucket }) => bucket);
    const hourOf = (ms: number) => Math.floor(ms / HOUR_MS) * 3_600;
    expect(new Set(hours)).toEqual(new Set([hourOf(endMs), hourOf(Date.parse(last.ended_at))]));
    await expect(
      former.command({
        sql: `INSERT INTO ingest_dirty_hours (mark_id, hour) SELECT ${mark}, now()`,
      }),
    ).rejects.toThrow(/superseded/);

    await rollupsOf(former).sumAll();
    const all = Array.from({ length: 96 }, (_, i) => BASE_MS / 1_000 + i * 3_600);
    const options = { retention: NOTHING_EXPIRES, timeoutMs: 120_000 };
    expect(await findRollupDifferences(former, all, options)).toEqual([]);
  });
});
