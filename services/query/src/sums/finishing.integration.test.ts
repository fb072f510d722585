import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { BUCKETS_TABLE, DAY_MS } from '@sockscope/schemas/sums';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { storeRollups } from '../testing/rollups.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';

const FROM_MS = Date.parse('2026-03-15T00:00:00.000Z');
const NOW_MS = FROM_MS + DAY_MS + 20 * 60_000;
const COUNTED = 'toUnixTimestamp64Micro(computed_at) >=';
const TABLES = {
  rollup_1h: 'hour',
  rollup_1d: 'day',
  rollup_pairs_1h: 'detail_hour',
  rollup_pairs_1d: 'detail_day',
  rollup_sketches_1h: 'detail_hour',
  rollup_sketches_1d: 'detail_day',
} as const;

const slept = z.object({ slept: z.number() });

let database: TestDatabase;
let slowed = 0;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 5, sessions: 200, fromMs: FROM_MS, toMs: NOW_MS });
  const world = worldOf(events.filter((event) => Date.parse(event.occurred_at) < NOW_MS));
  await storeBadly(database.clickhouse, world.events, { seed: 6, batches: 2 });
  await storeRollups(database.clickhouse, world, []);
});

afterAll(async () => {
  await database.drop();
});

/** Makes all sums again, under a new version. */
async function finishRounds({ clickhouse }: TestDatabase): Promise<void> {
  for (const [table, span] of Object.entries(TABLES)) {
    await clickhouse.command({
      sql: `INSERT INTO ${table} SELECT * REPLACE (computed_at + toIntervalDay(1) AS computed_at) FROM ${table} FINAL`,
    });
    await clickhouse.command({
      sql: `INSERT INTO ${BUCKETS_TABLE} (span, bucket, writer, finished)
        SELECT '${span}', bucket, generateUUIDv4(), max(computed_at) FROM ${table} GROUP BY bucket`,
    });
  }
}

/** A client whose statements over sums last: rounds finish after the rows are chosen and before finished versions are read. */
function finishing(clickhouse: ClickHouse): ClickHouse {
  return {
    ...clickhouse,
    async queryWithCost(options) {
      if (!options.sql.includes(COUNTED)) return clickhouse.queryWithCost(options);
      const sql = options.sql.replaceAll(COUNTED, `(SELECT sleep(2)) = 0 AND ${COUNTED}`);
      const answer = clickhouse.queryWithCost({ ...options, sql });
      await clickhouse.query({ sql: 'SELECT sleep(0.5) AS slept', row: slept });
      await finishRounds(database);
      slowed += 1;
      return answer;
    },
  };
}

const rangeFrom = (hours: number) => `from=${FROM_MS + hours * 3_600_000}&to=${FROM_MS + DAY_MS}`;

it.each([
  ['by one dimension', `top/users?limit=10&${rangeFrom(0)}`],
  ['by user and destination', `flows?limit=10&${rangeFrom(0)}`],
  ['of whole hours', `top/statuses?limit=10&${rangeFrom(2)}`],
  ['with sketches', `stats?${rangeFrom(1)}`],
  ['for suggestions', 'suggest/user?prefix=user'],
])('sums %s are not empty while a round of theirs finishes', async (_, path) => {
  const url = `/api/v1/${path}`;
  const ask = async (clickhouse: ClickHouse) => {
    const api = await createTestApp(clickhouse, { now: () => NOW_MS });
    const answer = await api.get<Record<string, unknown>>(url);
    await api.close();
    return answer;
  };
  const before = await ask(database.clickhouse);
  slowed = 0;
  expect(await ask(finishing(database.clickhouse))).toEqual(before);
  expect(slowed).toBeGreaterThan(0);
});
