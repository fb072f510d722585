import { minuteOf } from '@sockscope/schemas';
import type { SessionEvent, SessionRow } from '@sockscope/schemas';
import type { Playback, SessionAt, SessionsAtPage } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const HOUR_MS = 3_600_000;

let database: TestDatabase;
let world: World;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = [
    ...makeEvents({ seed: 21, sessions: 300, fromMs: NOW_MS - 6 * HOUR_MS, toMs: NOW_MS }),
    ...makeEvents({ seed: 22, sessions: 150, fromMs: NOW_MS - 300_000, toMs: NOW_MS }),
  ];
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 23, batches: 3 });
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

const wasOpen = (row: SessionRow, atMs: number) =>
  Date.parse(row.started_at) <= atMs && (row.ended_at === null || Date.parse(row.ended_at) > atMs);

function lastEventAt(sessionId: string, atMs: number): SessionEvent | undefined {
  return world.events
    .filter((each) => each.session_id === sessionId && Date.parse(each.occurred_at) <= atMs)
    .toSorted((a, b) => b.seq - a.seq)[0];
}

function movedIn(sessionId: string, fromMs: number, toMs: number) {
  const minutes = world.minutes.filter(
    ({ row, bucketMs }) => row.session_id === sessionId && bucketMs >= fromMs && bucketMs < toMs,
  );
  const sum = (name: 'bytes_sent' | 'bytes_received') =>
    minutes.reduce((total, { counters }) => total + counters[name], 0);
  return { bytes_sent: sum('bytes_sent'), bytes_received: sum('bytes_received') };
}

const rateOf = (id: string, atMs: number) => {
  const { bytes_sent, bytes_received } = movedIn(id, minuteOf(atMs), minuteOf(atMs) + 1);
  return bytes_sent + bytes_received;
};

async function walk(parameters: string, limit: number) {
  const pages: SessionsAtPage[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: SessionsAtPage = await api.get(
      `/api/v1/sessions?${parameters}&limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`,
    );
    pages.push(page);
    cursor = page.next_cursor;
  }
  return { pages, items: pages.flatMap((page) => page.items) };
}

const idsOf = (items: readonly { readonly session_id?: string | undefined }[]) =>
  items.map((item) => item.session_id ?? '');

/** Moments of which each is interesting: starts, ends, their neighbours, full minutes. */
function moments(): number[] {
  const some = world.sessions.filter((_row, i) => i % 60 === 0);
  return some.flatMap((row, i) => {
    const startMs = Date.parse(row.started_at);
    const endMs = Date.parse(row.ended_at ?? row.updated_at);
    return [[startMs, startMs - 1], [endMs, endMs - 1], [minuteOf(startMs) + 60_000]][i % 3] ?? [];
  });
}

