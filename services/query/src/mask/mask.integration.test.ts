import type { AddressInfo } from 'node:net';
import type { SessionRow } from '@sockscope/schemas';
import type { Explain, Session, Traffic } from '@sockscope/schemas/api';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createKey } from '../auth/command.js';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertBatch } from '../testing/load.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';
import { createMask, truncateAddress } from './mask.js';

const NOW_MS = Date.now();
const DAY_MS = 86_400_000;
const KEY = 'a secret of more than thirty-two characters';

let database: TestDatabase;
let world: World;
let readKey: string;
let adminKey: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 3, sessions: 200, fromMs: NOW_MS - 3_600_000, toMs: NOW_MS });
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 4, batches: 2 });
  const make = (scope: string[]) => createKey(database.clickhouse, { name: 'm', scope }, NOW_MS);
  readKey = await make(['read', 'export']);
  adminKey = await make(['admin']);
});

afterAll(async () => {
  await database.drop();
});

const RANGE = `from=${new Date(NOW_MS - DAY_MS).toISOString()}&to=${new Date(NOW_MS + DAY_MS).toISOString()}`;
const PATHS = [
  '/sessions?limit=1000',
  `/sessions?limit=1000&at=${NOW_MS}`,
  '/sessions/playback?limit=200&step=2m',
  '/lookup?egress_ip=203.0.113.7&limit=1000',
  '/lookup/evidence?egress_ip=203.0.113.7&limit=50',
  '/lookup/evidence?egress_ip=203.0.113.7&limit=50&format=html',
  `/explain?limit=50&${RANGE}`,
  `/signals/mail?${RANGE}`,
  '/sessions/active?limit=1000',
  '/sessions?format=ndjson',
  '/sessions?format=csv',
  `/stats?${RANGE}`,
  `/top/users?limit=100&${RANGE}`,
  `/top/users?format=csv&${RANGE}`,
  `/top/sources?limit=100&${RANGE}`,
  `/top/sources?format=ndjson&${RANGE}`,
  `/traffic?split=user&series=20&${RANGE}`,
  `/traffic?split=user&format=csv&${RANGE}`,
  `/flows?limit=500&${RANGE}`,
  `/destinations/www.site-0.example?${RANGE}`,
  `/top/users?limit=5&previous=true&${RANGE}`,
  `/traffic?split=source_ip&series=20&${RANGE}`,
  `/traffic?split=user&shape=rows&${RANGE}`,
];

/** Every route of the document that answers a GET and ends, so that a new one cannot be forgotten. */
async function routesOf({ app }: TestApp): Promise<string[]> {
  await app.ready();
  const { paths } = app.swagger() as { paths: Record<string, { get?: object }> };
  const closed = world.sessions.find((row) => row.status === 'closed');
  return Object.keys(paths)
    .filter((path) => paths[path]?.get !== undefined && !path.startsWith('/api/v1/stream'))
    .map((path) =>
      `${path}${/lookup(?:\/evidence)?$/.test(path) ? '?egress_ip=203.0.113.7' : ''}`
        .replace('{field}', 'source_ip')
        .replace('{kind}', 'shared_account')
        .replace('{session_id}', closed?.session_id ?? '')
        .replace('{user}', 'user-0')
        .replace('{dest_host}', 'www.site-0.example'),
    );
}

