import '@sockscope/runtime/testing';
import type { Lookup } from '@sockscope/schemas/api';
import { ENDED_ADDRESS_FIELDS, ENDED_FIELDS } from '@sockscope/schemas/sums';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { EGRESS_UNRECORDED_SQL, FAR_PORT_SQL } from '../../sql/earlier-starts.js';
import { createTestApp } from '../../testing/app.js';
import type { TestApp } from '../../testing/app.js';
import { createTestDatabase } from '../../testing/database.js';
import type { TestDatabase } from '../../testing/database.js';
import { insertBatch } from '../../testing/load.js';
import { makeEvents } from '../../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const STARTED = '2026-03-12T08:15:00.000Z';
/** Before the days that are looked through without a time. */
const LONG_AGO = '2026-01-20T08:15:00.000Z';
const ENDED = '2026-03-12T12:45:00.000Z';
/** Hours after the start and before the end. */
const AT = '2026-03-12T10:30:00Z';
const DAY_MS = 86_400_000;
/** Short sessions that all reached one address, the newest of them days after the long ones. */
const MANY = 20_000;
const POPULAR = '198.51.100.99';
/** Sessions of one moment whose egress is not recorded: more than keys are read at once. */
const BARE = 1_500;
const BARE_AT = '2026-03-11T08:15:00.000Z';

/** How the end of a long session is stored, and the last octet of the addresses of that session. */
const STORED = [
  { end: 'by this version', octet: 1, columns: ENDED_FIELDS },
  {
    end: 'by a former version, without addresses',
    octet: 2,
    columns: ENDED_FIELDS.filter((name) => !ENDED_ADDRESS_FIELDS.some((each) => each === name)),
  },
] as const;

let database: TestDatabase;
let api: TestApp;

/** Adds copies of a session that has ended. */
async function add(replace: string, rows = 1): Promise<void> {
  for (const table of ['sessions', 'sessions_by_user', 'sessions_by_destination']) {
    await database.clickhouse.command({
      sql: `INSERT INTO ${table} SELECT * EXCEPT number REPLACE (${replace})
        FROM (SELECT * FROM sessions FINAL WHERE user = 'model') AS s CROSS JOIN numbers(${rows}) AS n`,
    });
  }
}

const time = (text: string) => `toDateTime64('${text.slice(0, -1)}', 3, 'UTC')`;
const ip = (text: string) => `toNullable(toIPv6('${text}'))`;
/** The same id in each of the tables. */
const id = (n: number | string) =>
  `toUUID(concat('01900000-0000-7000-8000-', leftPad(toString(${n}), 12, '0'))) AS session_id`;

async function long(
  octet: number,
  names: readonly string[],
  more: string,
  started = STARTED,
): Promise<void> {
  await add(`${id(octet)}, 'long' AS user, ${time(started)} AS started_at, ${time(ENDED)} AS ended_at,
    'closed' AS status, ${ip(`198.51.100.${octet}`)} AS dest_ip, ${more}`);
  const columns = ['ended_at', 'version', ...names].join(', ');
  await database.clickhouse.command({
    sql: `INSERT INTO ended_sessions (${columns}) SELECT ${columns} FROM sessions
      WHERE user = 'long' AND session_id = {id:UUID}`,
    params: { id: `01900000-0000-7000-8000-00000000000${octet}` },
  });
}

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const fromMs = Date.parse('2026-03-01');
  const events = makeEvents({ seed: 5, sessions: 30, fromMs, toMs: fromMs + 1_000 });
  const model = events.find((event) => event.type === 'SessionClosed');
  if (model === undefined) throw new TypeError('the world has a session that ended');
  await insertBatch(database.clickhouse, [{ ...model, user: 'model' }]);
  for (const { octet, columns } of STORED) {
    const egress = `${ip(`192.0.2.${octet}`)} AS egress_ip, 40001 AS egress_port`;
    await long(octet, columns, egress);
    await long(octet + 2, columns, 'NULL AS egress_ip, NULL AS egress_port, 5 AS connect_ms');
    await long(octet + 4, columns, egress, LONG_AGO);
  }
  const startMs = NOW_MS - 2 * DAY_MS;
  await add(
    `${id('1000 + number')}, 'short' AS user, 'closed' AS status, 443 + number % 2 AS dest_port,
      fromUnixTimestamp64Milli(${startMs} + number * 1000, 'UTC') AS started_at,
      fromUnixTimestamp64Milli(${startMs} + number * 1000 + 10, 'UTC') AS ended_at,
      ${ip(POPULAR)} AS dest_ip, ${ip('192.0.2.77')} AS egress_ip, toUInt16(20000 + intDiv(number, 4)) AS egress_port`,
    MANY,
  );
  await add(
    `${id('100000 + number')}, 'bare' AS user, 'closed' AS status, 5 AS connect_ms, ${time(BARE_AT)} AS started_at,
      ${time(BARE_AT)} AS ended_at, NULL AS egress_ip, NULL AS egress_port`,
    BARE,
  );
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

