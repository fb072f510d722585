import '@sockscope/runtime/testing';
import type {
  ActiveSessionsPage,
  Lookup,
  SessionsAtPage,
  SessionsPage,
  Stats,
} from '@sockscope/schemas/api';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertBatch } from '../testing/load.js';
import { makeEvents } from '../testing/world.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
/** Ended sessions of another day: a search for open ones there reads them. */
const MANY = 100_000;
const DEST = '198.51.100.7';

let database: TestDatabase;
let api: TestApp;

/** The last digit of the ids of sessions, newest first. */
type Digits = readonly number[];
const digitsOf = (items: readonly { readonly session_id?: string | undefined }[]): Digits =>
  items.map((item) => Number(item.session_id?.slice(-1)));

/** A row of a session that began so long ago, heard of until now. */
async function add(
  digit: number,
  agoMs: number,
  where: 'everywhere' | 'not in long_sessions',
  status: 'active' | 'closed' = 'active',
): Promise<void> {
  const at = (ms: number) => `fromUnixTimestamp64Milli(${ms}, 'UTC')`;
  const endMs = NOW_MS - 10 * 60_000;
  // The time of an id is the start of its session.
  const time = (NOW_MS - agoMs).toString(16).padStart(12, '0');
  const id = `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-00000000000${digit}`;
  const tables = ['sessions', 'sessions_by_user', 'sessions_by_destination'];
  for (const table of where === 'everywhere' ? [...tables, 'long_sessions'] : tables) {
    await database.clickhouse.command({
      sql: `INSERT INTO ${table} SELECT * REPLACE (
          toUUID('${id}') AS session_id, 'long' AS user,
          toIPv6('::ffff:${DEST}') AS dest_ip, ${at(NOW_MS - agoMs)} AS started_at, ${at(endMs)} AS updated_at,
          '${status}' AS status, ${status === 'active' ? 'NULL' : at(endMs)} AS ended_at,
          ${status === 'active' ? 1 : 2} AS version)
        FROM (SELECT * FROM sessions WHERE user = 'model' LIMIT 1)`,
    });
  }
}

/** Sessions that were open hours ago, by a lookup. */
async function openHoursAgo(): Promise<Digits> {
  const time = new Date(NOW_MS - 2 * HOUR_MS).toISOString();
  return digitsOf((await api.get<Lookup>(`/api/v1/lookup?dest_ip=${DEST}&time=${time}`)).items);
}

/** Which sessions are open, by each question that names them. */
async function open(): Promise<Readonly<Record<string, Digits | number>>> {
  const atMs = NOW_MS - 1_000;
  const at = new Date(atMs).toISOString();
  const get = <T>(path: string) => api.get<T>(`/api/v1/${path}`);
  const whole = `user=long&from=${new Date(NOW_MS - 2 * HOUR_MS).toISOString()}&to=${at}`;
  return {
    active: digitsOf((await get<ActiveSessionsPage>('sessions/active?user=long')).items),
    total: (await get<ActiveSessionsPage>('sessions/active?user=long&limit=1')).total,
    at: digitsOf((await get<SessionsAtPage>(`sessions?at=${at}&user=long`)).items),
    in: digitsOf((await get<SessionsPage>(`sessions?in=open&${whole}&status=active`)).items),
    stats: (await get<Stats>(`stats?${whole}`)).sessions_open,
    lookup: digitsOf((await get<Lookup>(`lookup?dest_ip=${DEST}&time=${at}`)).items),
  };
}

const everywhere = (digits: Digits) => ({
  active: digits,
  total: digits.length,
  at: digits,
  in: digits,
  stats: digits.length,
  lookup: digits,
});

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const fromMs = NOW_MS - 10 * DAY_MS;
  const events = makeEvents({ seed: 5, sessions: 30, fromMs, toMs: fromMs + 1_000 });
  const model = events.find((event) => event.type === 'SessionClosed');
  if (model === undefined) throw new TypeError('the world has a session that ended');
  await insertBatch(database.clickhouse, [{ ...model, user: 'model' }]);
  await database.clickhouse.command({
    sql: `INSERT INTO sessions SELECT * EXCEPT number REPLACE (
        generateUUIDv7(number) AS session_id,
        fromUnixTimestamp64Milli(${NOW_MS - 3 * DAY_MS} + number * 500, 'UTC') AS started_at)
      FROM (SELECT * FROM sessions WHERE user = 'model' LIMIT 1) AS s CROSS JOIN numbers(${MANY}) AS n`,
  });
  await add(1, 3 * DAY_MS - HOUR_MS, 'everywhere');
  await add(2, 30 * 60_000, 'not in long_sessions');
});

afterAll(async () => {
  await database.drop();
});

describe('open sessions', () => {
  it('that began days ago are found without their days being read', async () => {
    api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    expect(await open()).toEqual(everywhere([2, 1]));
    expect(await openHoursAgo()).toEqual([1]);
    const before = await api.rowsRead();
    await api.get('/api/v1/sessions/active');
    // The day's granule of the open session has 2,048 rows.
    expect((await api.rowsRead()) - before).toBeLessThan(1_000);
    await api.close();
  });

  it('that long_sessions lacks are open, and those that only it has as open are not', async () => {
    await add(3, 2 * DAY_MS, 'not in long_sessions');
    await add(4, 4 * DAY_MS, 'everywhere');
    await add(4, 4 * DAY_MS, 'not in long_sessions', 'closed');
    api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    expect(await open()).toEqual(everywhere([2, 3, 1]));
    expect(await openHoursAgo()).toEqual([3, 1, 4]);
    await api.close();
  });

  it('have the counters of sessions, if those of long_sessions are much older', async () => {
    await database.clickhouse.command({
      sql: `INSERT INTO long_sessions SELECT * REPLACE (updated_at - toIntervalMinute(30) AS updated_at,
          toUInt64(1) AS bytes_sent, 99 AS version) FROM long_sessions WHERE user = 'long'`,
    });
    api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    const { items } = await api.get<ActiveSessionsPage>('/api/v1/sessions/active?user=long');
    expect(new Set(items.map((item) => item.bytes_sent)).size).toBe(1);
    await api.close();
  });
});

describe('the first page of all sessions', () => {
  it('looks through a minute of a busy proxy, not through an hour', async () => {
    api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    const to = NOW_MS - 3 * DAY_MS + 10 * HOUR_MS;
    // A process reads what it remembers with its first question.
    await api.get('/api/v1/sessions?limit=1&user=nobody');
    const before = await api.rowsRead();
    const { items } = await api.get<SessionsPage>(`/api/v1/sessions?limit=50&to=${to}`);
    expect(items).toHaveLength(50);
    // A minute has 120 sessions and an hour 7,200; a granule has 2,048 rows.
    expect((await api.rowsRead()) - before).toBeLessThan(7_200);
    await api.close();
  });
});