describe.each([
  { addresses: 'hmac', users: 'hmac', key: KEY },
  { addresses: 'truncate', users: 'hmac', key: KEY },
  { addresses: 'truncate', users: 'none' },
] as const)('with the mask %o', (config) => {
  let api: TestApp;
  const mask = createMask({ key: '', ...config });

  beforeAll(async () => {
    api = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { auth: { methods: ['api_keys'] }, mask: config },
    });
  });
  afterAll(async () => {
    await api.close();
  });

  async function get(path: string, key: string) {
    return api.app.inject({ url: `/api/v1${path}`, headers: { 'x-api-key': key } });
  }

  it('no answer shows a masked value, and callers with admin see all', async () => {
    const users = [...new Set(world.sessions.map((row) => row.user))].filter((user) =>
      user.startsWith('user-'),
    );
    const addresses = [...new Set(world.sessions.map((row) => row.source_ip))].filter(
      (ip) => !ip.endsWith('.0'),
    );
    const asked = PATHS.map((path) => `/api/v1${path}`);
    const others = await routesOf(api);
    expect(others.length).toBeGreaterThan(30);
    for (const path of [...asked, ...others]) {
      const headers = { 'x-api-key': readKey };
      const { body, statusCode } = await api.app.inject({ url: path, headers });
      // The others may need another scope, or name a user who is shown under another name.
      const expected = asked.includes(path) ? [200] : [200, 403, 404];
      expect([path, expected.includes(statusCode)]).toEqual([path, true]);
      if (config.users === 'hmac') {
        const shown = users.filter((user) => new RegExp(`"${user}"`).test(body));
        expect([path, shown]).toEqual([path, []]);
      }
      const shown = addresses.filter((ip) => body.includes(`"${ip}"`));
      expect([path, shown]).toEqual([path, []]);
    }
    const { body } = await get('/sessions?limit=1000', adminKey);
    const first = world.sessions[0]?.source_ip ?? '';
    expect(body).toContain(`"${first}"`);
  });

  it('an export masks like the pages do', async () => {
    const page = await get('/sessions?limit=1000', readKey);
    const exported = await get('/sessions?format=ndjson', readKey);
    const lines = exported.body.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as Session)).toEqual(
      page.json<{ items: Session[] }>().items,
    );
  });

  it('the SQL of the mask is the mask', async () => {
    const names = ['alice', 'anonymous', '', 'ünï', `o'brien\u0000`];
    const ips = ['192.0.2.77', '2001:db8:1:2:3:4:5:6', '::1', '::ffff:10.1.2.3', '::10.1.2.3'];
    const rows = await database.clickhouse.query({
      sql: `SELECT arrayMap(n -> ${mask.userSql('n')}, {names:Array(String)}) AS names,
        arrayMap(i -> ${mask.addressSql('toIPv6(i)')}, {ips:Array(String)}) AS ips`,
      params: { ...mask.params, names, ips },
      row: z.object({ names: z.array(z.string()), ips: z.array(z.string()) }),
    });
    const plain = ips.map((ip) => ip.replace('::ffff:', ''));
    expect(rows).toEqual([
      { names: names.map((name) => mask.user(name)), ips: plain.map((ip) => mask.address(ip)) },
    ]);
  });

  it.each(['', '&protocol=tcp', '&dest_port=443', '&proxy_id=proxy-1&dest_port=443'])(
    'a change is explained by shown values, with the filter "%s"',
    async (filter) => {
      const path = `/explain?limit=50&measure=sessions_started&${RANGE}${filter}`;
      const { fields } = (await get(path, readKey)).json<Explain>();
      const passing = world.sessions.filter(
        (row) =>
          (!filter.includes('protocol') || row.protocol === 'tcp') &&
          (!filter.includes('dest_port') || row.dest_port === 443) &&
          (!filter.includes('proxy_id') || row.proxy_id === 'proxy-1'),
      );
      const shown = {
        user: ({ user }) => mask.user(user),
        source_ip: ({ source_ip }) => mask.address(source_ip),
        dest_host: ({ dest_host }) => dest_host,
        dest_port: ({ dest_port }) => String(dest_port),
        proxy_id: ({ proxy_id }) => proxy_id,
      } satisfies Record<string, (row: SessionRow) => string>;
      for (const [field, valueOf] of Object.entries(shown)) {
        const counts = new Map<string, number>();
        for (const row of passing) counts.set(valueOf(row), (counts.get(valueOf(row)) ?? 0) + 1);
        const items = fields.find((each) => each.field === field)?.items ?? [];
        const sizes = [...counts.values()].toSorted((a, b) => b - a).slice(0, 50);
        expect([field, items.map(({ current }) => current)]).toEqual([field, sizes]);
        for (const { value, current } of items) expect(counts.get(String(value))).toBe(current);
        // Equal changes are in the order of the shown values.
        const order = items.toSorted(
          (a, b) => b.current - a.current || (String(a.value) < String(b.value) ? -1 : 1),
        );
        expect(items).toEqual(order);
      }
    },
  );

  it('nothing is suggested for masked fields', async () => {
    const masked = [
      ...(config.users === 'hmac' ? ['user'] : []),
      ...(config.addresses === 'hmac' || config.addresses === 'truncate' ? ['source_ip'] : []),
    ];
    for (const field of masked) {
      const { items } = (await get(`/suggest/${field}`, readKey)).json<{ items: unknown[] }>();
      expect([field, items]).toEqual([field, []]);
    }
  });

  it('filters by the shown value, and a guess finds nothing', async () => {
    const own = world.sessions.filter((row) => row.user === 'user-0');
    const shown = mask.user('user-0');
    const count = async (user: string) => {
      const response = await get(`/sessions?limit=1000&user=${encodeURIComponent(user)}`, readKey);
      return response.json<{ items: Session[] }>().items.length;
    };
    expect(await count(shown)).toBe(own.length);
    if (config.users === 'hmac') {
      expect(await count('user-0')).toBe(0);
      expect(await count('u_0000000000000000')).toBe(0);
      expect((await get('/users/user-0', readKey)).statusCode).toBe(404);
    }
    const profile = await get(`/users/${shown}`, readKey);
    expect(profile.json<{ user: string }>()).toMatchObject({ user: shown });
  });

  it('a series by source has a line for each shown value', async () => {
    const path = `/traffic?split=source_ip&series=20&sort=sessions_started&${RANGE}`;
    const { series } = (await get(path, readKey)).json<Traffic>();
    const shown = new Map<string, { started: number; open: number }>();
    for (const { source_ip, status } of world.sessions) {
      const key = mask.address(source_ip);
      const counts = shown.get(key) ?? { started: 0, open: 0 };
      counts.started += 1;
      if (status === 'active') counts.open += 1;
      shown.set(key, counts);
    }
    expect(series.filter(({ other }) => !other)).toHaveLength(Math.min(20, shown.size));
    for (const line of series.filter(({ other }) => !other)) {
      const started = line.sessions_started?.reduce((sum, count) => sum + count, 0);
      const counts = { started, open: line.sessions_open?.at(-1) };
      expect([line.key, counts]).toEqual([line.key, shown.get(String(line.key))]);
    }
  });

  it('addresses cannot be narrowed down further than they are shown', async () => {
    const found = await get('/sessions?limit=1000&source_ip=192.0.2.7', readKey);
    if (config.addresses === 'hmac') {
      expect(found.statusCode).toBe(403);
      return;
    }
    // The whole network that the address lies in.
    expect(found.json<{ items: Session[] }>().items).toHaveLength(world.sessions.length);
    const sources = await get(`/top/sources?limit=100&sort=sessions_started&${RANGE}`, readKey);
    const items = sources.json<{ items: { source_ip: string; sessions_started: number }[] }>()
      .items;
    expect(items).toEqual([
      expect.objectContaining({ source_ip: '192.0.2.0', sessions_started: world.sessions.length }),
    ]);
  });
});

