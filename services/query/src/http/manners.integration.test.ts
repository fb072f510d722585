import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { ClashConnections, Problem, Stats } from '@sockscope/schemas/api';
import { clashConnections, sessionsQuery } from '@sockscope/schemas/api';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { createKey } from '../auth/command.js';
import { filterOf, filtersOf } from '../filters/filters.js';
import { predicateOf } from '../filters/predicate.js';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertRows } from '../testing/load.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const DAY_MS = 86_400_000;

let database: TestDatabase;
let world: World;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 31, sessions: 300, fromMs: NOW_MS - 3 * DAY_MS, toMs: NOW_MS });
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 32, batches: 3 });
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
  await api.app.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

const get = (path: string, headers: Record<string, string> = {}) =>
  api.app.inject({ url: `/api/v1${path}`, headers });
const portOf = (app: TestApp) => (app.app.server.address() as AddressInfo).port;

describe('the document', () => {
  it('is the target of the bare address, and shows every question', async () => {
    const root = await api.app.inject({ url: '/' });
    expect([root.statusCode, root.headers.location]).toEqual([302, '/docs']);
    const docs = await api.app.inject({ url: '/docs' });
    expect(docs.statusCode).toBe(200);
    // With it the page would be blank on plain http from any host but loopback.
    expect(docs.headers['content-security-policy']).not.toContain('upgrade-insecure-requests');
    const { openapi, paths, components } = (await api.app.inject({ url: '/openapi.json' })).json<{
      openapi: string;
      paths: object;
      components: { securitySchemes: object };
    }>();
    expect(openapi).toBe('3.1.0');
    // The viewer's button Authorize is made of these.
    expect(Object.keys(components.securitySchemes)).toEqual(['bearer', 'apiKey']);
    expect(Object.keys(paths)).toContain('/api/v1/sessions');
  });
});

describe('caching', () => {
  const closed = [
    '/sessions?to=2026-03-13T20:00:00Z&status=closed',
    '/stats?from=2026-03-13&to=2026-03-14',
    '/top/users?from=2026-03-13&to=2026-03-14&limit=2',
    '/traffic?from=2026-03-13&to=2026-03-14',
    '/flows?from=2026-03-13&to=2026-03-14',
    '/users/user-0?from=2026-03-13&to=2026-03-14',
  ];

  it.each(closed)('lets a client keep %s, and answers 304 when nothing changed', async (path) => {
    const first = await get(path);
    expect(first.headers['cache-control']).toBe('private, max-age=60');
    const etag = first.headers['etag'] ?? '';
    expect(etag).toMatch(/^W\/".+"$/);
    // A moment later.
    const later = await createTestApp(database.clickhouse, { now: () => NOW_MS + 50 });
    const again = await later.app.inject({
      url: `/api/v1${path}`,
      headers: { 'if-none-match': `"x", ${etag}` },
    });
    await later.close();
    expect([again.statusCode, again.body]).toEqual([304, '']);
    const other = await get(path, { 'if-none-match': 'W/"other"' });
    expect(other.statusCode).toBe(200);
  });

  it.each([
    '/sessions',
    '/sessions?to=2026-03-15T13:36:00Z',
    '/sessions/active',
    '/stats',
    '/top/users?from=2026-03-13',
    '/traffic?from=2026-03-13&to=2026-03-15T13:36:00Z',
    // Its sessions have the figures of today.
    '/sessions/playback?from=2026-03-15&to=2026-03-15T12:00:00Z&step=1h&limit=200',
    '/explain?from=2026-03-13&to=2026-03-14&previous_from=2026-03-15&previous_to=2026-03-16',
  ])('forbids caching of %s, which still changes', async (path) => {
    const response = await get(path);
    expect(response.headers['cache-control']).toBe('no-store');
    expect(response.headers['etag']).toBeUndefined();
  });

  it('forbids caching of a problem', async () => {
    const response = await get('/sessions?foo=1');
    expect(response.headers['cache-control']).toBe('no-store');
  });

  it('keeps a closed session, not an open one', async () => {
    const old = world.sessions.find((row) => row.status === 'closed')?.session_id ?? '';
    const open = world.sessions.find((row) => row.status === 'active')?.session_id ?? '';
    expect((await get(`/sessions/${old}`)).headers['cache-control']).toMatch(/^private/);
    expect((await get(`/sessions/${open}`)).headers['cache-control']).toBe('no-store');
  });
});

