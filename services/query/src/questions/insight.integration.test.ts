/** Longer than 400 lines: all questions share one database and its world. */
import { toTimestamp } from '@sockscope/schemas';
import type { SessionEvent, SessionRow } from '@sockscope/schemas';
import { SIGNAL_KINDS } from '@sockscope/schemas/api';
import type { Explain, Pipeline, Signals, Suggestions } from '@sockscope/schemas/api';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { v7 as uuidV7 } from 'uuid';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertRows, insertSessions } from '../testing/load.js';
import { storeRollups } from '../testing/rollups.js';
import { FIND } from '../testing/signals-truth.js';
import type { SignalSession } from '../testing/signals-truth.js';
import { countAtEndBy, countBy } from '../testing/truth.js';
import { signalsConfig } from './signals/config.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const SEED = Number(process.env['RANDOM_SEED'] ?? 5);
/** Figures of signals that brute force has, too. */
const COMPARED = new Set([
  'networks',
  'hosts',
  'ports',
  'starts',
  'median_gap_ms',
  'bytes_sent',
  'bytes_received',
]);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let database: TestDatabase;
let world: World;
let api: TestApp;
let masked: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const { clickhouse } = database;
  const events = makeEvents({ seed: 41, sessions: 500, fromMs: NOW_MS - 2 * DAY_MS, toMs: NOW_MS });
  world = worldOf(events);
  await storeBadly(clickhouse, events, { seed: 42, batches: 2 });
  await storeRollups(clickhouse, world, []);
  api = await createTestApp(clickhouse, { now: () => NOW_MS });
  masked = await createTestApp(clickhouse, {
    now: () => NOW_MS,
    settings: {
      auth: { methods: ['api_keys'] },
      mask: {
        users: 'hmac',
        addresses: 'truncate',
        key: 'a secret of thirty-two characters at least',
      },
    },
  });
});

afterAll(async () => {
  await api.close();
  await masked.close();
  await database.drop();
});

const KEYS: Readonly<Record<string, (row: SessionRow) => string>> = {
  user: (row) => row.user,
  dest_host: (row) => row.dest_host,
  dest_port: (row) => String(row.dest_port),
  source_ip: (row) => row.source_ip,
  acl_rule_matched: (row) => row.acl_rule_matched ?? '',
  proxy_id: (row) => row.proxy_id,
};

describe('explain', () => {
  it.each(['bytes', 'sessions_started', 'sessions_failed'] as const)(
    'ranks the values that changed most by %s, as a count over all events does',
    async (measure) => {
      const toMs = Date.parse('2026-03-15T13:30:00.000Z');
      const now = { fromMs: toMs - DAY_MS, toMs };
      const before = { fromMs: toMs - 2 * DAY_MS, toMs: now.fromMs };
      const answer = await api.get<Explain>(
        `/api/v1/explain?from=${now.fromMs}&to=${now.toMs}&measure=${measure}&limit=50`,
      );
      for (const { field, items, counts_at_end } of answer.fields) {
        const keyOf = KEYS[field] ?? (() => '');
        const figure = (
          counted: ReturnType<typeof countBy> extends Map<string, infer C> ? C : never,
        ) =>
          measure === 'bytes'
            ? counted.bytes_sent + counted.bytes_received
            : counts_at_end && measure === 'sessions_started'
              ? counted.sessions_closed + counted.sessions_failed + counted.sessions_rejected
              : counted[measure];
        const count = counts_at_end ? countAtEndBy : countBy;
        const [current, previous] = [now, before].map((range) => count(world, range, keyOf));
        const keys = new Set([...(current?.keys() ?? []), ...(previous?.keys() ?? [])]);
        const changes = [...keys].map((key) => {
          const of = (map: typeof current) => {
            const counted = map?.get(key);
            return counted === undefined ? 0 : figure(counted);
          };
          return { value: key, current: of(current), previous: of(previous) };
        });
        const total = changes.reduce((sum, each) => sum + each.current - each.previous, 0);
        const expected = changes
          .map((each) => ({ ...each, change: each.current - each.previous }))
          .filter(({ change }) => change !== 0)
          .toSorted((a, b) => Math.abs(b.change) - Math.abs(a.change))
          .slice(0, 50);
        expect([field, items.map((item) => Math.abs(item.change))]).toEqual([
          field,
          expected.map((item) => Math.abs(item.change)),
        ]);
        for (const { share, ...item } of items) {
          const same = changes.find(({ value }) => value === String(item.value ?? ''));
          expect(item).toMatchObject({ current: same?.current, previous: same?.previous });
          if (share !== null) expect(share).toBeCloseTo(item.change / total, 9);
        }
      }
    },
  );

  it('has no parts of a change below 1 %', async () => {
    const from = NOW_MS - HOUR_MS;
    const same = `from=${from}&to=${NOW_MS}&previous_from=${from}&previous_to=${NOW_MS}`;
    const answer = await api.get<Explain>(`/api/v1/explain?${same}`);
    expect(answer).toMatchObject({ change: 0, is_defined: false });
    expect(answer.fields.flatMap(({ items }) => items)).toEqual([]);
  });
});

