/** Longer than 400 lines: all ways to sign in are tried on one database, which takes seconds to make. */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Problem, Session } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { CryptoKey } from 'jose';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';
import { createKey, revokeKey } from './command.js';
import { SUSPECTS_RUNNING_MAX, SUSPECTS_WAITING_MAX } from './config.js';
import { listKeys } from './key-table.js';
import { KEY_REUSE_MS } from './keys.js';

const DAY_MS = 86_400_000;
/** The clock of the app; tests move it. */
let nowMs = Date.now();
const encoded = encodeURIComponent;

let database: TestDatabase;
let world: World;
let api: TestApp;
let base: string;
let keys: Record<'none' | 'read' | 'export' | 'both' | 'admin' | 'tied', string>;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 5, sessions: 300, fromMs: nowMs - 3 * DAY_MS, toMs: nowMs });
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 6, batches: 3 });
  api = await createTestApp(database.clickhouse, {
    now: () => nowMs,
    settings: { auth: { methods: ['api_keys'] } },
  });
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(api.app.server.address() as AddressInfo).port}`;
  const make = (scope: string[], user?: string) =>
    createKey(
      database.clickhouse,
      { name: 'test', scope, ...(user === undefined ? {} : { user: [user] }) },
      nowMs,
    );
  keys = {
    none: await make([]),
    read: await make(['read']),
    export: await make(['export']),
    both: await make(['read', 'export']),
    admin: await make(['admin']),
    tied: await make(['read', 'export'], 'user-0'),
  };
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

interface Operation {
  readonly 'x-audience'?: 'untied';
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
}

/** Required parameters of a route. */
const NEEDED: Readonly<Record<string, string>> = {
  '/api/v1/lookup': '?dest_ip=198.51.100.7',
  '/api/v1/lookup/evidence': '?dest_ip=198.51.100.7',
};
/** Routes that need another scope than read. */
const SCOPES_NEEDED: Readonly<Record<string, 'export' | 'admin'>> = {
  '/api/v1/lookup/evidence': 'export',
  '/api/v1/keys': 'admin',
  '/api/v1/audit': 'admin',
  '/api/v1/sign-ins': 'admin',
};
const needOf = (path: string) => SCOPES_NEEDED[path.split('?')[0] ?? ''] ?? 'read';

const document = () =>
  api.app.swagger() as { paths: Record<string, Readonly<Record<string, Operation>>> };

/** Every route of the OpenAPI document that changes something. */
function writes(): { method: 'POST' | 'DELETE'; path: string; isUntied: boolean }[] {
  return Object.entries(document().paths).flatMap(([path, operations]) =>
    (['POST', 'DELETE'] as const)
      .filter((method) => operations[method.toLowerCase()] !== undefined)
      .map((method) => ({
        method,
        isUntied: operations[method.toLowerCase()]?.['x-audience'] === 'untied',
        path: path
          .replace('{key_id}', '0'.repeat(12))
          .replace('{sign_in_id}', '0'.repeat(64))
          .replace('{annotation_id}', '019c0f6e-9c10-7c11-a1b2-c3d4e5f60718'),
      })),
  );
}

/** Every readable route of the OpenAPI document, with a session, a user and a destination that exist. */
function routes(isWanted: (path: string, get: Operation) => boolean = () => true): string[] {
  const { paths } = document();
  const closed = world.sessions.find((row) => row.user === 'user-0' && row.status === 'closed');
  const readable = Object.keys(paths).filter((path) => {
    const get = paths[path]?.['get'];
    return get !== undefined && isWanted(path, get);
  });
  return readable.map((path) =>
    `${path}${NEEDED[path] ?? ''}`
      .replace('{field}', 'dest_host')
      .replace('{kind}', 'beacon')
      .replace('{session_id}', closed?.session_id ?? '')
      .replace('{user}', 'user-0')
      .replace('{dest_host}', encoded(closed?.dest_host ?? '')),
  );
}

async function call(path: string, key?: string) {
  return api.app.inject({
    method: 'GET',
    url: path,
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
  });
}

async function statusOf(path: string, key?: string): Promise<number> {
  if (!path.startsWith('/api/v1/stream')) return (await call(path, key)).statusCode;
  // An open stream has no end, so it is asked for through a socket that can be closed.
  const gone = new AbortController();
  const response = await fetch(`${base}${path}`, {
    signal: gone.signal,
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
  });
  gone.abort();
  return response.status;
}

describe('every route', () => {
  it('is known to the document', () => {
    expect(routes().length).toBeGreaterThanOrEqual(18);
  });

  it('refuses requests without a key, with a wrong key, or with an empty header', async () => {
    for (const path of routes()) {
      expect([path, await statusOf(path)]).toEqual([path, 401]);
      const wrong = `${keys.read.slice(0, -3)}AAA`;
      expect([path, await statusOf(path, wrong)]).toEqual([path, 401]);
      nowMs += 60_000;
    }
    const response = await call('/api/v1/stats');
    expect(response.headers['www-authenticate']).toMatch(/^Bearer/);
    expect(response.headers['content-type']).toMatch(/^application\/problem\+json/);
  });

  it('refuses a key without the scope read, and answers one with it', async () => {
    for (const path of routes()) {
      expect([path, await statusOf(path, keys.none)]).toEqual([path, 403]);
      expect([path, await statusOf(path, keys.export)]).toEqual([path, 403]);
      const allowed = needOf(path) === 'read' ? 200 : 403;
      expect([path, await statusOf(path, keys.read)]).toEqual([path, allowed]);
      expect([path, await statusOf(path, keys.admin)]).toEqual([path, 200]);
    }
  });

  it('that changes something refuses strangers, lower scopes and pages of other sites', async () => {
    const ours = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' };
    const write = async (
      { method, path }: ReturnType<typeof writes>[number],
      headers: Readonly<Record<string, string>>,
    ) => {
      const answer = await api.app.inject({ method, url: path, headers, payload: {} });
      return answer.statusCode;
    };
    expect(writes().length).toBeGreaterThanOrEqual(4);
    for (const route of writes()) {
      expect([route, await write(route, ours)]).toEqual([route, 401]);
      for (const key of [keys.none, keys.read, keys.export]) {
        const status = await write(route, { ...ours, 'x-api-key': key });
        expect([route, status]).toEqual([route, 403]);
      }
      const tied = await write(route, { ...ours, 'x-api-key': keys.tied });
      expect([route, tied]).toEqual([route, route.isUntied ? 404 : 403]);
      for (const site of ['cross-site', 'same-site', 'none']) {
        const headers = { ...ours, 'sec-fetch-site': site, 'x-api-key': keys.admin };
        expect([route, site, await write(route, headers)]).toEqual([route, site, 403]);
      }
      // An allowed caller gets the problem with the empty body, or a 404.
      const status = await write(route, { ...ours, 'x-api-key': keys.admin });
      expect([route, [400, 404].includes(status)]).toEqual([route, true]);
      nowMs += 60_000;
    }
  });

  it('that exports needs the scope export for it', async () => {
    for (const path of ['/sessions', '/top/users', '/top/ports', '/traffic']) {
      for (const format of ['csv', 'ndjson', 'parquet']) {
        const url = `/api/v1${path}?format=${format}`;

        expect([url, await statusOf(url, keys.read)]).toEqual([url, 403]);
        expect([url, await statusOf(url, keys.both)]).toEqual([url, 200]);
        expect([url, await statusOf(url, keys.admin)]).toEqual([url, 200]);
      }
    }
  });

  it('shows a key that is tied to a user no data of other users', async () => {
    const others = [...new Set(world.sessions.map((row) => row.user))].filter(
      (user) => user !== 'user-0' && user.startsWith('user-'),
    );
    const foreignIds = world.sessions
      .filter((row) => row.user !== 'user-0')
      .map((row) => row.session_id);
    expect(others.length).toBeGreaterThan(3);
    const paths = routes((_path, get) => get['x-audience'] !== 'untied')
      .filter((path) => !path.startsWith('/api/v1/stream'))
      .flatMap((path) => [
        path,
        ...(hasFilters(path) ? others.map((u) => `${path}?user=${u}`) : []),
      ]);
    const exports = ['/api/v1/sessions?format=ndjson', '/api/v1/top/users?format=csv'];
    for (const path of [...paths, ...exports]) {
      const { body, statusCode } = await call(path, keys.tied);
      expect([path, statusCode]).toEqual([path, 200]);
      for (const secret of [...others, ...foreignIds]) {
        expect([path, body.includes(`"${secret}"`)]).toEqual([path, false]);
      }
    }
  });

  function hasFilters(path: string): boolean {
    return ['/sessions', '/active', '/traffic', '/flows', '/users', '/ports'].some((end) =>
      path.endsWith(end),
    );
  }
});

describe('a key that is tied to a user', () => {
  it('has the routes of its portal, and finds every other one exactly as missing', async () => {
    const strip = (text: string) => ({ ...(JSON.parse(text) as Problem), request_id: '' });
    const absent = await call('/api/v1/nothing', keys.tied);
    expect(absent.statusCode).toBe(404);
    const isUntied = (_path: string, get: Operation) => get['x-audience'] === 'untied';
    const hidden = routes(isUntied);
    // Before a scope is missing, and before the question is looked at.
    for (const path of [...hidden, ...hidden.map((each) => `${each.split('?')[0]}?wrong=1`)]) {
      const { statusCode, body, headers } = await call(path, keys.tied);
      expect([path, statusCode]).toEqual([path, 404]);
      expect(strip(body)).toEqual(strip(absent.body));
      expect(Object.keys(headers)).toEqual(Object.keys(absent.headers));
    }
    const portal = Object.keys(document().paths).filter((path) => {
      const get = document().paths[path]?.['get'];
      return get !== undefined && !isUntied(path, get);
    });
    expect(portal.filter((path) => !path.startsWith('/api/v1/top/')).toSorted()).toEqual([
      '/api/v1/lookup',
      '/api/v1/lookup/evidence/keys',
      '/api/v1/me',
      '/api/v1/sessions',
      '/api/v1/sessions/active',
      '/api/v1/sessions/playback',
      '/api/v1/sessions/{session_id}',
      '/api/v1/sessions/{session_id}/events',
      '/api/v1/stats',
      '/api/v1/stream',
      '/api/v1/stream/active',
      '/api/v1/suggest/{field}',
      '/api/v1/traffic',
      '/clash/configs',
      '/clash/connections',
      '/clash/version',
    ]);
  });

  it('finds another user, or a session of one, exactly as missing', async () => {
    const foreign = world.sessions.find((row) => row.user !== 'user-0')?.session_id ?? '';
    const missing = '019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f';
    const strip = (text: string) => ({ ...(JSON.parse(text) as Problem), request_id: '' });
    for (const [there, notThere] of [
      [`/sessions/${foreign}`, `/sessions/${missing}`],
      [`/sessions/${foreign}/events`, `/sessions/${missing}/events`],
      ['/users/user-1', '/users/nobody'],
    ]) {
      const hidden = await call(`/api/v1${there}`, keys.tied);
      const absent = await call(`/api/v1${notThere}`, keys.tied);
      expect(hidden.statusCode).toBe(404);
      expect(strip(hidden.body)).toEqual(strip(absent.body));
    }
  });

  it('sees its own sums alone', async () => {
    const own = world.sessions.filter((row) => row.user === 'user-0');
    const from = new Date(nowMs - 10 * DAY_MS).toISOString();
    const to = new Date(nowMs + DAY_MS).toISOString();
    const { body } = await call(`/api/v1/stats?from=${from}&to=${to}`, keys.tied);
    const stats = JSON.parse(body) as {
      current: { sessions_started: number; unique_users: number };
    };
    expect(stats.current).toMatchObject({ sessions_started: own.length, unique_users: 1 });
  });
});

describe('keys', () => {
  const url = '/clash/version';

  it('end when they are revoked, within ten seconds', async () => {
    const key = await createKey(database.clickhouse, { name: 'x', scope: ['read'] }, nowMs);
    expect(await statusOf(url, key)).toBe(200);
    const id = key.split('_')[1] ?? '';
    await revokeKey(database.clickhouse, id, nowMs);
    nowMs += KEY_REUSE_MS;
    expect(await statusOf(url, key)).toBe(401);
    await expect(revokeKey(database.clickhouse, 'nothing', nowMs)).rejects.toThrow(/no key/);
  });

  it('end when their time is over', async () => {
    const key = await createKey(
      database.clickhouse,
      { name: 'x', scope: ['read'], expires: '1h' },
      nowMs,
    );
    expect(await statusOf(url, key)).toBe(200);
    nowMs += 3_600_000;
    expect(await statusOf(url, key)).toBe(401);
  });

  it('are stored as hashes', async () => {
    const key = await createKey(database.clickhouse, { name: 'secret', scope: ['read'] }, nowMs);
    const stored = JSON.stringify(await listKeys(database.clickhouse));
    expect(stored).toContain(key.split('_')[1]);
    expect(stored).not.toContain(key.split('_').slice(2).join('_'));
  });

  it('refuse unknown scopes, empty names and senseless times', async () => {
    const make = (options: object) =>
      createKey(database.clickhouse, { name: 'x', scope: ['read'], ...options }, nowMs);
    await expect(make({ scope: ['root'] })).rejects.toThrow(/unknown scope root/);
    await expect(make({ name: '' })).rejects.toThrow(/name/);
    await expect(make({ expires: 'soon' })).rejects.toThrow(/duration/);
    await expect(make({ user: [''] })).rejects.toThrow(/user/);
  });

  it('are not guessed: after thirty wrong ones an address waits a minute', async () => {
    const own = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['api_keys'] } },
    });
    const ask = async (key: string) => {
      const response = await own.app.inject({ url, headers: { 'x-api-key': key } });
      return response.statusCode;
    };
    const statuses: number[] = [];
    for (let i = 0; i < 35; i += 1) {
      statuses.push(await ask(`ssk_${i}`));
    }
    expect(statuses).toEqual(Array.from({ length: 35 }, (_, i) => (i < 30 ? 401 : 429)));
    // Others behind the same address have done nothing wrong.
    expect(await ask(keys.read)).toBe(200);
    expect(await ask('ssk_36')).toBe(429);
    nowMs += 60_000;
    expect(await ask('ssk_37')).toBe(401);
    await own.close();
  });

  it('that are guessed are looked up a few at a time, and other keys without delay', async () => {
    const own = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      // A place comes in time on a busy machine too.
      settings: { auth: { methods: ['api_keys'] }, limits: { wait_max_ms: 60_000 } },
    });
    const guess = (i: number) => `ssk_${i.toString(16).padStart(12, '0')}_${'A'.repeat(43)}`;
    const ask = async (key: string, remoteAddress: string) => {
      const response = await own.app.inject({ url, remoteAddress, headers: { 'x-api-key': key } });
      return response.statusCode;
    };
    for (const from of ['192.0.2.1', '192.0.2.3']) {
      for (let i = 0; i < 30; i += 1) {
        expect(await ask(guess(i), from)).toBe(401);
      }
    }
    const flood = Array.from({ length: 150 }, (_, i) => ask(guess(100 + i), '192.0.2.1'));
    // Guesses of one address leave places to others, even to those that made mistakes.
    const mistake = ask(guess(99), '192.0.2.3');
    expect(await ask(keys.read, '192.0.2.2')).toBe(200);
    expect(await mistake).toBe(429);
    const refused = (await Promise.all(flood)).filter((status) => status === 503).length;
    expect(refused).toBe(150 - SUSPECTS_RUNNING_MAX / 2 - SUSPECTS_WAITING_MAX / 4);
    await own.close();
  });

  it('are counted by the address that a trusted proxy names, and by no other', async () => {
    for (const [trustedProxies, lockedOut] of [
      [['10.0.0.0/8'], false],
      [[], true],
    ] as const) {
      const own = await createTestApp(database.clickhouse, {
        now: () => nowMs,
        settings: {
          auth: { methods: ['api_keys'] },
          http: { trusted_proxies: [...trustedProxies] },
        },
      });
      const ask = async (client: string) => {
        const response = await own.app.inject({
          url,
          remoteAddress: '10.1.2.3',
          headers: { 'x-api-key': 'ssk_wrong', 'x-forwarded-for': client },
        });
        return response.statusCode;
      };
      for (let i = 0; i < 30; i += 1) expect(await ask('192.0.2.1')).toBe(401);
      expect(await ask('192.0.2.1')).toBe(429);
      expect(await ask('192.0.2.2')).toBe(lockedOut ? 429 : 401);
      // A client's own entries in front of the proxy's entry are ignored.
      expect(await ask('192.0.2.9, 192.0.2.1')).toBe(429);
      await own.close();
    }
  });

  it('are made, listed and revoked on the command line', async () => {
    const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
    const run = async (...args: string[]) =>
      promisify(execFile)(process.execPath, [main, 'keys', ...args], {
        env: {
          PATH: process.env['PATH'],
          CLICKHOUSE_URL: database.config.url,
          CLICKHOUSE_DATABASE: database.config.database,
        },
      });
    const { stdout: key } = await run(
      'create',
      '--name',
      'cli\tkey',
      '--scope',
      'read',
      '--user',
      'u',
    );
    expect(key.trim()).toMatch(/^ssk_[0-9a-f]{12}_[\w-]{43}$/);
    const id = key.split('_')[1] ?? '';
    const shown = async () => {
      const { stdout } = await run('list');
      const lines = stdout.trim().split('\n');
      return JSON.parse(lines.find((line) => line.includes(id)) ?? '{}') as Record<string, unknown>;
    };
    expect(await shown()).toMatchObject({ name: 'cli\tkey', users: ['u'], state: 'valid' });
    await run('revoke', id);
    expect(await shown()).toMatchObject({ state: 'revoked' });
    await expect(run('revoke', 'nothing')).rejects.toMatchObject({ code: 1 });
  });
});

describe('tokens', () => {
  let issuer: Server;
  let issuerUrl: string;
  let privateKey: CryptoKey;
  let isUp = true;
  let tokens: TestApp;

  beforeAll(async () => {
    const pair = await generateKeyPair('ES256');
    ({ privateKey } = pair);
    const jwk = { ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' };
    issuer = createServer((request, response) => {
      if (!isUp) {
        response.writeHead(500).end();
        return;
      }
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify(
          request.url === '/jwks'
            ? { keys: [jwk] }
            : { issuer: issuerUrl, jwks_uri: `${issuerUrl}/jwks` },
        ),
      );
    });
    await new Promise<void>((resolve) => {
      issuer.listen(0, '127.0.0.1', resolve);
    });
    issuerUrl = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
    tokens = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['jwt'], jwt_issuer: issuerUrl, jwt_audience: 'sockscope' } },
    });
  });

  afterAll(async () => {
    await tokens.close();
    issuer.close();
  });

  interface Claims {
    readonly scope?: unknown;
    readonly sockscope_user?: unknown;
  }

  async function token(
    claims: Claims,
    of: { audience?: string; issuer?: string; expires?: string; key?: CryptoKey } = {},
  ): Promise<string> {
    return new SignJWT({ ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setSubject('someone')
      .setIssuer(of.issuer ?? issuerUrl)
      .setAudience(of.audience ?? 'sockscope')
      .setIssuedAt()
      .setExpirationTime(of.expires ?? '1h')
      .sign(of.key ?? privateKey);
  }

  async function status(text: string, url = '/api/v1/stats'): Promise<number> {
    nowMs += 60_000;
    const response = await tokens.app.inject({ url, headers: { authorization: `Bearer ${text}` } });
    return response.statusCode;
  }

  it('of the issuer, for us, with a scope, let in', async () => {
    expect(await status(await token({ scope: 'openid sockscope:read sockscope:all_users' }))).toBe(
      200,
    );
    expect(await status(await token({ scope: ['sockscope:admin'] }))).toBe(200);
    expect(await status(await token({ scope: 'read admin' }))).toBe(403);
    // A key without a user sees all users, so its scope must allow that.
    expect(await status(await token({ scope: 'sockscope:read' }))).toBe(403);
    expect(await status(await token({}))).toBe(403);
  });

  it('of others, for others, of old, or with a wrong signature do not', async () => {
    const { privateKey: other } = await generateKeyPair('ES256');
    const scope = { scope: 'sockscope:read sockscope:all_users' };
    for (const text of [
      await token(scope, { audience: 'another' }),
      await token(scope, { issuer: 'https://evil.example' }),
      await token(scope, { expires: '-1h' }),
      await token(scope, { key: other }),
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.`,
      'a.b.c',
      'x',
      'ey'.repeat(3_000),
      keys.admin,
    ]) {
      expect([text.slice(0, 40), await status(text)]).toEqual([text.slice(0, 40), 401]);
    }
  });

  it('that are tied to a user see its sessions alone; to something else, nothing', async () => {
    const tied = await token({ scope: 'sockscope:read', sockscope_user: 'user-1' });
    const response = await tokens.app.inject({
      url: '/api/v1/sessions?limit=1000',
      headers: { authorization: `Bearer ${tied}` },
    });
    const { items } = response.json<{ items: Session[] }>();
    expect(new Set(items.map((item) => item.user))).toEqual(new Set(['user-1']));
    for (const sockscope_user of ['', 7, {}]) {
      expect(await status(await token({ scope: 'sockscope:admin', sockscope_user }))).toBe(401);
    }
  });

  it('get a 503 while the issuer cannot be reached, and work again afterwards', async () => {
    const fresh = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['jwt'], jwt_issuer: issuerUrl, jwt_audience: 'sockscope' } },
    });
    const headers = {
      authorization: `Bearer ${await token({ scope: 'sockscope:read sockscope:all_users' })}`,
    };
    isUp = false;
    const down = await fresh.app.inject({ url: '/clash/version', headers });
    expect([down.statusCode, down.headers['retry-after']]).toEqual([503, '5']);
    isUp = true;
    const up = await fresh.app.inject({ url: '/clash/version', headers });
    expect(up.statusCode).toBe(200);
    await fresh.close();
  });
});