describe('a client that goes away', () => {
  it('ends its question in ClickHouse', async () => {
    const { store } = api;
    const gone = new AbortController();
    const slow = store.ask(
      {
        name: 'slow',
        sql: `SELECT sleepEachRow(0.05) AS n, {mark:String} AS mark FROM numbers(6000)`,
        params: { mark: 'a client that goes away' },
        settings: { max_block_size: 1 },
        row: z.unknown(),
      },
      { signal: gone.signal },
    );
    const outcome = slow.then(
      () => 'answered',
      () => 'ended',
    );
    await vi.waitFor(async () => {
      expect(await running()).toBe(1);
    }, WAIT);
    gone.abort();
    expect(await outcome).toBe('ended');
    // Alone it would run for five minutes.
    await vi.waitFor(async () => {
      expect(await running()).toBe(0);
    }, WAIT);
  });

  async function running(): Promise<number> {
    const [row] = await database.clickhouse.query({
      sql: `SELECT count() AS n FROM system.processes
        WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%system.processes%'`,
      row: z.object({ n: z.coerce.number() }),
    });
    return row?.n ?? 0;
  }

  it('is noticed through the socket', async () => {
    const socket = connect(portOf(api), '127.0.0.1');
    await once(socket, 'connect');
    socket.write('GET /api/v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n');
    socket.destroy();
    await vi.waitFor(async () => {
      const text = await api.registry.metrics();
      expect(text).toMatch(/sockscope_query_http_aborted_total\{[^}]*\} [1-9]/);
    }, WAIT);
  });
});

describe('ClickHouse', () => {
  it('down makes 503 with Retry-After; up again, answers come again', async () => {
    const target = new URL(inject('clickhouseUrl'));
    const sockets = new Set<Socket>();
    let isUp = true;
    const relay: Server = createServer((client) => {
      if (!isUp) {
        client.destroy();
        return;
      }
      const upstream = connect(Number(target.port), target.hostname);
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => sockets.delete(socket));
      }
      client.pipe(upstream).pipe(client);
    });
    await new Promise<void>((resolve) => {
      relay.listen(0, '127.0.0.1', resolve);
    });
    const { port } = relay.address() as AddressInfo;
    const through = createClickHouse({ ...database.config, url: `http://127.0.0.1:${port}` });
    const cut = await createTestApp(through, { now: () => NOW_MS });
    const status = async (path: string) => {
      const response = await cut.app.inject({ url: path });
      return response.statusCode;
    };
    expect(await status('/api/v1/sessions')).toBe(200);
    isUp = false;
    for (const socket of sockets) socket.destroy();
    for (const path of ['/sessions', '/stats', '/traffic', '/sessions?format=csv', '/flows']) {
      const response = await cut.app.inject({ url: `/api/v1${path}` });
      expect([path, response.statusCode]).toEqual([path, 503]);
      expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
      expect(response.json<Problem>().code).toBe('store-unavailable');
    }
    isUp = true;
    for (const path of ['/sessions', '/stats', '/traffic', '/sessions?format=csv', '/flows']) {
      expect([path, await status(`/api/v1${path}`)]).toEqual([path, 200]);
    }
    await cut.close();
    await through.close();
    relay.close();
  });
});

describe('metrics', () => {
  it('show time per route and time and rows per query, and nothing about clients', async () => {
    await get('/sessions?user=user-0');
    const text = await api.registry.metrics();
    expect(text).toMatch(/http_request_duration_seconds_count\{[^}]*route="\/api\/v1\/sessions",/);
    expect(text).toMatch(/sql_rows_read_total\{[^}]*query="page_sessions_by_user"[^}]*\} [1-9]/);
    expect(text).not.toContain('user-0');
  });
});

describe('filters of live events', () => {
  it.each([
    { user: ['user-0', 'user-3'] },
    { status: ['closed', 'failed'] },
    { close_reason: ['idle_timeout'] },
    { dest_host: ['*.site-0.example', 'api.site-1.example'] },
    { dest_ip: ['198.51.100.0/25', '198.51.100.200'] },
    { source_ip: ['192.0.2.0/26', '::ffff:192.0.2.128/121'] },
    { source_ip: ['0.0.0.0/0'] },
    { egress_ip: ['::/0'] },
    { egress_ip: ['::/0'], source_ip: ['::/48', '192.0.2.0/26'] },
    { dest_port: ['443'], protocol: 'tcp' },
    { command: 'udp_associate' },
    { acl_decision: 'block' },
    { acl_rule_matched: ['rule-1', 'rule-2'] },
    { proxy_id: ['proxy-2'] },
    { min_duration_ms: '10000', max_duration_ms: '40500' },
    { min_bytes: '1000', max_bytes: '2000000' },
    { acl_rule_matched: ['', 'rule-1'] },
    { dest_ip: ['', '198.51.100.0/25'] },
    { dest_host: ['WWW.site-0.EXAMPLE'] },
    { dest_host: [String.raw`\*.evil.example`] },
    { dest_host: ['*.evil.example'] },
  ])('let the same sessions pass as the WHERE clause: %o', async (parameters) => {
    const filters = filtersOf(sessionsQuery.parse(parameters));
    const where = filterOf(filters);
    const rows = await database.clickhouse.query({
      sql: `SELECT session_id FROM sessions FINAL WHERE ${where.sql}`,
      params: where.params,
      row: z.object({ session_id: z.string() }),
    });
    const matches = predicateOf(filters);
    const expected = world.sessions.filter((row) => matches(row));
    expect(rows.map((row) => row.session_id).toSorted()).toEqual(
      expected.map((row) => row.session_id).toSorted(),
    );
    expect(expected.length).toBeGreaterThan(0);
  });
});