describe('sessions that were open at a time', () => {
  it('are those that a reading of all events finds, with counters and rates of then', async () => {
    let seen = 0;
    for (const atMs of moments()) {
      const { pages, items } = await walk(`at=${atMs}&sort=rate`, 40);
      const expected = world.sessions.filter((row) => wasOpen(row, atMs));
      expect([atMs, idsOf(items).toSorted()]).toEqual([
        atMs,
        expected.map((row) => row.session_id).toSorted(),
      ]);
      expect(pages[0]).toMatchObject({ total: expected.length, ranking: 'exact' });
      const rates = idsOf(items).map((id) => rateOf(id, atMs));
      expect(rates).toEqual(rates.toSorted((a, b) => b - a));
      const windowMs = Math.min(60_000, NOW_MS - minuteOf(atMs));
      for (const item of items) {
        const last = lastEventAt(item.session_id ?? '', atMs);
        const moved = movedIn(item.session_id ?? '', minuteOf(atMs), minuteOf(atMs) + 1);
        expect(item).toMatchObject({
          counters: 'event',
          bytes_sent: last?.bytes_sent,
          bytes_received: last?.bytes_received,
          packets_sent: last?.packets_sent,
          bytes_sent_per_second: Math.round((moved.bytes_sent * 1_000) / windowMs),
        } satisfies Partial<SessionAt>);
        seen += 1;
      }
    }
    expect(seen).toBeGreaterThan(50);
  });

  it('are ranked by what they had moved then, page by page', async () => {
    const atMs = NOW_MS - 60_000;
    const { items } = await walk(`at=${atMs}&sort=bytes`, 7);
    const bytes = items.map((item) => (item.bytes_sent ?? 0) + (item.bytes_received ?? 0));
    expect(items.length).toBeGreaterThan(7);
    expect(bytes).toEqual(bytes.toSorted((a, b) => b - a));
    expect(new Set(idsOf(items)).size).toBe(items.length);
    const newest = await walk(`at=${atMs}&order=asc`, 7);
    const starts = newest.items.map((item) => item.started_at ?? '');
    expect(starts).toEqual(starts.toSorted());
    expect(idsOf(newest.items).toSorted()).toEqual(idsOf(items).toSorted());
  });

  it('pass the filters, and show the fields that are asked for', async () => {
    const atMs = NOW_MS - 30_000;
    const page = await api.get<SessionsAtPage>(
      `/api/v1/sessions?at=${atMs}&user=user-0&fields=user,bytes_sent&limit=1000`,
    );
    expect(page.total).toBe(
      world.sessions.filter((row) => row.user === 'user-0' && wasOpen(row, atMs)).length,
    );
    expect(Object.keys(page.items[0] ?? {}).toSorted()).toEqual(
      [
        'user',
        'bytes_sent',
        'counters',
        'bytes_sent_per_second',
        'bytes_received_per_second',
      ].toSorted(),
    );
  });

  it.each(['&from=now-1h', '&in=open', '&totals=true', '&sort=duration_ms', '&format=csv'])(
    'are not asked for together with %s',
    async (other) => {
      const path = `/api/v1/sessions?at=${NOW_MS}${other}`;
      expect(await api.get<{ code: string }>(path, 400)).toMatchObject({
        code: 'invalid-parameters',
      });
    },
  );

  it('are played back as frames that each equal the page of their time', async () => {
    const fromMs = NOW_MS - 240_000;
    const answer = await api.get<Playback>(
      `/api/v1/sessions/playback?from=${fromMs}&to=${NOW_MS}&step=20s&limit=200`,
    );
    expect(answer.frames).toHaveLength(12);
    for (const frame of answer.frames) {
      const { pages, items } = await walk(`at=${frame.at}&sort=rate`, 200);
      expect({
        ids: idsOf(frame.items),
        open: frame.open,
        rate: frame.bytes_sent_per_second,
      }).toEqual({
        ids: idsOf(items),
        open: pages[0]?.total,
        rate: pages[0]?.bytes_sent_per_second,
      });
    }
    const named = new Set(answer.frames.flatMap((frame) => idsOf(frame.items)));
    expect(idsOf(answer.sessions).toSorted()).toEqual([...named].toSorted());
    await api.get(`/api/v1/sessions/playback?from=${fromMs}&to=${NOW_MS}&step=1s`, 400);
  });

  // Last: it takes the events away.
  it('have the counters of whole minutes where events are gone, and none where those are, too', async () => {
    const atMs = NOW_MS - 45_000;
    await database.clickhouse.command({ sql: 'TRUNCATE TABLE session_events' });
    const { items } = await walk(`at=${atMs}`, 100);
    expect(items.length).toBeGreaterThan(10);
    for (const item of items) {
      expect(item).toMatchObject({
        counters: 'minute',
        ...movedIn(item.session_id ?? '', 0, minuteOf(atMs)),
      });
    }
    await database.clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await database.clickhouse.command({
      sql: `INSERT INTO session_traffic_1m (bucket, user, dest_host, session_id, bytes_sent)
        VALUES (toDateTime('2026-03-20 00:00:00', 'UTC'), 'later', 'h', generateUUIDv4(), 1)`,
    });
    const later = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    const page = await later.get<SessionsAtPage>(`/api/v1/sessions?at=${atMs}`);
    expect(page.items[0]).toMatchObject({ counters: 'none', bytes_sent: null });
    await later.close();
  });
});
