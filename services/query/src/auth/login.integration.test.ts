import type { Me } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { createKey, revokeKey } from './command.js';
import { KEY_REUSE_MS } from './keys.js';
import { WEB_SESSION_MS } from './web-sessions.js';

let nowMs = Date.now();
let database: TestDatabase;
let api: TestApp;
/** Another process of the same service. */
let other: TestApp;
let key: string;

const HOST = 'sockscope.example.com';
const OURS = { origin: `https://${HOST}`, 'content-type': 'application/json' };

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const start = () =>
    createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['api_keys'] }, http: { public_url: `https://${HOST}` } },
    });
  [api, other] = await Promise.all([start(), start()]);
  key = await createKey(
    database.clickhouse,
    { name: 'k', scope: ['read'], user: ['alice'] },
    nowMs,
  );
});

afterAll(async () => {
  await api.close();
  await other.close();
  await database.drop();
});

async function post(
  path: string,
  headers: Readonly<Record<string, string>>,
  payload: object = {},
  app: TestApp = api,
) {
  return app.app.inject({ method: 'POST', url: `/api/v1${path}`, headers, payload });
}

/** The cookie of a new session, as a browser sends it. */
async function signIn(headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const response = await post('/login', { ...OURS, ...headers }, { key });
  expect([response.statusCode, response.body]).toEqual([204, '']);
  return String(response.headers['set-cookie']).split(';')[0] ?? '';
}

async function statusOf(cookie: string, app: TestApp = api): Promise<number> {
  const response = await app.app.inject({ url: '/api/v1/me', headers: { cookie } });
  return response.statusCode;
}

describe('a browser that signs in with a key', () => {
  it('gets a cookie that no script and no other site reads, and acts as the key', async () => {
    const response = await post('/login', OURS, { key });
    expect(response.headers['set-cookie']).toMatch(
      /^__Host-sockscope_session=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
    );
    const cookie = await signIn();
    const me = await other.app.inject({ url: '/api/v1/me', headers: { cookie } });
    expect(me.json<Me>()).toMatchObject({
      kind: 'key',
      scopes: ['read'],
      users: ['alice'],
      signed_in: true,
    });
    const [stored] = await database.clickhouse.query({
      sql: 'SELECT count() AS tokens FROM web_sessions WHERE token_hash = {token:String}',
      params: { token: cookie.split('=')[1] ?? '' },
      row: z.object({ tokens: z.coerce.number() }),
    });
    expect(stored).toEqual({ tokens: 0 });
  });

  it('is signed in behind a reverse proxy that asks for a password of its own', async () => {
    const headers = { cookie: await signIn(), authorization: 'Basic YWxpY2U6c2VjcmV0' };
    const me = await api.app.inject({ url: '/api/v1/me', headers });
    expect(me.json<Me>()).toMatchObject({ kind: 'key', signed_in: true });
  });

  it('keeps none of the sessions that its cookie named before', async () => {
    const planted = await signIn();
    const own = await signIn({ cookie: planted });
    expect(own).not.toBe(planted);
    expect([await statusOf(planted), await statusOf(own)]).toEqual([401, 200]);
  });

  it('signs out, which every process notices within seconds', async () => {
    const cookie = await signIn();
    expect(await statusOf(cookie, other)).toBe(200);
    const out = await post('/logout', { ...OURS, cookie });
    expect(out.headers['set-cookie']).toMatch(/^__Host-sockscope_session=; Max-Age=0;/);
    expect(await statusOf(cookie)).toBe(401);
    nowMs += KEY_REUSE_MS;
    expect(await statusOf(cookie, other)).toBe(401);
  });

  it('is signed out when its time is over, and when its key is revoked', async () => {
    const cookie = await signIn();
    nowMs += WEB_SESSION_MS - 1;
    expect(await statusOf(cookie)).toBe(200);
    nowMs += 1;
    expect(await statusOf(cookie)).toBe(401);
    const later = await signIn();
    await revokeKey(database.clickhouse, key.split('_')[1] ?? '', nowMs);
    nowMs += KEY_REUSE_MS;
    expect(await statusOf(later)).toBe(401);
    const again = await post('/login', OURS, { key });
    expect(again.statusCode).toBe(401);
    key = await createKey(database.clickhouse, { name: 'k2', scope: ['read'] }, nowMs);
  });

  it('takes no more than the share of its key, however often it signs in', async () => {
    const narrow = await createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: {
        auth: { methods: ['api_keys'] },
        limits: { light_running_max: 2, light_waiting_max: 0 },
      },
    });
    const headers = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' };
    const modest = await createKey(database.clickhouse, { name: 'm', scope: ['read'] }, nowMs);
    const greedy = Array.from({ length: 10 }, () => post('/login', headers, { key }, narrow));
    const own = await post('/login', headers, { key: modest }, narrow);
    expect(own.statusCode).toBe(204);
    const answers = await Promise.all(greedy);
    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([204, 503]));
    const refused = answers.filter(({ statusCode }) => statusCode === 503);
    expect(refused.every((answer) => answer.headers['retry-after'] === '1')).toBe(true);
    await narrow.close();
  });

  it('is refused with an invented cookie', async () => {
    for (const token of ['', 'x', 'A'.repeat(43), `${'A'.repeat(42)}'`]) {
      expect([token, await statusOf(`__Host-sockscope_session=${token}`)]).toEqual([token, 401]);
    }
  });
});

describe('a write', () => {
  it.each([
    ['from another site', { ...OURS, origin: 'https://evil.example' }],
    ['from a page without an origin', { ...OURS, origin: 'null' }],
    ['without an origin', { 'content-type': 'application/json' }],
    ['from a sister site', { ...OURS, 'sec-fetch-site': 'same-site' }],
    ['by a form', { ...OURS, 'content-type': 'text/plain' }, 415],
    [
      'by a form with fields',
      { ...OURS, 'content-type': 'application/x-www-form-urlencoded' },
      415,
    ],
  ])('%s is refused, with authentication off as well', async (_name, headers, status = 403) => {
    const open = await createTestApp(database.clickhouse, { now: () => nowMs });
    for (const app of [api, open]) {
      const response = await app.app.inject({
        method: 'POST',
        url: '/api/v1/login',
        headers,
        payload: JSON.stringify({ key }),
      });
      expect([response.statusCode, response.headers['set-cookie']]).toEqual([status, undefined]);
    }
    await open.close();
  });

  it('of a page of ours passes, by either header', async () => {
    const byFetch = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' };
    expect((await post('/login', byFetch, { key })).statusCode).toBe(204);
    expect((await post('/login', OURS, { key })).statusCode).toBe(204);
  });

  it('needs and gives no session without authentication', async () => {
    const open = await createTestApp(database.clickhouse, { now: () => nowMs });
    const headers = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' };
    const response = await post('/login', headers, { key }, open);
    expect([response.statusCode, response.headers['set-cookie']]).toEqual([403, undefined]);
    expect(await open.get<Me>('/api/v1/me')).toMatchObject({ kind: 'local', signed_in: false });
    await open.close();
  });
});
