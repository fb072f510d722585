import { isDeepStrictEqual } from 'node:util';
import type { KeyFigures, Stats, Traffic } from '@sockscope/schemas/api';
import { FIGURE_NAMES } from '@sockscope/schemas/api';
import { HOUR_MS, MINUTE_MS, SLICE_MS } from '@sockscope/schemas/sums';
import '@sockscope/runtime/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertRows } from '../testing/load.js';
import { storeRollups } from '../testing/rollups.js';
import { storeSlices } from '../testing/slices.js';
import type { SliceFlaw } from '../testing/slices.js';
import { count, countAtEndBy, countBy, figuresOf, openAt } from '../testing/truth.js';
import type { KeyOf, Range } from '../testing/truth.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const FIRST_MS = Date.parse('2026-03-15T10:00:00.000Z');
/** Hours, one after the other. The first and the last one have nothing but slices that may be used. */
const FLAWS = [null, 'changed', 'unfinished', 'unnamed', 'former', null] as const;
const HOURS = FLAWS.map((flaw: SliceFlaw | null, i) => ({ hourMs: FIRST_MS + i * HOUR_MS, flaw }));
const NOW_MS = FIRST_MS + (FLAWS.length + 1) * HOUR_MS;
const LATER_MS = NOW_MS + 48 * HOUR_MS;

let database: TestDatabase;
let world: World;
let nowMs = NOW_MS;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 5, sessions: 600, fromMs: FIRST_MS, toMs: NOW_MS });
  world = worldOf(events.filter((event) => Date.parse(event.occurred_at) < NOW_MS));
  await storeBadly(database.clickhouse, world.events, { seed: 6, batches: 2 });
  const changed = HOURS.filter(({ flaw }) => flaw === 'changed').map(({ hourMs }) => hourMs);
  await storeRollups(database.clickhouse, world, changed);
  await storeSlices(database.clickhouse, world, HOURS);
});

beforeEach(async () => {
  api = await createTestApp(database.clickhouse, { now: () => nowMs });
});

afterEach(async () => {
  await api.close();
});

afterAll(async () => {
  await database.drop();
});

interface List {
  readonly path: string;
  readonly field: string;
  readonly keyOf: KeyOf;
  readonly atEnd?: true;
}

const LISTS: readonly List[] = [
  { path: 'users', field: 'user', keyOf: (row) => row.user },
  { path: 'destinations', field: 'dest_host', keyOf: (row) => row.dest_host },
  { path: 'ports', field: 'dest_port', keyOf: (row) => String(row.dest_port) },
  { path: 'statuses', field: 'status', keyOf: (row) => row.status, atEnd: true },
];

const parametersOf = ({ fromMs, toMs }: Range) => `from=${fromMs}&to=${toMs}`;

/** Every list as it is answered, and as a plain count. */
async function listsOf(range: Range): Promise<{ answered: unknown[]; plain: unknown[] }> {
  const lists: { answered: unknown[]; plain: unknown[] } = { answered: [], plain: [] };
  const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
  for (const { path, field, keyOf, atEnd } of LISTS) {
    const { items, resolution } = await api.get<{
      readonly items: readonly (KeyFigures & Readonly<Record<string, unknown>>)[];
      readonly resolution: string;
    }>(`/api/v1/top/${path}?${parametersOf(range)}&limit=1000`);
    const answered = items.map((item) => ({
      key: String(item[field]),
      ...Object.fromEntries(FIGURE_NAMES.map((name) => [name, item[name]])),
    }));
    const counts = (atEnd === true ? countAtEndBy : countBy)(world, range, keyOf);
    const plain = [...counts].map(([key, counted]) => ({
      key,
      ...figuresOf(counted),
      ...(atEnd === true ? { sessions_started: null } : {}),
    }));
    lists.answered.push({ path, resolution, items: answered.toSorted(byKey) });
    lists.plain.push({ path, resolution: 'minute', items: plain.toSorted(byKey) });
  }
  return lists;
}

const minutes = (from: number, to: number) => ({ from: from * MINUTE_MS, to: to * MINUTE_MS });