describe('suggestions', () => {
  it('are the most frequent values with that beginning, in any case', async () => {
    const { items } = await api.get<Suggestions>('/api/v1/suggest/dest_host?prefix=API.&limit=50');
    const hosts = new Set(
      world.sessions.map((row) => row.dest_host).filter((host) => host.startsWith('api.')),
    );
    expect(items.map(({ value }) => value).toSorted()).toEqual([...hosts].toSorted());
    const counts = items.map(({ sessions }) => sessions);
    expect(counts).toEqual(counts.toSorted((a, b) => b - a));
    expect(await api.get<Suggestions>('/api/v1/suggest/user?prefix=nobody-')).toMatchObject({
      items: [],
    });
    expect(await api.get('/api/v1/suggest/status', 400)).toMatchObject({
      code: 'invalid-parameters',
    });
  });
});

describe('the pipeline', () => {
  it('shows the rate of events, their proxies, and the position of ingest', async () => {
    const now = Date.now();
    await insertRows(database.clickhouse, 'ingest_watermarks', [
      watermark(0, now - 5_000, 1),
      watermark(1, now - 60_000, 0),
    ]);
    await insertRows(database.clickhouse, 'ingest_waits', [
      {
        topic: 't',
        partition: 1,
        is_waiting: 1,
        offset: 7,
        kind: 'unknown_version',
        reason: 'the record at 7 has version 2',
        needed_version: 2,
        since: toTimestamp(now - 60_000),
      },
    ]);
    const answer = await api.get<Pipeline>('/api/v1/pipeline');
    expect(answer.proxies.map(({ proxy_id }) => proxy_id)).toEqual(['proxy-1', 'proxy-2']);
    expect(answer.events.last_stored_at).not.toBeNull();
    expect(answer.partitions).toMatchObject([
      { topic: 't', partition: 0, caught_up: true, lag_ms: 0, waits: null },
      {
        partition: 1,
        caught_up: false,
        next_offset: 8,
        waits: { kind: 'unknown_version', offset: 7 },
      },
    ]);
    expect(answer.partitions[1]?.lag_ms).toBeGreaterThan(55_000);
  });

  it('shows the last insert however long ago it was', async () => {
    const silent = await createTestDatabase(inject('clickhouseUrl'));
    const now = Date.now();
    await insertRows(silent.clickhouse, 'ingest_watermarks', [
      watermark(0, now - 3 * HOUR_MS, 1),
      watermark(1, now - 2 * HOUR_MS, 0),
    ]);
    const app = await createTestApp(silent.clickhouse, { now: () => now });
    const { events, proxies } = await app.get<Pipeline>('/api/v1/pipeline');
    expect([events.last_stored_at, proxies]).toEqual([toTimestamp(now - 2 * HOUR_MS), []]);
    await app.close();
    await silent.drop();
  });

  it('shows since when nothing was stored although sessions are open', async () => {
    const silent = await createTestDatabase(inject('clickhouseUrl'));
    const now = Date.now();
    const random = seededRandom(3);
    const startMs = now - 3 * HOUR_MS;
    const [one, other] = [1, 2].map(() =>
      sessionLog({ random, startMs, intervals: 2, closed: true }),
    );
    const app = await createTestApp(silent.clickhouse, { now: () => now });
    const silentSince = async (events: readonly SessionEvent[] = [], storedMs: number) => {
      await insertSessions(silent.clickhouse, worldOf(events).sessions);
      await insertRows(silent.clickhouse, 'ingest_watermarks', [watermark(0, storedMs, 1)]);
      return (await app.get<Pipeline>('/api/v1/pipeline')).events.silent_since;
    };
    const before = now - HOUR_MS;
    expect(await silentSince(one?.slice(0, 2), before)).toBe(toTimestamp(before));
    expect(await silentSince(one, before)).toBeNull();
    expect(await silentSince(other?.slice(0, 2), now - 60_000)).toBeNull();
    await app.close();
    await silent.drop();
  });

  function watermark(partition: number, ms: number, caughtUp: 0 | 1) {
    return {
      topic: 't',
      partition,
      watermark: toTimestamp(ms),
      next_offset: 8,
      caught_up: caughtUp,
      observed_at: toTimestamp(ms),
    };
  }
});