describe('truncateAddress', () => {
  it.each([
    ['192.0.2.77', '192.0.2.0'],
    ['2001:db8:1:2::3', '2001:db8:1::'],
    ['::ffff:192.0.2.77', '192.0.2.0'],
    ['::1', '::'],
    ['::192.0.2.77', '::'],
  ])('of %s is %s', (ip, network) => {
    expect(truncateAddress(ip)).toBe(network);
  });
});

// Last: it stores sessions that the other tests do not know.
describe('a stream for a key that sees masked users', () => {
  let api: TestApp;
  const config = { addresses: 'hmac', users: 'hmac', key: KEY } as const;
  const mask = createMask(config);

  beforeAll(async () => {
    api = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { auth: { methods: ['api_keys'] }, mask: config },
    });
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    return () => api.close();
  });

  const stream = (parameters: string) => {
    const { port } = api.app.server.address() as AddressInfo;
    return fetch(`http://127.0.0.1:${port}/api/v1/stream?${parameters}`, {
      headers: { 'x-api-key': readKey },
    });
  };

  it('takes no place if it is refused', async () => {
    // The app of a test lets a key have two.
    for (let i = 0; i < 4; i += 1) {
      expect((await stream('source_ip=192.0.2.7')).status).toBe(403);
    }
  });

  it('has a user that was not known before', async () => {
    const shown = mask.user('late');
    const response = await stream(`type=started&user=${shown}`);
    expect(response.status).toBe(200);
    const random = seededRandom(9);
    const log = (user: string) =>
      sessionLog({ random, startMs: Date.now() - 100, user, intervals: 0 });
    await insertBatch(database.clickhouse, [...log('user-0'), ...log('late')]);
    let text = '';
    for await (const chunk of (response.body ?? expect.unreachable()).pipeThrough(
      new TextDecoderStream(),
    )) {
      text += chunk;
      if (text.includes('event: started')) break;
    }
    expect(text).toContain(`"user":"${shown}"`);
    expect(text).not.toContain(mask.user('user-0'));
  });
});
