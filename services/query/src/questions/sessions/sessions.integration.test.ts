/** Longer than 400 lines: all pages are read from one world, which takes seconds to load. */
import { sessionStartMs } from '@sockscope/schemas';
import type { SessionRow } from '@sockscope/schemas';
import { endsOf } from '@sockscope/schemas/testing';
import type {
  ActiveSessionsPage,
  Session,
  SessionsPage,
  TimelinePage,
} from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import ipaddr from 'ipaddr.js';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createTestApp } from '../../testing/app.js';
import type { TestApp } from '../../testing/app.js';
import { createTestDatabase } from '../../testing/database.js';
import type { TestDatabase } from '../../testing/database.js';
import { insertBatch } from '../../testing/load.js';
import { makeEvents, storeBadly, worldOf } from '../../testing/world.js';
import type { World } from '../../testing/world.js';

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');

/**
 * Days with sessions, near ones and far ones with gaps between. Each is a partition of every table,
 * and each partition is a part of the price of each page.
 */
const DAYS = new Set(
  ['01-25', '01-26', '02-12', '02-20', '02-22', '02-25', '02-28']
    .concat(['03-01', '03-11', '03-12', '03-14', '03-15'])
    .map((day) => `2026-${day}`),
);

let database: TestDatabase;
let world: World;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = [
    ...makeEvents({ seed: 7, sessions: 3_000, fromMs: NOW_MS - 50 * DAY_MS, toMs: NOW_MS }).filter(
      (event) => DAYS.has(event.started_at.slice(0, 10)),
    ),
    // Enough that some are open and have moved something in the last two minutes.
    ...makeEvents({ seed: 9, sessions: 120, fromMs: NOW_MS - 100_000, toMs: NOW_MS }),
  ];
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 8, batches: 3 });
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

/** All pages of a list, one after the other. */
async function walk(parameters: string, limit: number): Promise<Session[]> {
  const items: Session[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const from: string = cursor === '' ? '' : `&cursor=${cursor}`;
    // Each page has the start of the next one.
    const page: SessionsPage = await api.get(
      `/api/v1/sessions?${parameters}&limit=${limit}${from}`,
    );
    expect(page.items.length).toBeLessThanOrEqual(limit);
    items.push(...(page.items as Session[]));
    cursor = page.next_cursor;
  }
  return items;
}

const durationOf = (row: SessionRow) =>
  row.duration_ms ?? Date.parse(row.updated_at) - Date.parse(row.started_at);
const bytesOf = (row: SessionRow) => row.bytes_sent + row.bytes_received;
const idsOf = (rows: readonly { readonly session_id: string }[]) => rows.map((r) => r.session_id);
const sortedIds = (rows: readonly { readonly session_id: string }[]) => idsOf(rows).toSorted();

function inBlock(address: string | null, block: string): boolean {
  if (address === null) return false;
  const parsed = ipaddr.parse(address);
  if (!block.includes('/')) return parsed.toString() === ipaddr.parse(block).toString();
  const [base, prefix] = ipaddr.parseCIDR(block);
  return parsed.kind() === base.kind() && parsed.match([base, prefix] as [ipaddr.IPv4, number]);
}

const someUser = 'user-0';
const hostile = `o'brien"; DROP TABLE sessions --`;
const encoded = encodeURIComponent;