describe('without authentication', () => {
  it('only names of loopback are answered, so that no other site can ask', async () => {
    const open = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { http: { hosts: ['localhost', '127.0.0.1', '[::1]'] } },
    });
    const status = async (host: string) => {
      const response = await open.app.inject({ url: '/clash/version', headers: { host } });
      return response.statusCode;
    };
    expect(await status('127.0.0.1:8080')).toBe(200);
    expect(await status('LOCALHOST')).toBe(200);
    expect(await status('[::1]:8080')).toBe(200);
    expect(await status('evil.example')).toBe(403);
    expect(await status('127.0.0.1.evil.example:8080')).toBe(403);
    await open.close();
  });
});

describe('the open connections of one key', () => {
  it('limits live streams per key, and leaves other keys alone', async () => {
    const narrow = await createTestApp(database.clickhouse, {
      now: Date.now,
      settings: { auth: { methods: ['api_keys'] } },
    });
    await narrow.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = narrow.app.server.address() as AddressInfo;
    const gone = new AbortController();
    const open = async (key: string) => {
      const url = `http://127.0.0.1:${port}/api/v1/stream?type=started`;
      return fetch(url, { headers: { 'x-api-key': key }, signal: gone.signal });
    };
    const statuses = [];
    for (const key of [keys.read, keys.read, keys.read, keys.admin]) {
      statuses.push((await open(key)).status);
    }
    // The app of a test lets a key have two.
    expect(statuses).toEqual([200, 200, 503, 200]);
    gone.abort();
    await narrow.close();
  });
});

