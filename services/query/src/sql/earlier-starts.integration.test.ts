import '@sockscope/runtime/testing';
import type { ActiveSessionsPage, Traffic } from '@sockscope/schemas/api';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertBatch } from '../testing/load.js';
import { makeEvents } from '../testing/world.js';

const DAY_MS = 86_400_000;
const DAY = '2026-03-12';
const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
/** Sessions of one second each, spread over the day. */
const MANY = 200_000;
/** Several statements, each over an hour or two of the day. */
const FEW = 120_000;

let database: TestDatabase;
let api: TestApp;

/** Adds copies of a session that has ended. `{n}` stands for the number of the copy. */
async function addSessions(count: number, replace: string): Promise<void> {
  await database.clickhouse.command({
    sql: `INSERT INTO sessions SELECT * EXCEPT number REPLACE (
        generateUUIDv7(number) AS session_id, ${replace})
      FROM (SELECT * FROM sessions WHERE status = 'closed' LIMIT 1) AS s
      CROSS JOIN numbers(${count}) AS n`,
  });
}

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const fromMs = Date.parse(DAY) - DAY_MS;
  await insertBatch(
    database.clickhouse,
    makeEvents({ seed: 5, sessions: 30, fromMs, toMs: fromMs + 1_000 }).filter((event, _i, all) =>
      all.some((end) => end.session_id === event.session_id && end.type === 'SessionClosed'),
    ),
  );
  const startMs = `toUnixTimestamp64Milli(toDateTime64('${DAY}', 3, 'UTC'))`;
  await addSessions(
    MANY,
    `fromUnixTimestamp64Milli(${startMs} + intDiv(number * ${DAY_MS}, ${MANY}), 'UTC') AS started_at,
      fromUnixTimestamp64Milli(${startMs} + intDiv(number * ${DAY_MS}, ${MANY}) + 1000, 'UTC') AS ended_at`,
  );
  // A part of two late rows whose keys span the whole day.
  await addSessions(
    2,
    `fromUnixTimestamp64Milli(${startMs} + number * ${DAY_MS - 1}, 'UTC') AS started_at,
      NULL AS ended_at, NULL AS duration_ms, NULL AS close_reason, 'active' AS status`,
  );
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

describe('a day of many sessions with late rows of open ones', () => {
  it.each([
    'sessions/active',
    `sessions?at=${DAY}T12:00:00Z`,
    `sessions?in=open&from=${DAY}T12:00:00Z&to=${DAY}T12:10:00Z`,
    `sessions?in=ended&from=${DAY}T12:00:00Z&to=${DAY}T12:10:00Z`,
    `stats?from=${DAY}T12:30:00Z&to=${DAY}T12:40:00Z&status=closed`,
    `traffic?from=${DAY}T12:30:00Z&to=${DAY}T12:40:00Z&status=failed`,
  ])('is not read for %s', async (path) => {
    const before = await api.rowsRead();
    await api.get(`/api/v1/${path}`);
    expect((await api.rowsRead()) - before).toBeLessThan(FEW);
  });

  it('does not count a session as open that begins at the end of a series', async () => {
    const { series } = await api.get<Traffic>(
      `/api/v1/traffic?from=${DAY}T11:00:00Z&to=${DAY}T12:00:00Z&status=closed`,
    );
    // One begins every 432 ms, one of them at 12:00, and lives for a second.
    expect(series[0]?.sessions_open?.at(-1)).toBe(2);
  });

  it('has exactly its open ones in the list', async () => {
    const { items } = await api.get<ActiveSessionsPage>('/api/v1/sessions/active');
    expect(items.map((item) => item.started_at)).toEqual([
      `${DAY}T23:59:59.999Z`,
      `${DAY}T00:00:00.000Z`,
    ]);
  });
});