const lookup = (asked: string) => api.get<Lookup>(`/api/v1/lookup?${asked}`);
const octetsOf = ({ items }: Lookup) => items.map((item) => Number(item.session_id.slice(-1)));

describe.each(STORED)('a long session whose end was stored $end', ({ octet }) => {
  it.each([`egress_ip=192.0.2.${octet}`, `egress_ip=192.0.2.${octet}&egress_port=40001`])(
    'is found by %s at a time between its hours, and without a time',
    async (asked) => {
      expect(octetsOf(await lookup(`${asked}&time=${AT}`))).toEqual([octet, octet + 4]);
      expect(octetsOf(await lookup(asked))).toEqual([octet, octet + 4]);
      expect(octetsOf(await lookup(`${asked}&dest_ip=198.51.100.${octet}&time=${AT}`))).toEqual([
        octet,
      ]);
      expect(octetsOf(await lookup(`${asked}&dest_ip=198.51.100.${octet + 4}`))).toEqual([
        octet + 4,
      ]);
      expect(octetsOf(await lookup(`${asked}&time=2026-03-12T13:30:00Z`))).toEqual([]);
    },
  );

  it('is found by its destination, without another address', async () => {
    expect(octetsOf(await lookup(`dest_ip=198.51.100.${octet}&time=${AT}`))).toEqual([octet]);
    expect(octetsOf(await lookup(`dest_ip=198.51.100.${octet}`))).toEqual([octet]);
    expect(octetsOf(await lookup(`dest_ip=198.51.100.${octet}&dest_port=1`))).toEqual([]);
  });

  it('is counted if its egress is not recorded', async () => {
    const asked = `dest_ip=198.51.100.${octet + 2}&egress_ip=192.0.2.200&time=${AT}`;
    expect((await lookup(asked)).completeness.egress_unrecorded).toBe(1);
  });
});

describe('with a time, more sessions than keys are read at once', () => {
  it('are counted if their egress is not recorded', async () => {
    const { completeness } = await lookup(`egress_ip=192.0.2.1&egress_port=40001&time=${BARE_AT}`);
    expect(completeness.egress_unrecorded).toBe(BARE);
  });

  it('are found, the closest first', async () => {
    const at = 1_000 + MANY / 2;
    const atTime = new Date(NOW_MS - 2 * DAY_MS + (MANY / 2) * 1_000).toISOString();
    const { items, truncated } = await lookup(
      `dest_ip=${POPULAR}&time=${atTime}&skew=1800&limit=5`,
    );
    expect(truncated).toBe(true);
    expect(items.map(({ session_id }) => Number(session_id.slice(-6)))).toEqual([
      at,
      at - 1,
      at + 1,
      at - 2,
      at + 2,
    ]);
  });
});

describe('an index of lookups', () => {
  it.each([
    ['egress_unrecorded', 'sessions', `${EGRESS_UNRECORDED_SQL} > 0`],
    ['far_ports', 'ended_sessions', `${FAR_PORT_SQL} IN (0, 40001)`],
  ])('%s is used by its expression', async (index, table, condition) => {
    const plan = await database.clickhouse.query({
      sql: `EXPLAIN indexes = 1 SELECT started_at FROM ${table} WHERE ${condition}`,
      row: z.object({ explain: z.string() }),
      settings: { use_skip_indexes_on_data_read: 0 },
    });
    expect(plan.map(({ explain }) => explain).join('\n')).toContain(`Name: ${index}`);
  });
});

describe('the newest sessions of an address', () => {
  it('are the newest, although each of them is one of thousands', async () => {
    const before = await api.rowsRead();
    const { items, truncated } = await lookup(`dest_ip=${POPULAR}&limit=10`);
    expect((await api.rowsRead()) - before).toBeLessThan(MANY);
    expect(truncated).toBe(true);
    expect(items.map(({ session_id }) => Number(session_id.slice(-6)))).toEqual(
      Array.from({ length: 10 }, (_, i) => 1_000 + MANY - 1 - i),
    );
  });

  it('are found with a filter that few of them pass', async () => {
    const { items } = await lookup(
      `dest_ip=${POPULAR}&dest_port=443&egress_ip=192.0.2.77&limit=10`,
    );
    expect(items.map(({ session_id }) => Number(session_id.slice(-6)))).toEqual(
      Array.from({ length: 10 }, (_, i) => 1_000 + MANY - 2 - 2 * i),
    );
    const port = 20_000 + 3;
    const few = await lookup(`dest_ip=${POPULAR}&egress_ip=192.0.2.77&egress_port=${port}`);
    expect(few.items.map(({ session_id }) => Number(session_id.slice(-6)))).toEqual([
      1_015, 1_014, 1_013, 1_012,
    ]);
    expect((await lookup(`dest_ip=${POPULAR}&egress_ip=192.0.2.78&limit=1`)).items).toEqual([]);
  });
});