describe('connections', () => {
  it('are the open sessions in the form of mihomo', async () => {
    const answer = await api.get<ClashConnections>('/clash/connections');
    const open = world.sessions.filter((row) => row.status === 'active');
    expect(answer.connections).toHaveLength(open.length);
    expect(answer.downloadTotal).toBe(open.reduce((sum, row) => sum + row.bytes_received, 0));
    const row = open.find((each) => each.dest_ip !== null) ?? expect.unreachable();
    const found = answer.connections.find((each) => each.id === row.session_id);
    expect(found).toMatchObject({
      upload: row.bytes_sent,
      download: row.bytes_received,
      start: row.started_at,
      chains: [row.proxy_id],
      metadata: {
        network: row.protocol,
        sourceIP: row.source_ip,
        sourcePort: String(row.source_port),
        destinationIP: row.dest_ip,
        destinationPort: String(row.dest_port),
        host: row.dest_host,
        inboundUser: row.user,
      },
    });
  });

  it('come again and again by WebSocket, for those with a key', async () => {
    const guarded = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { auth: { methods: ['api_keys'] } },
    });
    await guarded.app.listen({ host: '127.0.0.1', port: 0 });
    const key = await createKey(database.clickhouse, { name: 'ws', scope: ['read'] }, NOW_MS);
    const url = `ws://127.0.0.1:${portOf(guarded)}/clash/connections`;
    const socket = new WebSocket(`${url}?token=${key}&interval=200`);
    for (let i = 0; i < 2; i += 1) {
      const [data] = (await once(socket, 'message')) as [Buffer];
      const state = clashConnections.parse(JSON.parse(data.toString()));
      expect(state.connections.length).toBeGreaterThan(0);
    }
    for (const [path, status] of [
      [url, 401],
      [`${url}?token=ssk_wrong`, 401],
      [`${url}?token=${key}&foo=1`, 400],
      [`${url}/other?token=${key}`, 404],
    ] as const) {
      const refused = new WebSocket(path);
      refused.on('error', () => undefined);
      const [, response] = (await once(refused, 'unexpected-response')) as [
        unknown,
        { statusCode: number },
      ];
      expect([path.slice(url.length), response.statusCode]).toEqual([
        path.slice(url.length),
        status,
      ]);
    }
    const closed = once(socket, 'close');
    await guarded.close();
    const [code] = (await closed) as [number];
    expect(code).toBe(1001);
  });
});

describe('stats', () => {
  it('have the time of the answer and the freshness of the data', async () => {
    const answer = await api.get<Stats>('/api/v1/stats');
    expect(answer).toMatchObject({
      as_of: '2026-03-15T13:37:12.345Z',
      data_until: null,
      resolution: 'minute',
      stale_hours: 0,
      waiting_partitions: [],
    });
  });

  it('name the partitions that wait, if they lack something at the end of the range', async () => {
    const topic = 'sockscope.session-events.v1';
    await insertRows(database.clickhouse, 'ingest_watermarks', [
      { topic, partition: 3, watermark: '2026-03-14T10:00:00.000Z', next_offset: 7, caught_up: 0 },
    ]);
    await insertRows(database.clickhouse, 'ingest_waits', [
      wait(3, 1, '2026-03-14T10:00:05.000Z'),
      wait(4, 0, '2026-03-14T10:00:05.000Z'),
    ]);
    const own = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    const waiting = async (range: string) =>
      (await own.get<Stats>(`/api/v1/stats?${range}`)).waiting_partitions;
    expect(await waiting('')).toEqual([
      {
        topic,
        partition: 3,
        kind: 'damaged',
        since: '2026-03-14T10:00:05.000Z',
        data_until: '2026-03-14T10:00:00.000Z',
      },
    ]);
    expect(await waiting('period=2026-03-13')).toEqual([]);
    await own.close();

    function wait(partition: number, is_waiting: 0 | 1, since: string) {
      return {
        topic,
        partition,
        is_waiting,
        offset: 7,
        kind: 'damaged',
        reason: '',
        needed_version: 0,
        since,
      };
    }
  });
});