describe('rate limits', () => {
  it('count requests that are wrong or ask for something missing', async () => {
    const limited = await createTestApp(database.clickhouse, {
      now: Date.now,
      settings: { auth: { methods: ['api_keys'] }, limits: { rate_per_minute: 2 } },
    });
    const statuses = [];
    for (const path of [
      '/api/v1/sessions?foo=1',
      '/api/v1/sessions/019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f',
      '/api/v1/sessions?foo=1',
    ]) {
      const headers = { 'x-api-key': keys.read };
      statuses.push((await limited.app.inject({ url: path, headers })).statusCode);
    }
    expect(statuses).toEqual([400, 404, 429]);
    await limited.close();
  });

  it('count sign-ins per network, because an IPv6 client has many addresses', async () => {
    const limited = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['api_keys'] }, limits: { rate_per_minute: 2 } },
    });
    const statuses: number[] = [];
    for (const remoteAddress of ['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:0:1::1']) {
      const url = '/api/v1/login';
      statuses.push((await limited.app.inject({ url, remoteAddress })).statusCode);
    }
    expect(statuses).toEqual([200, 200, 429, 200]);
    await limited.close();
  });

  it('are in headers that the document declares, like all other headers of answers', async () => {
    const limited = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['api_keys'] }, limits: { rate_per_minute: 7 } },
    });
    interface Declared {
      readonly $ref?: string;
      readonly headers?: object;
    }
    await limited.app.ready();
    const { paths, components } = limited.app.swagger() as unknown as {
      paths: Record<string, { get: { responses: Record<string, Declared> } }>;
      components: { responses: Record<string, Declared> };
    };
    const ofHttp = ['connection', 'content-length', 'content-type', 'date', 'transfer-encoding'];
    const seen: number[] = [];
    for (const [path, key, accept] of [
      ['/api/v1/sessions', keys.read, 'application/json'],
      ['/api/v1/sessions?to=2026-01-01', keys.read, 'application/json'],
      ['/api/v1/sessions?format=csv', keys.admin, 'text/csv'],
      ['/api/v1/sessions?foo=1', keys.read, 'application/json'],
      ['/api/v1/sessions', 'wrong', 'application/json'],
      ['/api/v1/sessions', keys.read, 'image/png'],
      ['/api/v1/audit', keys.read, 'application/json'],
      ...Array.from({ length: 4 }, () => ['/api/v1/sessions', keys.read, '*/*'] as const),
    ] as const) {
      const headers = { 'x-api-key': key, accept };
      const response = await limited.app.inject({ url: path, headers });
      const [route = ''] = path.split('?');
      const status = String(response.statusCode);
      const declared = paths[route]?.get.responses[status];
      const referred = components.responses[declared?.$ref?.split('/').at(-1) ?? ''];
      const names = Object.keys((referred ?? declared)?.headers ?? {}).map((name) =>
        name.toLowerCase(),
      );
      const undeclared = Object.keys(response.headers).filter(
        (name) => !names.includes(name) && !ofHttp.includes(name),
      );
      expect([path, status, undeclared]).toEqual([path, status, []]);
      seen.push(response.statusCode);
    }
    expect(new Set(seen)).toEqual(new Set([200, 400, 401, 403, 406, 429]));
    await limited.close();
  });

  it('count per key, and name the time of the next attempt', async () => {
    const limited = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['api_keys'] }, limits: { rate_per_minute: 3 } },
    });
    const ask = (key: string) =>
      limited.app.inject({ url: '/clash/version', headers: { 'x-api-key': key } });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      statuses.push((await ask(keys.read)).statusCode);
    }
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    const refused = await ask(keys.read);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused.json<Problem>()).toMatchObject({ code: 'too-many-requests', status: 429 });
    expect((await ask(keys.admin)).statusCode).toBe(200);
    await limited.close();
  });
});
