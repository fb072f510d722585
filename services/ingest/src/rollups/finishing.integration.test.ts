import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { BUCKETS_TABLE } from '@sockscope/schemas/sums';
import '@sockscope/runtime/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestTables, NOTHING_EXPIRES } from '../testing/fold-into-tables.js';
import { findRollupDifferences } from './compare.js';
import { weekOfS } from './expiry.js';
import { insertSketches, insertSums, TARGETS, WHOLE } from './sql.js';
import { runStatement } from './statement.js';

const HOUR_S = Date.parse('2026-03-15T10:00:00.000Z') / 1_000;
const DAY_S = Date.parse('2026-03-15T00:00:00.000Z') / 1_000;
const SESSIONS = 7;
const FIRST = '2026-03-16 00:00:00.000000';
const SECOND = '2026-03-16 00:00:01.000000';
const OWN = '2026-03-16 00:00:02.000000';
const COUNTED = 'toUnixTimestamp64Micro(computed_at) >=';
const LIMITS = { threads: 1, statement_ms: 30_000, memory_bytes: 2 ** 30, priority: 1, nice: 0 };
const NOTHING = { sessions: false, traffic: false };
const ALL = { sessions: true, traffic: true };

let tables: Awaited<ReturnType<typeof createTestTables>>;
let clickhouse: ClickHouse;

beforeEach(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
  clickhouse = tables.clickhouse;
});

afterEach(async () => {
  await tables.drop();
});

/** A whole round of the hour. */
async function finishHour(version: string): Promise<void> {
  const hour = `toDateTime(${HOUR_S}, 'UTC')`;
  const insert = (columns: string, select: string) =>
    clickhouse.command({ sql: `INSERT INTO ${columns} SELECT ${hour}, ${select}, '${version}'` });
  await insert(
    'rollup_1h (bucket, dimension, key, sessions_started, computed_at)',
    `'total', '', ${SESSIONS}`,
  );
  await insert(
    'rollup_pairs_1h (bucket, user, dest_host, dest_port, sessions_started, computed_at)',
    `'someone', 'host.example', 443, ${SESSIONS}`,
  );
  await insert('rollup_sketches_1h (bucket, sessions, computed_at)', `${SESSIONS}`);
  await clickhouse.command({
    sql: `INSERT INTO ${BUCKETS_TABLE} (span, bucket, writer, finished)
      SELECT arrayJoin(['hour', 'detail_hour']), ${hour}, generateUUIDv4(), '${version}'`,
  });
}

describe('the statement of a round', () => {
  it.each([
    ['a day', 'rollup_1d', 'sessions_started', insertSums(TARGETS.day, WHOLE, NOTHING)],
    [
      'a day of pairs',
      'rollup_pairs_1d',
      'sessions_started',
      insertSums(TARGETS.detail_day, WHOLE, NOTHING),
    ],
    ['a day of sketches', 'rollup_sketches_1d', 'sessions', insertSketches('detail_day', NOTHING)],
    ['an expired hour', 'rollup_1h', 'sessions_started', insertSums(TARGETS.hour, WHOLE, ALL)],
    [
      'an expired hour of pairs',
      'rollup_pairs_1h',
      'sessions_started',
      insertSums(TARGETS.detail_hour, WHOLE, ALL),
    ],
    [
      'sketches of an expired hour',
      'rollup_sketches_1h',
      'sessions',
      insertSketches('detail_hour', ALL),
    ],
  ])(
    'for %s lacks nothing if another round of what it reads finishes meanwhile',
    async (_, table, figure, sql) => {
      await finishHour(FIRST);
      const start = table.endsWith('1h') ? HOUR_S : DAY_S;
      // The other round comes after the rows are chosen and before finished versions are read.
      const slow = sql.replaceAll(COUNTED, `(SELECT sleep(2)) = 0 AND ${COUNTED}`);
      expect(slow).not.toBe(sql);
      const params = {
        buckets: [start],
        from: start,
        to: start + (start === HOUR_S ? 3_600 : 86_400),
        version: OWN,
      };
      const round = runStatement(
        clickhouse,
        { name: 'sum', sql: slow, params },
        LIMITS,
        AbortSignal.timeout(60_000),
      );
      await clickhouse.query({
        sql: 'SELECT sleep(0.5) AS slept',
        row: z.object({ slept: z.number() }),
      });
      await finishHour(SECOND);
      await round;
      const rows = await clickhouse.query({
        sql: `SELECT sum(${figure}) AS sum FROM ${table} FINAL WHERE computed_at = '${OWN}'`,
        row: z.object({ sum: int64 }),
      });
      expect(rows).toEqual([{ sum: SESSIONS }]);
    },
  );
});

it('a comparison finds no difference if a round of what it reads finishes meanwhile', async () => {
  await finishHour(FIRST);
  const day = `toDateTime(${DAY_S}, 'UTC')`;
  await clickhouse.command({
    sql: `INSERT INTO rollup_1d (bucket, dimension, key, sessions_started, computed_at)
      SELECT ${day}, 'total', '', ${SESSIONS}, '${FIRST}'`,
  });
  let slowed = 0;
  const slow: ClickHouse = {
    ...clickhouse,
    async query(options) {
      if (!options.sql.includes(COUNTED)) return clickhouse.query(options);
      slowed += 1;
      const sql = options.sql.replaceAll(COUNTED, `(SELECT sleep(2)) = 0 AND ${COUNTED}`);
      const answer = clickhouse.query({ ...options, sql });
      await clickhouse.query({
        sql: 'SELECT sleep(0.5) AS slept',
        row: z.object({ slept: z.number() }),
      });
      await finishHour(SECOND);
      return answer;
    },
  };
  // Only the day is compared.
  const dirty = new Set([
    `hour ${HOUR_S}`,
    `detail_hour ${HOUR_S}`,
    `detail_day ${DAY_S}`,
    `week ${weekOfS(DAY_S)}`,
  ]);
  const options = { retention: NOTHING_EXPIRES, dirty, timeoutMs: 60_000 };
  expect(await findRollupDifferences(slow, [HOUR_S], options)).toEqual([]);
  expect(slowed).toBe(1);
});