describe('slices of ten minutes', () => {
  it.each(HOURS.map(({ hourMs, flaw }) => ({ hourMs, flaw: flaw ?? 'all usable' })))(
    'of an hour ($flaw) never make an answer differ from a plain count',
    async ({ hourMs }) => {
      for (const { from, to } of [
        minutes(10, 50),
        minutes(3, 41),
        minutes(0, 30),
        minutes(30, 90),
      ]) {
        const { answered, plain } = await listsOf({ fromMs: hourMs + from, toMs: hourMs + to });
        expect(answered).toEqual(plain);
      }
    },
  );

  it('that have changed are used only while their sums are younger than QUERY_SUMS_AGE', async () => {
    const hourMs = HOURS.find(({ flaw }) => flaw === 'changed')?.hourMs ?? 0;
    const range = { fromMs: hourMs + minutes(10, 50).from, toMs: hourMs + minutes(10, 50).to };
    const isExact = async (sumsAgeMs: number) => {
      await api.close();
      api = await createTestApp(database.clickhouse, {
        now: () => nowMs,
        settings: { limits: { sums_age_ms: sumsAgeMs } },
      });
      const { answered, plain } = await listsOf(range);
      return isDeepStrictEqual(answered, plain);
    };
    expect(await isExact(HOUR_MS)).toBe(true);
    // The sums are stored with a time of the past, and those of changed slices are wrong.
    const sumsAreOldMs = Date.now() - Date.parse('2026-03-01T00:00:00.000Z');
    expect(await isExact(sumsAreOldMs)).toBe(false);
  });

  it('and longer sums end where a range ends, also while ingest reads old events again', async () => {
    await insertRows(database.clickhouse, 'ingest_watermarks', [
      {
        topic: 't',
        partition: 0,
        watermark: new Date(FIRST_MS - HOUR_MS).toISOString(),
        next_offset: 1,
        caught_up: 0,
      },
    ]);
    const { answered, plain } = await listsOf({ fromMs: FIRST_MS, toMs: FIRST_MS + 2 * HOUR_MS });
    expect(answered).toEqual(plain);
    const atMs = FIRST_MS + 2 * HOUR_MS;
    const { sessions_open } = await api.get<Stats>(
      `/api/v1/stats?${parametersOf({ fromMs: FIRST_MS, toMs: atMs })}`,
    );
    expect(sessions_open).toBe(openAt(world, atMs));
    await database.clickhouse.command({ sql: 'TRUNCATE TABLE ingest_watermarks' });
  });

  it('never make a time series differ from a plain count', async () => {
    const toMs = FIRST_MS + FLAWS.length * HOUR_MS;
    const answer = await api.get<Traffic>(
      `/api/v1/traffic?${parametersOf({ fromMs: FIRST_MS, toMs })}&interval=30m`,
    );
    const [line] = answer.series;
    expect(answer.buckets).toHaveLength(2 * FLAWS.length);
    answer.buckets.forEach((bucket, i) => {
      const fromMs = Date.parse(bucket);
      const counted = count(world, { fromMs, toMs: fromMs + HOUR_MS / 2 });
      expect([bucket, line?.bytes_received[i], line?.sessions_closed[i]]).toEqual([
        bucket,
        counted.bytes_received,
        counted.sessions_closed,
      ]);
    });
  });

  it('are not used any more when their rows may have expired', async () => {
    nowMs = LATER_MS;
    const [first] = HOURS;
    if (first === undefined) return expect.unreachable();
    await api.close();
    api = await createTestApp(database.clickhouse, { now: () => nowMs });
    await database.clickhouse.command({ sql: 'RENAME TABLE rollup_10m TO expired_10m' });
    const { answered, plain } = await listsOf({
      fromMs: first.hourMs + SLICE_MS,
      toMs: first.hourMs + 5 * SLICE_MS,
    });
    expect(answered).toEqual(plain);
    await database.clickhouse.command({ sql: 'RENAME TABLE expired_10m TO rollup_10m' });
    nowMs = NOW_MS;
  });

  it('answer without any row of a session if the range has whole slices only', async () => {
    for (const table of ['sessions', 'ended_sessions', 'session_traffic_1m']) {
      await database.clickhouse.command({ sql: `TRUNCATE TABLE ${table}` });
    }
    const [first] = HOURS;
    if (first === undefined) return expect.unreachable();
    const { answered, plain } = await listsOf({
      fromMs: first.hourMs + SLICE_MS,
      toMs: first.hourMs + 5 * SLICE_MS,
    });
    expect(answered).toEqual(plain);
  });
});
