/** Longer than 400 lines: all attacks are made against one provider and one database, which take seconds to start. */
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { get as httpGet } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AuditPage, Me } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { OAuth2Server } from 'oauth2-mock-server';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { createKey } from './command.js';
import { KEY_REUSE_MS } from './keys.js';
import { isOwnPath } from './oidc-routes.js';
import { WEB_SESSION_MS } from './web-sessions.js';

const HOST = 'sockscope.example.com';
const OURS = { origin: `https://${HOST}`, 'content-type': 'application/json' };
const CALLBACK = `https://${HOST}/api/v1/login/oidc/callback`;

let nowMs = Date.now();
let provider: OAuth2Server;
let database: TestDatabase;
let api: TestApp;
/** Another process of the same service. */
let other: TestApp;
/** Claims of the next ID tokens. */
let claims: Record<string, unknown>;
/** Changes the next ID token. */
let forge: (idToken: string) => string;

beforeAll(async () => {
  provider = new OAuth2Server();
  await provider.issuer.keys.generate('RS256');
  await provider.start(0, '127.0.0.1');
  provider.service.on('beforeTokenSigning', (token: { payload: object }) => {
    Object.assign(token.payload, claims);
  });
  provider.service.on('beforeResponse', (response: { body: { id_token?: string } }) => {
    if (response.body.id_token !== undefined) {
      response.body.id_token = forge(response.body.id_token);
    }
  });
  database = await createTestDatabase(inject('clickhouseUrl'));
  const start = () =>
    createTestApp(database.clickhouse, {
      now: () => nowMs,
      settings: {
        auth: {
          methods: ['api_keys', 'oidc'],
          oidc_issuer: provider.issuer.url ?? '',
          oidc_client_id: 'sockscope',
          oidc_client_secret: 'secret',
          oidc_grants: [
            { value: 'netops', permissions: ['admin'] },
            { value: 'support', permissions: ['read', 'export', 'all_users'] },
            { value: 'portal', permissions: ['read'] },
          ],
        },
        http: { public_url: `https://${HOST}`, origins: ['https://dashboard.example.com'] },
      },
    });
  [api, other] = await Promise.all([start(), start()]);
});

beforeEach(() => {
  claims = { groups: ['support', 'unmapped'] };
  forge = (idToken) => idToken;
});

afterAll(async () => {
  await api.close();
  await other.close();
  await database.drop();
  await provider.stop();
});

type Headers = Readonly<Record<string, string>>;

const get = (path: string, headers: Headers = {}, app: TestApp = api) =>
  app.app.inject({ url: path, headers });

/** The cookies that an answer sets, as a browser sends them back. */
function cookiesOf(response: { headers: Readonly<Record<string, unknown>> }): string {
  const set = response.headers['set-cookie'] ?? [];
  return (Array.isArray(set) ? set : [set])
    .map((line) => String(line).split(';')[0] ?? '')
    .filter((pair) => !pair.endsWith('='))
    .join('; ');
}

/** Begins a sign-in and goes to the provider, which sends the browser back. */
/** A connection of its own: the mock resets a connection on which a code was refused. */
async function redirectOf(url: URL): Promise<URL> {
  const request = httpGet(url, { agent: false });
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.resume();
  return new URL(answer.headers.location ?? '');
}

async function atProvider(query = '', headers: Headers = {}) {
  const begun = await get(`/api/v1/login/oidc${query}`, { host: 'evil.example', ...headers });
  expect(begun.statusCode).toBe(303);
  const location = new URL(String(begun.headers.location));
  const back = await redirectOf(location);
  return { begun, location, back, cookie: cookiesOf(begun) };
}

/** The service's answer when the browser comes back. */
const finish = (back: URL, headers: Headers, app: TestApp = api) =>
  get(`${back.pathname}${back.search}`, { host: 'evil.example', ...headers }, app);

/** The cookie of a new session. */
async function signIn(headers: Headers = {}): Promise<string> {
  const { back, cookie } = await atProvider();
  const { cookie: former = '' } = headers;
  const answer = await finish(back, { ...headers, cookie: `${former}; ${cookie}` });
  expect([answer.statusCode, answer.headers.location]).toEqual([303, '/']);
  return cookiesOf(answer);
}