/** Each filter with its meaning in plain code. */
const FILTERS: readonly (readonly [string, (row: SessionRow) => boolean])[] = [
  ['', () => true],
  [`user=${someUser}`, (r) => r.user === someUser],
  [`user=${someUser}&user=${encoded(hostile)}`, (r) => [someUser, hostile].includes(r.user)],
  [`user=${encoded('ünï\u0000cödé')}`, (r) => r.user === 'ünï\u0000cödé'],
  [`user=${encoded('{"a":1}\n')}`, (r) => r.user === '{"a":1}\n'],
  ['user=nobody', () => false],
  ['status=active', (r) => r.status === 'active'],
  [
    'status=failed&status=rejected_by_acl',
    (r) => r.status === 'failed' || r.status === 'rejected_by_acl',
  ],
  ['close_reason=idle_timeout', (r) => r.close_reason === 'idle_timeout'],
  ['dest_host=www.site-0.example', (r) => r.dest_host === 'www.site-0.example'],
  ['dest_host=*.site-0.example', (r) => r.dest_host.endsWith('.site-0.example')],
  [
    'dest_host=*.site-0.example&dest_host=api.site-1.example',
    (r) => r.dest_host.endsWith('.site-0.example') || r.dest_host === 'api.site-1.example',
  ],
  [`dest_host=${encoded(`x' OR 1=1 --`)}`, (r) => r.dest_host === `x' OR 1=1 --`],
  ['dest_ip=198.51.100.0/25', (r) => inBlock(r.dest_ip, '198.51.100.0/25')],
  ['dest_ip=198.51.100.7', (r) => inBlock(r.dest_ip, '198.51.100.7')],
  [
    'source_ip=192.0.2.0/28&source_ip=192.0.2.200/29',
    (r) => inBlock(r.source_ip, '192.0.2.0/28') || inBlock(r.source_ip, '192.0.2.200/29'),
  ],
  ['source_ip=::ffff:192.0.2.0/124', (r) => inBlock(r.source_ip, '192.0.2.0/28')],
  ['source_ip=2001:db8::/32', () => false],
  ['source_ip=0.0.0.0/0', () => true],
  ['source_ip=::/0', () => false],
  ['source_ip=::1/48', () => false],
  ['source_ip=::/0&source_ip=0.0.0.0/0', () => true],
  ['egress_ip=::/0', (r) => r.egress_ip?.includes(':') === true],
  ['dest_port=443&dest_port=53', (r) => r.dest_port === 443 || r.dest_port === 53],
  ['protocol=udp', (r) => r.protocol === 'udp'],
  ['command=connect', (r) => r.command === 'connect'],
  ['acl_decision=block', (r) => r.acl_decision === 'block'],
  ['acl_rule_matched=rule-2', (r) => r.acl_rule_matched === 'rule-2'],
  ['proxy_id=proxy-2', (r) => r.proxy_id === 'proxy-2'],
  ['dest_host=WWW.Site-0.EXAMPLE.', (r) => r.dest_host === 'www.site-0.example'],
  ['acl_rule_matched=', (r) => r.acl_rule_matched === null],
  [
    'acl_rule_matched=&acl_rule_matched=rule-2',
    (r) => r.acl_rule_matched === null || r.acl_rule_matched === 'rule-2',
  ],
  [
    'dest_ip=&dest_ip=198.51.100.0/25',
    (r) => r.dest_ip === null || inBlock(r.dest_ip, '198.51.100.0/25'),
  ],
  ['min_duration_ms=30000', (r) => durationOf(r) >= 30_000],
  [
    'min_duration_ms=1500&max_duration_ms=20250',
    (r) => durationOf(r) >= 1_500 && durationOf(r) <= 20_250,
  ],
  ['min_bytes=1000000', (r) => bytesOf(r) >= 1_000_000],
  ['max_bytes=0', (r) => bytesOf(r) === 0],
  [
    `user=${someUser}&status=closed&dest_port=443&min_bytes=1&dest_host=*.example`,
    (r) =>
      r.user === someUser &&
      r.status === 'closed' &&
      r.dest_port === 443 &&
      bytesOf(r) >= 1 &&
      r.dest_host.endsWith('.example'),
  ],
];

/** Ranges with which sessions they mean. */
const RANGES: readonly (readonly [string, (row: SessionRow) => boolean])[] = [
  [
    'from=2026-02-20T00:00:00Z&to=2026-03-01',
    (r) => r.started_at >= '2026-02-20T00:00:00.000Z' && r.started_at < '2026-03-01T00:00:00.000Z',
  ],
  [
    'from=2026-02-20T10:00:00Z&to=2026-02-25&in=open',
    (r) =>
      r.started_at < '2026-02-25T00:00:00.000Z' &&
      (r.ended_at === null || r.ended_at > '2026-02-20T10:00:00.000Z'),
  ],
  [
    'from=2026-02-20T10:00:00Z&to=2026-03-12T11:22:33.444Z&in=ended',
    (r) =>
      r.ended_at !== null &&
      r.ended_at >= '2026-02-20T10:00:00.000Z' &&
      r.ended_at < '2026-03-12T11:22:33.444Z',
  ],
  ['in=ended', (r) => r.ended_at !== null],
  ['in=open&from=now-1m', (r) => r.ended_at === null || Date.parse(r.ended_at) > NOW_MS - 59_345],
  ['period=2026-02', (r) => r.started_at.startsWith('2026-02')],
  [
    'period=2026-02-20&time_zone=Asia/Kolkata',
    (r) => r.started_at >= '2026-02-19T18:30:00.000Z' && r.started_at < '2026-02-20T18:30:00.000Z',
  ],
  ['from=now/d', (r) => r.started_at >= '2026-03-15T00:00:00.000Z'],
  [`to=${Date.parse('2026-02-20T10:00:00Z')}`, (r) => r.started_at < '2026-02-20T10:00:00.000Z'],
];

describe('sessions', () => {
  it.each([...FILTERS, ...RANGES])(
    '?%s gives the answer of a plain scan',
    async (parameters, matches) => {
      const found = await walk(parameters, 1_000);
      const expected = world.sessions.filter(matches);
      expect(sortedIds(found)).toEqual(sortedIds(expected));
    },
  );

  it('shows each session as its last event left it', async () => {
    const found = await walk('', 500);
    expect(found).toHaveLength(world.sessions.length);
    const byId = new Map(world.sessions.map((row) => [row.session_id, row]));
    for (const session of found) {
      const {
        seq: _seq,
        version: _version,
        proxy_epoch: _epoch,
        assumed: _assumed,
        ...row
      } = byId.get(session.session_id) ?? expect.unreachable();
      expect(session).toEqual(row);
    }
  });

  it.each(['desc', 'asc'] as const)(
    'come in order of start, %s, each once over all pages',
    async (order) => {
      const sign = order === 'desc' ? -1 : 1;
      const found = await walk(`order=${order}`, 97);
      expect(sortedIds(found)).toEqual(sortedIds(world.sessions));
      const keys = found.map((s) => `${s.started_at} ${s.session_id}`);
      expect(keys).toEqual(keys.toSorted((a, b) => sign * (a < b ? -1 : 1)));
    },
  );

  it('shows only the fields that are asked for', async () => {
    const page = await api.get<SessionsPage>('/api/v1/sessions?limit=3&fields=user,bytes_sent');
    expect(page.items.map((item) => Object.keys(item).toSorted())).toEqual(
      Array.from({ length: 3 }, () => ['bytes_sent', 'user']),
    );
  });

  it('returns the totals of all matching sessions on each page, on request', async () => {
    const own = world.sessions.filter((row) => row.user === someUser);
    const sum = (of: (row: SessionRow) => number) => own.reduce((total, row) => total + of(row), 0);
    const first = await api.get<SessionsPage>(
      `/api/v1/sessions?limit=3&totals=true&user=${someUser}`,
    );
    expect(first.totals).toEqual({
      sessions: own.length,
      bytes: sum(bytesOf),
      bytes_sent: sum((row) => row.bytes_sent),
      bytes_received: sum((row) => row.bytes_received),
      packets_sent: sum((row) => row.packets_sent),
      packets_received: sum((row) => row.packets_received),
      duration_ms: sum(durationOf),
    });
    const plain = await api.get<SessionsPage>(`/api/v1/sessions?limit=3&user=${someUser}`);
    expect(plain.totals).toBeUndefined();
  });

  it.each([
    ['ended_at', (row: SessionRow) => Date.parse(row.ended_at ?? row.updated_at)],
    ['duration_ms', durationOf],
    ['bytes', bytesOf],
  ] as const)('come in order of %s, each once over all pages', async (sort, valueOf) => {
    const byId = new Map(world.sessions.map((row) => [row.session_id, row]));
    for (const order of ['desc', 'asc'] as const) {
      const found = await walk(`sort=${sort}&order=${order}`, 101);
      expect(sortedIds(found)).toEqual(sortedIds(world.sessions));
      const values = found.map((s) => valueOf(byId.get(s.session_id) ?? expect.unreachable()));
      const sign = order === 'desc' ? -1 : 1;
      expect(values).toEqual(values.toSorted((a, b) => sign * (a - b)));
    }
  });

  it('gives the same order for every page size, at equal starts too', async () => {
    const starts = world.sessions.map((row) => row.started_at);
    expect(new Set(starts).size).toBeLessThan(starts.length);
    const some = 'from=2026-03-15&to=2026-03-15T13:30:00Z';
    const whole = idsOf(await walk(some, 1_000));
    expect(whole.length).toBeGreaterThan(30);
    expect(idsOf(await walk(some, 2))).toEqual(whole);
    expect(idsOf(await walk(some, 7))).toEqual(whole);
  });

  /** The cursor with another range, its last two parts. */
  function forged(cursor: string, range: readonly number[]): string {
    const parts = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    return Buffer.from(JSON.stringify([...parts.slice(0, -2), ...range])).toString('base64url');
  }

  it('refuses a cursor of other filters, a forged one and one of another question', async () => {
    const page = await api.get<SessionsPage>('/api/v1/sessions?limit=1&user=user-0');
    const cursor = page.next_cursor ?? expect.unreachable();
    await api.get(`/api/v1/sessions?limit=2&user=user-0&cursor=${cursor}`);
    for (const path of [
      `/api/v1/sessions?limit=1&user=user-1&cursor=${cursor}`,
      `/api/v1/sessions?limit=1&cursor=${cursor}`,
      `/api/v1/sessions?limit=1&user=user-0&order=asc&cursor=${cursor}`,
      `/api/v1/sessions/active?user=user-0&cursor=${cursor}`,
      `/api/v1/sessions?user=user-0&cursor=${cursor.slice(2)}`,
      `/api/v1/sessions?user=user-0&cursor=AAAA`,
      `/api/v1/sessions?user=user-0&cursor=${forged(cursor, [0, 1e15])}`,
      `/api/v1/sessions?user=user-0&cursor=${forged(cursor, [2_000, 1_000])}`,
    ]) {
      const problem = await api.get<{ code: string; errors: { parameter: string }[] }>(path, 400);
      expect(problem).toMatchObject({ code: 'invalid-cursor', errors: [{ parameter: 'cursor' }] });
    }
  });

  it.each([
    ['foo=1', 'foo'],
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=1e2', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['status=open', 'status'],
    ['from=yesterday', 'from'],
    ['from=2026-02-30', 'from'],
    ['from=2026-03-01T12:00:00', 'from'],
    ['from=2026-03-01&to=2026-02-01', 'to'],
    ['period=2026-03&to=now', 'to'],
    ['in=closed', 'in'],
    ['fields=user,foo', 'fields'],
    ['dest_ip=300.1.1.1', 'dest_ip'],
    ['source_ip=10.0.0.0/33', 'source_ip'],
    ['dest_host=*', 'dest_host'],
    ['dest_port=65536', 'dest_port'],
    ['min_bytes=-1', 'min_bytes'],
    ['min_duration_ms=1.5', 'min_duration_ms'],
    ['user=', 'user'],
    ['sort=user', 'sort'],
    ['cursor=%27', 'cursor'],
  ])('?%s is a 400 that names %s', async (parameters, parameter) => {
    const problem = await api.get<{ errors: { parameter: string }[] }>(
      `/api/v1/sessions?${parameters}`,
      400,
    );
    expect(problem.errors).toEqual([expect.objectContaining({ parameter })]);
  });

  it('one by its id, in any case; an unknown one is a 404', async () => {
    const [row] = world.sessions;
    const id = row?.session_id ?? expect.unreachable();
    expect(await api.get(`/api/v1/sessions/${id.toUpperCase()}`)).toMatchObject({ session_id: id });
    await api.get('/api/v1/sessions/019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f', 404);
    await api.get('/api/v1/sessions/019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f/events', 404);
    await api.get('/api/v1/sessions/1', 400);
  });
});

describe('open sessions', () => {
  /** Rates are made of the traffic since the start of the previous minute. */
  const SINCE_MS = NOW_MS - (NOW_MS % 60_000) - 60_000;
  const get = (parameters: string) =>
    api.get<ActiveSessionsPage>(`/api/v1/sessions/active?${parameters}`);

  const windowOf = (startedMs: number) => Math.max(1_000, NOW_MS - Math.max(startedMs, SINCE_MS));
  const perSecond = (bytes: number, windowMs: number) => Math.round((bytes * 1_000) / windowMs);

  function recentOf(rows: readonly SessionRow[], name: 'bytes_sent' | 'bytes_received'): number {
    const ids = new Set(idsOf(rows));
    return world.minutes
      .filter((minute) => ids.has(minute.row.session_id) && minute.bucketMs >= SINCE_MS)
      .reduce((sum, minute) => sum + minute.counters[name], 0);
  }

  function ratesOf(rows: readonly SessionRow[]) {
    const windowMs = windowOf(Math.min(...rows.map((row) => Date.parse(row.started_at))));
    return {
      bytes_sent_per_second: perSecond(recentOf(rows, 'bytes_sent'), windowMs),
      bytes_received_per_second: perSecond(recentOf(rows, 'bytes_received'), windowMs),
    };
  }

  function usersOf(rows: readonly SessionRow[]) {
    return [...new Set(rows.map((row) => row.user))]
      .map((user) => ({ user, own: rows.filter((row) => row.user === user) }))
      .map(({ user, own }) => ({
        recent: recentOf(own, 'bytes_sent') + recentOf(own, 'bytes_received'),
        shown: {
          user,
          sessions: own.length,
          bytes_sent: own.reduce((sum, row) => sum + row.bytes_sent, 0),
          bytes_received: own.reduce((sum, row) => sum + row.bytes_received, 0),
          ...ratesOf(own),
        },
      }))
      .toSorted(
        (a, b) =>
          b.recent - a.recent ||
          b.shown.sessions - a.shown.sessions ||
          Buffer.compare(Buffer.from(a.shown.user), Buffer.from(b.shown.user)),
      )
      .map(({ shown }) => shown);
  }

  it.each(FILTERS.filter(([parameters]) => !/status=|close_reason=/.test(parameters)))(
    '?%s equal a plain scan, with their rates, in total and per user',
    async (parameters, matches) => {
      const expected = world.sessions.filter((row) => row.status === 'active' && matches(row));
      const page = await get(`limit=1000&${parameters}`);
      expect(sortedIds(page.items)).toEqual(sortedIds(expected));
      expect(page).toMatchObject({ total: expected.length, next_cursor: null });
      expect(page.users).toEqual(usersOf(expected).slice(0, 100));
      const rows = new Map(expected.map((row) => [row.session_id, row]));
      for (const item of page.items) {
        const row = rows.get(item.session_id) ?? expect.unreachable();
        expect(item).toMatchObject({
          bytes_sent: row.bytes_sent,
          bytes_received: row.bytes_received,
          updated_at: row.updated_at,
          ended_at: null,
          ...ratesOf([row]),
          rate_window_ms: windowOf(Date.parse(row.started_at)),
        });
      }
      const starts = page.items.map((item) => item.started_at);
      expect(starts).toEqual(starts.toSorted().toReversed());
    },
  );

  it('move: some have a rate', async () => {
    const { items } = await get('limit=1000');
    expect(items.some((item) => item.bytes_received_per_second > 0)).toBe(true);
  });

  it('come once each, page by page, with the same total and users on every page', async () => {
    const whole = await get('limit=1000');
    expect(whole.items.length).toBeGreaterThan(100);
    const found: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const from: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page: ActiveSessionsPage = await get(`limit=37${from}`);
      found.push(...idsOf(page.items));
      expect([page.total, page.users]).toEqual([whole.total, whole.users]);
      cursor = page.next_cursor;
    }
    expect(found).toEqual(idsOf(whole.items));
  });

  it('are given again for as long as answers may be, and then as they are', async () => {
    const reusing = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      // Long enough for two questions in a row on a busy machine.
      settings: { limits: { reuse_ms: 1_500 } },
    });
    const totalOf = async () =>
      (await reusing.get<ActiveSessionsPage>('/api/v1/sessions/active?user=reused')).total;
    expect([await totalOf(), await totalOf()]).toEqual([0, 0]);
    expect(await reusing.registry.metrics()).toMatch(
      /sockscope_query_sql_reused_total\{[^}]*query="active_page"[^}]*\} [1-9]/,
    );
    const [event] = makeEvents({ seed: 10, sessions: 1, fromMs: NOW_MS - 1_000, toMs: NOW_MS });
    const started = { ...(event ?? expect.unreachable()), user: 'reused' };
    await insertBatch(database.clickhouse, [started]);
    await vi.waitFor(
      async () => {
        expect(await totalOf()).toBe(1);
      },
      { timeout: 60_000 },
    );
    await reusing.close();
  });
});

describe('session events', () => {
  async function timeline(id: string, limit: number) {
    const items: TimelinePage['items'] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const from: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page: TimelinePage = await api.get(
        `/api/v1/sessions/${id}/events?limit=${limit}${from}`,
      );
      items.push(...page.items);
      cursor = page.next_cursor;
    }
    return items;
  }

  it('are all of its events once, in order, for every page size', async () => {
    const id =
      world.sessions.find((row) => row.seq >= 4 && row.status === 'closed')?.session_id ??
      expect.unreachable();
    const events = world.events.filter((event) => event.session_id === id);
    for (const limit of [1, 2, 1_000]) {
      const items = await timeline(id, limit);
      expect(items.map((item) => item.seq)).toEqual(events.map((event) => event.seq));
      expect(items.every((item) => item.missing_before === 0)).toBe(true);
      expect(items.map((item) => item.delta)).toEqual(
        events.map((event) => (event.type === 'SessionStarted' ? null : event.delta)),
      );
      expect(items.at(-1)).toMatchObject({ type: 'SessionClosed', status: 'closed' });
    }
  });

  it('mark gaps and late events', async () => {
    const all = makeEvents({ seed: 99, sessions: 60, fromMs: NOW_MS - DAY_MS, toMs: NOW_MS });
    const long = all.find((event) => event.seq === 5)?.session_id ?? expect.unreachable();
    const events = all.filter((event) => event.session_id === long);
    const bySeq = (seqs: number[]) => events.filter((event) => seqs.includes(event.seq));
    await insertBatch(database.clickhouse, bySeq([0, 1, 5]));
    const [{ now } = { now: '' }] = await storedAt(long);
    await untilLater(now);
    await insertBatch(database.clickhouse, bySeq([3]));
    const items = await timeline(long, 2);
    expect(items.map(({ seq, missing_before, late }) => ({ seq, missing_before, late }))).toEqual([
      { seq: 0, missing_before: 0, late: false },
      { seq: 1, missing_before: 0, late: false },
      { seq: 3, missing_before: 1, late: true },
      { seq: 5, missing_before: 1, late: false },
    ]);
  });

  it('show the real end alone when a process assumed another one of the same seq', async () => {
    const log = makeEvents({ seed: 98, sessions: 60, fromMs: NOW_MS - DAY_MS, toMs: NOW_MS });
    const end = log.find((event) => event.type === 'SessionClosed' && event.status === 'closed');
    const { real, assumed } = endsOf(end === undefined ? [] : [end]);
    const before = log.filter((e) => e.session_id === real.session_id && e.seq < real.seq);
    await insertBatch(database.clickhouse, [...before, assumed]);
    expect((await timeline(real.session_id, 999)).at(-1)).toMatchObject({
      close_reason: 'proxy_crashed',
    });
    await insertBatch(database.clickhouse, [real]);
    const items = await timeline(real.session_id, 1_000);
    expect(items.map((item) => item.seq)).toEqual([...before, real].map((event) => event.seq));
    expect(items.at(-1)).toMatchObject({
      status: 'closed',
      close_reason: real.close_reason,
      bytes_sent: real.bytes_sent,
    });
  });

  async function storedAt(id: string) {
    const { z } = await import('zod');
    return database.clickhouse.query({
      sql: 'SELECT toString(max(ingested_at)) AS now FROM session_events WHERE session_id = {id:UUID}',
      params: { id },
      row: z.object({ now: z.string() }),
    });
  }

  /** Waits until the database's clock shows another millisecond than at the previous insert. */
  async function untilLater(than: string) {
    const { z } = await import('zod');
    for (;;) {
      const [row] = await database.clickhouse.query({
        sql: 'SELECT toString(now64(3)) AS now',
        row: z.object({ now: z.string() }),
      });
      if ((row?.now ?? '') > than) return;
    }
  }
});

describe('walking all pages while new sessions arrive', () => {
  it('gives each session that was there once', async () => {
    const before = new Set(idsOf(await walk('', 1_000)));
    const newcomers = makeEvents({
      seed: 6,
      sessions: 120,
      // Newer ones, and late ones that belong between those already walked.
      fromMs: NOW_MS - 20 * DAY_MS,
      toMs: NOW_MS + 60_000,
    });
    const ids = [...new Set(newcomers.map((event) => event.session_id))];
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const from: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page: SessionsPage = await api.get(`/api/v1/sessions?limit=40${from}`);
      seen.push(...idsOf(page.items as Session[]));
      cursor = page.next_cursor;
      const next = ids.splice(0, 8);
      await insertBatch(
        database.clickhouse,
        newcomers.filter((event) => next.includes(event.session_id)),
      );
    }
    expect(new Set(seen).size).toBe(seen.length);
    const seenSet = new Set(seen);
    expect([...before].filter((id) => !seenSet.has(id))).toEqual([]);
    expect(seen.every((id) => sessionStartMs(id) > 0)).toBe(true);
  });
});
