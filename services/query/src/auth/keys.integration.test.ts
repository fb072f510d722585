import type { Annotation, Annotations, AuditPage, KeyCreated, Keys } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { createKey } from './command.js';
import { KEY_REUSE_MS } from './keys.js';

const DAY_MS = 86_400_000;
const OURS = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' };

let nowMs = Date.now();
let database: TestDatabase;
let api: TestApp;
/** Another process of the same service. */
let other: TestApp;
let admin: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const start = () =>
    createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: { auth: { methods: ['api_keys'] } },
    });
  [api, other] = await Promise.all([start(), start()]);
  admin = await createKey(database.clickhouse, { name: 'admin', scope: ['admin'] }, nowMs);
});

afterAll(async () => {
  await api.close();
  await other.close();
  await database.drop();
});

async function ask(method: 'GET' | 'POST' | 'DELETE', path: string, key: string, payload = {}) {
  return api.app.inject({
    method,
    url: `/api/v1${path}`,
    headers: { ...OURS, 'x-api-key': key },
    ...(method === 'POST' ? { payload } : {}),
  });
}

async function made(body: object, key = admin): Promise<KeyCreated> {
  const response = await ask('POST', '/keys', key, { scopes: ['read'], name: 'k', ...body });
  expect([response.statusCode, response.headers['cache-control']]).toEqual([201, 'no-store']);
  return response.json<KeyCreated>();
}

async function listed(): Promise<Keys['items']> {
  return (await ask('GET', '/keys', admin)).json<Keys>().items;
}

async function logged(query: string): Promise<AuditPage['items']> {
  return (await ask('GET', `/audit?${query}`, admin)).json<AuditPage>().items;
}

const statusOf = async (key: string, app = api) =>
  (await app.app.inject({ url: '/api/v1/me', headers: { 'x-api-key': key } })).statusCode;

describe('keys over HTTP', () => {
  it('are made, listed with their last use and revoked in every process within ten seconds', async () => {
    const expires_at = new Date(nowMs + DAY_MS).toISOString();
    const users = ['alice', "o'neil"];
    const { key, key_id } = await made({ name: 'portal', users, expires_at, rate_per_minute: 60 });
    expect(await statusOf(key, other)).toBe(200);
    const me = await api.app.inject({ url: '/api/v1/me', headers: { 'x-api-key': key } });
    expect(me.json()).toMatchObject({ id: `key:${key_id}`, users, scopes: ['read'] });
    const found = (await listed()).find((each) => each.key_id === key_id);
    expect(found).toMatchObject({
      name: 'portal',
      users,
      expires_at,
      rate_per_minute: 60,
      created_by: `key:${admin.split('_')[1] ?? ''}`,
      last_used_at: new Date(nowMs).toISOString(),
      state: 'valid',
    });
    expect(JSON.stringify(await listed())).not.toContain(key.split('_').slice(2).join('_'));
    expect((await ask('DELETE', `/keys/${key_id}`, admin)).statusCode).toBe(204);
    nowMs += KEY_REUSE_MS;
    expect([await statusOf(key), await statusOf(key, other)]).toEqual([401, 401]);
    expect((await listed()).find((each) => each.key_id === key_id)?.state).toBe('revoked');
  });

  it('have at most the rights of their creator, and a key that is tied to users manages none', async () => {
    const { key } = await made({
      scopes: ['admin'],
      rate_per_minute: 50,
      expires_at: new Date(nowMs + DAY_MS).toISOString(),
    });
    const within = {
      rate_per_minute: 50,
      expires_at: new Date(nowMs + DAY_MS / 2).toISOString(),
    };
    for (const [name, wider] of [
      ['expires_at', null],
      ['expires_at', new Date(nowMs + 2 * DAY_MS).toISOString()],
      ['rate_per_minute', null],
      ['rate_per_minute', 51],
    ] as const) {
      const body = { name: 'k', scopes: ['read'], ...within, [name]: wider };
      const response = await ask('POST', '/keys', key, body);
      expect([name, wider, response.statusCode]).toEqual([name, wider, 400]);
      expect(response.json()).toMatchObject({ errors: [{ parameter: name }] });
    }
    const { key_id } = await made(within, key);
    const { key: tied } = await made({ scopes: ['admin'], users: ['alice'] });
    for (const [method, path] of [
      ['GET', '/keys'],
      ['POST', '/keys'],
      ['DELETE', `/keys/${key_id}`],
      ['GET', '/audit'],
    ] as const) {
      expect([path, (await ask(method, path, tied)).statusCode]).toEqual([path, 404]);
    }
    expect((await ask('DELETE', `/keys/${key_id}`, key)).statusCode).toBe(204);
  });

  it('are refused with values that make no sense', async () => {
    for (const body of [
      {},
      { name: '', scopes: ['read'] },
      { name: 'k', scopes: [] },
      { name: 'k', scopes: ['root'] },
      { name: 'k', scopes: ['read'], users: [] },
      { name: 'k', scopes: ['read'], users: [''] },
      { name: 'k', scopes: ['read'], users: Array.from({ length: 101 }, (_, n) => `u${n}`) },
      { name: 'k', scopes: ['read'], rate_per_minute: 0 },
      { name: 'k', scopes: ['read'], expires_at: 'soon' },
      { name: 'k', scopes: ['read'], expires_at: '9999-12-31T23:59:59-12:00' },
      { name: 'k', scopes: ['read'], expires_at: new Date(nowMs).toISOString() },
      { name: 'k', scopes: ['read'], key_hash: 'x' },
      { name: 'half a pair: \uD800', scopes: ['read'] },
      { name: 'k', scopes: ['read'], users: ['\uDC00'] },
    ]) {
      const { statusCode } = await ask('POST', '/keys', admin, body);
      expect([body, statusCode]).toEqual([body, 400]);
    }
    const { key_id } = await made({ users: Array.from({ length: 100 }, (_, n) => `u${n}`) });
    expect((await listed()).find((each) => each.key_id === key_id)?.users).toHaveLength(100);
  });

  it('have a rate of their own', async () => {
    const { key } = await made({ rate_per_minute: 3 });
    const statuses: number[] = [];
    for (let n = 0; n < 5; n += 1) statuses.push(await statusOf(key));
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect(await statusOf(admin)).toBe(200);
  });

  it('cannot be managed with authentication off', async () => {
    const open = await createTestApp(database.clickhouse, { now: () => nowMs });
    for (const method of ['GET', 'POST'] as const) {
      const response = await open.app.inject({
        method,
        url: '/api/v1/keys',
        headers: OURS,
        ...(method === 'POST' ? { payload: { name: 'k', scopes: ['read'] } } : {}),
      });
      expect([method, response.statusCode]).toEqual([method, 403]);
    }
    await open.close();
  });
});