const statusOf = async (cookie: string, app: TestApp = api) =>
  (await get('/api/v1/me', { cookie }, app)).statusCode;

describe('a person who signs in at an OpenID provider', () => {
  it('is sent there with PKCE, and back to QUERY_PUBLIC_URL with any Host header', async () => {
    const { begun, location, back } = await atProvider('?return_to=/explore%3Fsplit=user');
    expect(Object.fromEntries(location.searchParams)).toMatchObject({
      response_type: 'code',
      client_id: 'sockscope',
      redirect_uri: CALLBACK,
      code_challenge_method: 'S256',
    });
    expect(`${back.origin}${back.pathname}`).toBe(CALLBACK);
    expect(begun.headers['set-cookie']).toMatch(
      /^__Host-sockscope_sign_in=[\w-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
    );
    const answer = await finish(back, { cookie: cookiesOf(begun) });
    expect(answer.headers.location).toBe('/explore?split=user');
    expect(answer.headers['set-cookie']).toEqual([
      expect.stringMatching(/^__Host-sockscope_sign_in=; Max-Age=0;/),
      expect.stringMatching(
        /^__Host-sockscope_session=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
      ),
    ]);
  });

  it('may do what the claims map to, in every process, and is in the audit log', async () => {
    const cookie = await signIn();
    const me = await get('/api/v1/me', { cookie }, other);
    expect(me.json<Me>()).toEqual({
      id: 'account:johndoe',
      kind: 'account',
      scopes: ['read', 'export'],
      users: null,
      signed_in: true,
      masked: { users: false, addresses: false },
    });
    claims = { groups: 'portal', sockscope_user: ['alice', 'bob'] };
    const tied = await get('/api/v1/me', { cookie: await signIn() });
    expect(tied.json<Me>()).toMatchObject({ scopes: ['read'], users: ['alice', 'bob'] });
    claims = { groups: ['netops'] };
    const audit = await get('/api/v1/audit?action=login', { cookie: await signIn() });
    expect(audit.json<AuditPage>().items[1]).toMatchObject({
      principal: 'account:johndoe',
      restricted_to: ['alice', 'bob'],
      outcome: 'finished',
    });
  });

  it.each([
    ['without a claim', {}],
    ['with values that are not mapped', { groups: ['staff', 'read', 'admin'] }],
    ['tied to nobody and not meant to see all', { groups: ['portal'] }],
    ['tied to something other than a name', { groups: ['portal'], sockscope_user: 7 }],
    ['tied to an empty list', { groups: ['support'], sockscope_user: [] }],
  ])('%s has no access', async (_name, wrong) => {
    claims = wrong;
    const { back, cookie } = await atProvider();
    const answer = await finish(back, { cookie });
    expect([answer.statusCode, cookiesOf(answer)]).toEqual([403, '']);
  });

  it('keeps none of the sessions that the browser had before', async () => {
    const planted = await signIn();
    const own = await signIn({ cookie: planted });
    expect(own).not.toBe(planted);
    expect([await statusOf(planted), await statusOf(own)]).toEqual([401, 200]);
  });

  it('signs out here, in every process within seconds, and at the provider', async () => {
    const cookie = await signIn();
    expect(await statusOf(cookie, other)).toBe(200);
    const out = await api.app.inject({
      method: 'POST',
      url: '/api/v1/logout',
      headers: { ...OURS, cookie },
      payload: {},
    });
    const end = new URL(out.json<{ redirect_to: string }>().redirect_to);
    expect(end.href).toMatch(new RegExp(`^${provider.issuer.url ?? ''}/endsession`));
    expect(end.searchParams.get('post_logout_redirect_uri')).toBe(`https://${HOST}/`);
    const hint = end.searchParams.get('id_token_hint') ?? '';
    const payload = Buffer.from(hint.split('.')[1] ?? '', 'base64url').toString();
    expect(JSON.parse(payload)).toMatchObject({ sub: 'johndoe', aud: 'sockscope' });
    expect(await statusOf(cookie)).toBe(401);
    nowMs += KEY_REUSE_MS;
    expect(await statusOf(cookie, other)).toBe(401);
    const stored = await database.clickhouse.query({
      sql: 'SELECT sealed_id_token AS sealed FROM web_sessions',
      row: z.object({ sealed: z.string() }),
    });
    expect(stored.filter(({ sealed }) => sealed.includes(hint.slice(0, 20)))).toEqual([]);
  });

  it('is signed out by an administrator, in every process within seconds, which the log shows', async () => {
    const cookie = await signIn();
    claims = { groups: ['netops'] };
    const admin = { cookie: await signIn(), ...OURS };
    const me = (await get('/api/v1/me', { cookie })).json<Me>();
    const listed = (await get('/api/v1/sign-ins', admin)).json<{
      items: { sign_in_id: string; principal: string }[];
    }>();
    const id = createHash('sha256')
      .update(/=(.+)$/.exec(cookie)?.[1] ?? '')
      .digest('hex');
    expect(listed.items.find(({ sign_in_id }) => sign_in_id === id)?.principal).toBe(me.id);
    const end = async () => {
      const url = `/api/v1/sign-ins/${id}`;
      const answer = await api.app.inject({ method: 'DELETE', url, headers: admin, payload: {} });
      return answer.statusCode;
    };
    expect([await statusOf(cookie), await statusOf(cookie, other)]).toEqual([200, 200]);
    expect(await end()).toBe(204);
    nowMs += KEY_REUSE_MS;
    expect([await statusOf(cookie), await statusOf(cookie, other)]).toEqual([401, 401]);
    expect(await statusOf(admin.cookie)).toBe(200);
    expect(await end()).toBe(404);
    const { items } = (await get('/api/v1/audit?action=sign-ins/end', admin)).json<AuditPage>();
    expect(items).toMatchObject([{ details: { sign_in_id: id, principal: me.id } }]);
  });

  it('is signed out when the time of the session is over', async () => {
    const cookie = await signIn();
    nowMs += WEB_SESSION_MS - 1;
    expect(await statusOf(cookie)).toBe(200);
    nowMs += 1;
    expect(await statusOf(cookie)).toBe(401);
  });
});

describe('a sign-in that was tampered with', () => {
  it.each([
    ['that this browser did not begin', (_back: URL, _cookie: string) => ''],
    ['of another browser', async () => (await atProvider()).cookie],
    [
      'with a forged state',
      (back: URL, cookie: string) => {
        back.searchParams.set('state', 'forged');
        return cookie;
      },
    ],
    [
      'without a state',
      (back: URL, cookie: string) => {
        back.searchParams.delete('state');
        return cookie;
      },
    ],
    [
      'with a code that is not of the provider',
      (back: URL, cookie: string) => {
        back.searchParams.set('code', 'stolen');
        return cookie;
      },
    ],
    ['with a cookie that is none', () => '__Host-sockscope_sign_in=e30'],
  ])('%s gives no session', async (_name, tamper) => {
    const { back, cookie } = await atProvider();
    const sent = await tamper(back, cookie);
    const answer = await finish(back, { cookie: sent });
    expect([answer.statusCode, cookiesOf(answer)]).toEqual([401, '']);
    expect(answer.headers['set-cookie']).toMatch(/^__Host-sockscope_sign_in=; Max-Age=0;/);
  });

  it('gives no second session when it is replayed, in no process', async () => {
    const { back, cookie } = await atProvider();
    expect((await finish(back, { cookie })).statusCode).toBe(303);
    for (const app of [api, other]) {
      const again = await finish(back, { cookie }, app);
      expect([again.statusCode, cookiesOf(again)]).toEqual([401, '']);
    }
  });

  it('gives no session with the code of another sign-in of the same browser', async () => {
    const one = await atProvider();
    const two = await atProvider();
    two.back.searchParams.set('code', one.back.searchParams.get('code') ?? '');
    expect((await finish(two.back, { cookie: two.cookie })).statusCode).toBe(401);
  });

  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

  it.each([
    [
      'signed by nobody',
      (token: string) => `${part({ alg: 'none' })}.${token.split('.')[1] ?? ''}.`,
    ],
    [
      'signed with the public key as if it were a secret',
      (token: string) => {
        const [key] = provider.issuer.keys.toJSON();
        const signed = `${part({ alg: 'HS256', kid: key?.kid })}.${token.split('.')[1] ?? ''}`;
        const secret = JSON.stringify(key);
        return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
      },
    ],
    [
      'signed with the secret of the client',
      (token: string) => {
        const signed = `${part({ alg: 'HS256' })}.${token.split('.')[1] ?? ''}`;
        return `${signed}.${createHmac('sha256', 'secret').update(signed).digest('base64url')}`;
      },
    ],
    [
      'with other claims than were signed',
      (token: string) => {
        const [head = '', body = '', signature = ''] = token.split('.');
        const payload = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
        return `${head}.${part({ ...payload, groups: ['netops'] })}.${signature}`;
      },
    ],
  ])('by an ID token %s gives no session', async (_name, forged) => {
    forge = forged;
    const { back, cookie } = await atProvider();
    const answer = await finish(back, { cookie });
    expect([answer.statusCode, cookiesOf(answer)]).toEqual([401, '']);
  });

  it.each([
    ['for another client', { aud: 'other' }],
    ['of another issuer', { iss: 'https://evil.example' }],
    ['with the nonce of another sign-in', { nonce: 'other' }],
    ['that has expired', { exp: 1 }],
  ])('by an ID token %s gives no session', async (_name, wrong) => {
    forge = (token) => token;
    const { back, cookie } = await atProvider();
    // After the provider has set its own: the last listener wins.
    const overwrite = (token: { payload: object }) => Object.assign(token.payload, wrong);
    provider.service.on('beforeTokenSigning', overwrite);
    const answer = await finish(back, { cookie });
    provider.service.off('beforeTokenSigning', overwrite);
    expect([answer.statusCode, cookiesOf(answer)]).toEqual([401, '']);
  });

  it('never leads to another site', async () => {
    const elsewhere = [
      'https://evil.example/',
      '//evil.example/',
      '/\\evil.example/',
      '/\t/evil.example/',
      '\\\\evil.example',
      'javascript:alert(1)',
      'evil.example',
      '',
    ];
    for (const path of elsewhere) {
      expect([path, isOwnPath(path)]).toEqual([path, false]);
      const begun = await get(`/api/v1/login/oidc?return_to=${encodeURIComponent(path)}`);
      expect([path, begun.statusCode]).toEqual([path, 400]);
    }
    const { back, cookie } = await atProvider();
    const kept = JSON.parse(
      Buffer.from(cookie.split('=')[1] ?? '', 'base64url').toString(),
    ) as object;
    const planted = part({ ...kept, return_to: '//evil.example/' });
    const answer = await finish(back, { cookie: `__Host-sockscope_sign_in=${planted}` });
    expect([answer.statusCode, answer.headers.location]).toEqual([401, undefined]);
  });
});

describe('a session', () => {
  it('is not shared with other origins, and answers that may be kept depend on the cookie', async () => {
    const cookie = await signIn();
    const headers = { cookie, origin: 'https://dashboard.example.com' };
    const answer = await get('/api/v1/stats?from=2026-01-01&to=2026-01-02', headers);
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['access-control-allow-origin']).toBe('https://dashboard.example.com');
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
    expect(answer.headers['cache-control']).toMatch(/^private/);
    expect(String(answer.headers['vary'])).toMatch(/\bCookie\b/);
  });

  it('of an account makes no key that outlives it', async () => {
    claims = { groups: ['netops'] };
    const cookie = await signIn();
    const make = (expires_at: string | null) =>
      api.app.inject({
        method: 'POST',
        url: '/api/v1/keys',
        headers: { ...OURS, cookie },
        payload: { name: 'k', scopes: ['read'], expires_at },
      });
    expect((await make(null)).statusCode).toBe(400);
    expect((await make(new Date(nowMs + 3_600_000).toISOString())).statusCode).toBe(201);
  });

  it('of a browser ends its stream within seconds when it signs out in another process', async () => {
    const key = await createKey(database.clickhouse, { name: 's', scope: ['read'] }, nowMs);
    const login = await api.app.inject({
      method: 'POST',
      url: '/api/v1/login',
      headers: OURS,
      payload: { key },
    });
    const cookie = cookiesOf(login);
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    const address = api.app.server.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const stream = await fetch(`http://127.0.0.1:${port}/api/v1/stream`, { headers: { cookie } });
    expect(stream.status).toBe(200);
    await other.app.inject({
      method: 'POST',
      url: '/api/v1/logout',
      headers: { ...OURS, cookie },
      payload: {},
    });
    nowMs += KEY_REUSE_MS;
    // Resolves only when the service ends the stream.
    expect(await stream.text()).toContain('retry:');
  });
});