describe('signals', () => {
  it('of a closed range are searched once an hour, however often somebody asks', async () => {
    let nowMs = NOW_MS;
    const clocked = await createTestApp(database.clickhouse, { now: () => nowMs });
    const searches = async () => {
      const text = await clocked.registry.metrics();
      const count =
        /sockscope_query_sql_duration_seconds_count\{[^}]*query="signal_mail"[^}]*\} (\d+)/;
      return Number(count.exec(text)?.[1] ?? 0);
    };
    for (const [afterMs, expected] of [
      [0, 1],
      [0.7 * HOUR_MS, 1],
      [1.4 * HOUR_MS, 2],
    ] as const) {
      nowMs = NOW_MS + afterMs;
      await clocked.get('/api/v1/signals/mail?from=2026-03-13&to=2026-03-14');
      expect([afterMs, await searches()]).toEqual([afterMs, expected]);
    }
    await clocked.close();
  });

  const FROM_MS = NOW_MS - 20 * HOUR_MS;
  const MIN_MS = 60_000;

  /** A session beside the world's. */
  function made(startMs: number, changes: Record<string, unknown>): SessionRow {
    const endMs = startMs + ((changes['lasts'] as number | undefined) ?? 1_000);
    const { lasts: _lasts, ...columns } = changes;
    const base = world.sessions.find((row) => row.status === 'closed');
    return {
      ...base,
      session_id: uuidV7({ msecs: startMs }),
      started_at: toTimestamp(startMs),
      ended_at: toTimestamp(endMs),
      updated_at: toTimestamp(endMs),
      duration_ms: endMs - startMs,
      dest_host: 'quiet.example',
      dest_port: 8_443,
      source_ip: '192.0.2.9',
      bytes_sent: 10,
      bytes_received: 10,
      ...columns,
    } as SessionRow;
  }

  const times = (count: number, make: (i: number) => SessionRow) =>
    Array.from({ length: count }, (_each, i) => make(i));

  /** Each kind with a user that shows it, and one that nearly does. */
  const SESSIONS = () => [
    // Four networks at once; and four one after the other, each ending as the next begins.
    ...times(4, (i) =>
      made(FROM_MS + i * MIN_MS, { user: 'sharer', source_ip: `198.51.${i}.5`, lasts: HOUR_MS }),
    ),
    ...times(8, (i) =>
      made(FROM_MS + i * MIN_MS, { user: 'mover', source_ip: `198.51.${i}.5`, lasts: MIN_MS }),
    ),
    ...times(9, (i) =>
      made(FROM_MS, { user: 'one-network', source_ip: `203.0.113.${i}`, lasts: HOUR_MS }),
    ),
    // 50 hosts in ten minutes, across a full ten minutes; 49; 50 that answer; 50 in more time.
    ...times(50, (i) => made(FROM_MS + 5 * MIN_MS + i * 11_000, failed('scanner', `h${i}`, 22))),
    ...times(49, (i) => made(FROM_MS + i * 11_000, failed('near-scanner', `h${i}`, 22))),
    ...times(50, (i) =>
      made(FROM_MS + i * 11_000, { user: 'crawler', dest_host: `h${i}`, dest_port: 22 }),
    ),
    ...times(50, (i) => made(FROM_MS + i * 13_000, failed('slow-scanner', `h${i}`, 22))),
    ...times(20, (i) => made(FROM_MS + i * 1_000, failed('port-scanner', 'victim', 100 + i))),
    ...times(19, (i) => made(FROM_MS + i * 1_000, failed('near-port-scanner', 'victim', 100 + i))),
    ...times(20, (i) =>
      made(FROM_MS + i * 180_000, { user: 'mailer', dest_port: [25, 465, 587][i % 3] }),
    ),
    ...times(19, (i) => made(FROM_MS + i * 1_000, { user: 'near-mailer', dest_port: 25 })),
    ...times(20, (i) =>
      made(FROM_MS + i * 190_000 + (i % 2) * 60_000, { user: 'slow-mailer', dest_port: 25 }),
    ),
    ...times(12, (i) => made(FROM_MS + i * 600_000 + (i % 2) * 20_000, { user: 'beacon' })),
    ...times(11, (i) => made(FROM_MS + i * 600_000, { user: 'short-beacon' })),
    ...times(14, (i) => made(FROM_MS + i * 600_000 + (i % 2) * 90_000, { user: 'uneven' })),
    ...times(20, (i) => made(FROM_MS + i * 9_000, { user: 'fast' })),
    made(NOW_MS - 30 * DAY_MS, { user: 'old', dest_host: 'known.example' }),
    made(FROM_MS, { user: 'leaker', dest_host: 'new.example', ...sent(120_000_000, 1_000) }),
    made(FROM_MS, { user: 'old', dest_host: 'known.example', ...sent(120_000_000, 1_000) }),
    made(FROM_MS, { user: 'talker', dest_host: 'new.example', ...sent(120_000_000, 30_000_000) }),
    made(FROM_MS, { user: 'small', dest_host: 'new.example', ...sent(99_999_999, 0) }),
  ];

  function failed(user: string, dest_host: string, dest_port: number) {
    return { user, dest_host, dest_port, status: 'failed', close_reason: 'connect_failed' };
  }

  function sent(bytes_sent: number, bytes_received: number) {
    return { bytes_sent, bytes_received };
  }

  beforeAll(async () => {
    const rows = SESSIONS();
    await insertSessions(database.clickhouse, rows);
  });

  it.each([
    ['shared_account', ['sharer'], { networks: 4 }],
    ['scan', ['port-scanner', 'scanner'], { ports: 20, sessions: 20, failed: 20 }],
    ['mail', ['mailer'], { sessions: 20 }],
    ['beacon', ['beacon'], { starts: 12 }],
    ['first_seen', ['leaker'], { bytes_sent: 120_000_000, bytes_received: 1_000 }],
  ] as const)('of the kind %s name %s and no near miss', async (kind, users, figures) => {
    const fresh = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    const answer = await fresh.get<Signals>(`/api/v1/signals/${kind}?limit=500`);
    const added = new Set(SESSIONS().map((row) => row['user']));
    const named = answer.items.filter(({ user }) => added.has(user));
    expect(named.map(({ user }) => user).toSorted()).toEqual([...users]);
    expect(named.find(({ user }) => user === users[0])?.figures).toMatchObject(figures);
    for (const { sessions_url } of named) {
      const page = await fresh.get<{ items: unknown[] }>(`${sessions_url}&limit=1000`);
      expect(page.items.length).toBeGreaterThan(0);
    }
    await fresh.close();
  });

  it('of a first use count the days of sessions that are kept, not of sums', async () => {
    const first = toTimestamp(NOW_MS - 30 * DAY_MS);
    await insertRows(database.clickhouse, 'rollup_1d', [
      { dimension: 'total', bucket: '2024-01-01 00:00:00', key: '' },
    ]);
    for (const [days, known] of [
      [29, true],
      [30, false],
    ] as const) {
      const fresh = await createTestApp(database.clickhouse, {
        now: () => NOW_MS,
        settings: { signals: { first_seen_days: days } },
      });
      const path = `/api/v1/signals/first_seen?from=${NOW_MS - DAY_MS}&to=${NOW_MS}`;
      const { known_since, items } = await fresh.get<Signals>(path);
      expect([days, known_since, items.length > 0]).toEqual([days, first, known]);
      await fresh.close();
    }
  });

  it('of a first use read only the history of users who are suspect', async () => {
    const others = 100_000;
    await database.clickhouse.command({
      sql: `INSERT INTO sessions_by_user (session_id, started_at, user, dest_host, status)
        SELECT generateUUIDv4(), fromUnixTimestamp64Milli(${NOW_MS - 20 * DAY_MS}, 'UTC'), 'z-busy', 'z.example', 'closed'
        FROM numbers(${others})`,
    });
    const fresh = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    await fresh.get<Signals>('/api/v1/signals/first_seen');
    expect(await fresh.rowsRead()).toBeLessThan(others);
    await fresh.close();
  });

  it('are those of brute force in a seeded world, with low thresholds and random ranges', async () => {
    const thresholds = {
      shared_networks: 3,
      scan_hosts: 4,
      scan_ports: 3,
      scan_failed_percent: 60,
      mail_sessions: 4,
      beacon_starts: 3,
      beacon_spread_percent: 100,
      first_seen_bytes: 2_000,
      first_seen_ratio: 2,
    };
    const random = seededRandom(SEED);
    const any = (count: number) => Math.floor(random() * count);
    // Close together, so that windows fill, and in whole seconds, so that borders meet.
    const sessions = Array.from({ length: 600 }, (): SignalSession => {
      const startMs = FROM_MS - 6 * HOUR_MS + Math.floor(random() ** 2 * 18 * 3_600) * 1_000;
      return {
        user: any(8) === 0 ? 'anonymous' : `seeded-${any(6)}`,
        source_ip:
          any(3) === 0
            ? `2001:db8:${1 + any(3)}:${1 + any(2)}::1`
            : `198.18.${any(5)}.${1 + any(2)}`,
        dest_host: `seeded-${any(9)}.example`,
        dest_port: [22, 25, 465, 587, 443][any(5)] ?? 22,
        startMs,
        endMs: startMs + any(900) * 1_000,
        hasFailed: any(10) < 6,
        bytes_sent: any(1_000),
        bytes_received: any(200),
      };
    });
    const rows = sessions.map(({ startMs, endMs, hasFailed, ...columns }) =>
      made(startMs, {
        ...columns,
        lasts: endMs - startMs,
        status: hasFailed ? 'failed' : 'closed',
        close_reason: hasFailed ? 'connect_failed' : 'client_eof',
      }),
    );
    await insertSessions(database.clickhouse, rows);
    const fresh = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { signals: thresholds },
    });
    const config = signalsConfig.parse(
      Object.fromEntries(
        Object.keys(signalsConfig.shape).map((name) => [
          name,
          thresholds[name as keyof typeof thresholds],
        ]),
      ),
    );
    const found: number[] = [];
    for (const kind of SIGNAL_KINDS) {
      for (let n = 0; n < 4; n += 1) {
        // The first range has nothing before it, the others begin anywhere.
        const fromMs = FROM_MS - 6 * HOUR_MS + (n === 0 ? 0 : any(6 * 3_600) * 1_000);
        const range = {
          fromMs,
          toMs: fromMs + (n === 0 ? 18 * HOUR_MS : (1 + any(8 * 3_600)) * 1_000),
        };
        const path = `/api/v1/signals/${kind}?from=${range.fromMs}&to=${range.toMs}&limit=500`;
        const { items } = await fresh.get<Signals>(path);
        // Beside them stand the sessions of other tests.
        const own = items.filter(
          ({ user, source_ip, dest_host }) =>
            user.startsWith('seeded-') ||
            source_ip?.startsWith('198.18.') === true ||
            source_ip?.startsWith('2001:db8:') === true ||
            dest_host?.startsWith('seeded-') === true,
        );
        const expected = FIND[kind](sessions, config, range);
        const sorted = (some: readonly object[]) =>
          some.map((each) => JSON.stringify(each)).toSorted();
        const shown = own.map(({ user, source_ip, dest_host, dest_port, figures }) => ({
          user,
          source_ip,
          dest_host,
          dest_port,
          figures: Object.fromEntries(
            Object.entries(figures).filter(
              ([name]) => COMPARED.has(name) || (kind === 'mail' && name === 'sessions'),
            ),
          ),
        }));
        expect([path, sorted(shown)]).toEqual([path, sorted(expected)]);
        found.push(expected.length);
      }
    }
    // Every kind is found in some range.
    for (let at = 0; at < found.length; at += 4) {
      expect(Math.max(...found.slice(at, at + 4))).toBeGreaterThan(0);
    }
    await fresh.close();
  });
});