describe('the audit log', () => {
  it('names the maker and the revoker of each key and their addresses, and never the key', async () => {
    const { key, key_id } = await made({ name: 'logged', users: ['alice'] });
    await ask('DELETE', `/keys/${key_id}`, admin);
    const [revoked] = await logged('action=keys/revoke&limit=1');
    expect(revoked).toMatchObject({
      principal: `key:${admin.split('_')[1] ?? ''}`,
      remote_ip: '127.0.0.1',
      restricted_to: null,
      outcome: 'finished',
      details: { key_id, name: 'logged' },
    });
    const [created] = await logged('action=keys/create&limit=1');
    expect(created).toMatchObject({ details: { name: 'logged', users: ['alice'] } });
    expect(JSON.stringify(created)).not.toContain(key.split('_').slice(2).join('_'));
    const byCommand = await logged('principal=command');
    expect(byCommand).toMatchObject([{ action: 'keys/create', details: { name: 'admin' } }]);
  });

  it('has sign-ins and the exports of a tied key, with users, bytes and end', async () => {
    const { key, key_id } = await made({ scopes: ['read', 'export'], users: ['alice'] });
    const login = await api.app.inject({
      method: 'POST',
      url: '/api/v1/login',
      headers: { ...OURS, 'user-agent': 'test' },
      payload: { key },
    });
    const cookie = String(login.headers['set-cookie']).split(';')[0] ?? '';
    const file = await api.app.inject({
      url: '/api/v1/sessions?format=csv',
      headers: { cookie },
    });
    expect(file.statusCode).toBe(200);
    await api.app.inject({
      method: 'POST',
      url: '/api/v1/logout',
      headers: { ...OURS, cookie },
      payload: {},
    });
    const entries = await logged(`principal=key:${key_id}`);
    expect(entries.map(({ action }) => action).toSorted()).toEqual(['login', 'logout', 'sessions']);
    for (const entry of entries) {
      expect(entry).toMatchObject({ restricted_to: ['alice'], outcome: 'finished' });
      expect(entry.ended_at).not.toBeNull();
    }
    expect(entries.find(({ action }) => action === 'sessions')?.bytes).toBe(
      Buffer.byteLength(file.body),
    );
  });

  it('is read in pages, the newest first, each action once', async () => {
    const all = await logged('limit=1000');
    expect(all.length).toBeGreaterThan(5);
    const paged: AuditPage['items'] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page = (await ask('GET', `/audit?limit=2${query}`, admin)).json<AuditPage>();
      paged.push(...page.items);
      cursor = page.next_cursor;
    }
    expect(paged).toEqual(all);
    expect(new Set(all.map(({ entry_id }) => entry_id)).size).toBe(all.length);
    const times = all.map(({ at }) => at);
    expect(times).toEqual(times.toSorted().toReversed());
    const from = all[2]?.at ?? '';
    const after = await logged(`from=${from}&limit=1000`);
    expect(after).toEqual(all.filter(({ at }) => at >= from));
  });
});

describe('annotations', () => {
  const note = {
    starts_at: '2026-01-31T11:30:00Z',
    text: ' <b>release</b> 2.4 ',
    tags: ['deploy'],
  };
  const range = 'from=2026-01-31&to=2026-02-01';
  const list = async (query: string, key = admin) =>
    (await ask('GET', `/annotations?${query}`, key)).json<Annotations>().items;

  async function annotate(body: object): Promise<Annotation> {
    const response = await ask('POST', '/annotations', admin, body);
    expect([body, response.statusCode]).toEqual([body, 201]);
    return response.json<Annotation>();
  }

  it('are listed by the range that they touch, and can be deleted', async () => {
    const moment = await annotate(note);
    expect(moment).toMatchObject({
      starts_at: '2026-01-31T11:30:00.000Z',
      ends_at: null,
      text: '<b>release</b> 2.4',
      created_by: `key:${admin.split('_')[1] ?? ''}`,
    });
    const incident = await annotate({
      starts_at: '2026-01-30T23:00:00+01:00',
      ends_at: '2026-01-31T01:00:00Z',
      text: 'outage',
    });
    expect(await list(range)).toEqual([incident, moment]);
    expect(await list(`${range}&tag=deploy`)).toEqual([moment]);
    expect(await list('from=2026-01-31T02:00:00Z&to=2026-01-31T11:30:00Z')).toEqual([]);
    expect(await list('from=2026-01-31T11:30:00Z&to=2026-01-31T11:30:01Z')).toEqual([moment]);
    const remove = async () =>
      (await ask('DELETE', `/annotations/${moment.annotation_id}`, admin)).statusCode;
    expect([await remove(), await remove()]).toEqual([204, 404]);
    expect(await list(range)).toEqual([incident]);
    const [entry] = await logged('action=annotations/delete');
    expect(entry).toMatchObject({ details: { annotation_id: moment.annotation_id } });
  });

  it('do not exist for a key that is tied to users, and are written by administrators alone', async () => {
    await annotate(note);
    const { key: reader } = await made({ scopes: ['read', 'export'] });
    const { key: tied } = await made({ scopes: ['admin'], users: ['alice'] });
    expect((await list(range, reader)).map(({ created_by }) => created_by)).not.toContain(
      expect.any(String),
    );
    expect(await list(range, reader)).not.toEqual([]);
    expect((await ask('GET', `/annotations?${range}`, tied)).statusCode).toBe(404);
    expect((await ask('POST', '/annotations', tied, note)).statusCode).toBe(404);
    expect((await ask('POST', '/annotations', reader, note)).statusCode).toBe(403);
  });

  it('are refused with values that make no sense', async () => {
    for (const wrong of [
      { text: ' ' },
      { text: 'x'.repeat(1_001) },
      { starts_at: 'yesterday' },
      // In UTC, it is the year 10000. No range names it, nor those before 1970.
      { starts_at: '9999-12-31T23:59:59-12:00' },
      { starts_at: '1969-12-31T23:59:59Z' },
      { ends_at: '2106-01-01T00:00:00Z' },
      { ends_at: note.starts_at },
      { tags: Array.from({ length: 11 }, (_, n) => `t${n}`) },
      { tags: [''] },
      { tags: ['\uD800'] },
      { text: 'half a pair: \uD800' },
      { created_by: 'me' },
    ]) {
      const { statusCode } = await ask('POST', '/annotations', admin, { ...note, ...wrong });
      expect([wrong, statusCode]).toEqual([wrong, 400]);
    }
  });
});
