/** Longer than 400 lines: all hostile input goes to one server, which takes seconds to start. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import '@sockscope/runtime/testing';
import fc from 'fast-check';
import { v7 as uuidV7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');

let database: TestDatabase;
let api: TestApp;
let base: string;
let world: World;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({
    seed: 13,
    sessions: 80,
    fromMs: NOW_MS - 3 * 86_400_000,
    toMs: NOW_MS,
  });
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 14, batches: 2 });
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(api.app.server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

interface Schema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
}
interface Parameter {
  readonly name: string;
  readonly in: 'query' | 'path';
  readonly schema: Schema;
}
interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly parameters?: readonly Parameter[];
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<
    Record<string, Readonly<Partial<Record<'get' | 'post' | 'delete', Operation>>>>
  >;
}

/** Returns the document with references to shared parameters resolved. */
function documentOf(): Document {
  const document = api.app.swagger();
  const resolve = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(resolve);
    if (typeof value !== 'object' || value === null) return value;
    const { $ref } = value as { readonly $ref?: string };
    const [, , kind, name] = $ref?.split('/') ?? [];
    if (kind === 'parameters' || kind === 'responses') {
      const { components } = document as {
        readonly components?: Record<string, Record<string, unknown>>;
      };
      return components?.[kind]?.[name ?? ''];
    }
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, resolve(each)]));
  };
  return resolve(document) as Document;
}

/** Requests of attackers and of broken clients. */
const HOSTILE = [
  `'; DROP TABLE sessions; --`,
  `' OR '1'='1`,
  `") UNION ALL SELECT * FROM system.users --`,
  `1) FORMAT JSON; SELECT version() --`,
  '{user:String}',
  '\\N',
  `\\' OR 1=1 --`,
  '`',
  '$(id)',
  '../../../../etc/passwd',
  '%00',
  '\u0000',
  '\u202e\u0007\n\r\t',
  '\ud800',
  '😀'.repeat(300),
  '[',
  '{}',
  '[]',
  'null',
  'NaN',
  '-0',
  '1e308',
  '0x10',
  '9'.repeat(400),
  '-9223372036854775809',
  '18446744073709551616',
  '9007199254740993',
  '__proto__',
  'constructor',
  '*',
  '*.',
  '*.*',
  '.',
  '::',
  '::ffff:0:0/0',
  '0.0.0.0/33',
  '1.2.3.4/-1',
  '999.1.1.1',
  '2026-02-30',
  '0000-00-00',
  '9999-12-31T23:59:59.999999999Z',
  '1969-12-31T23:59:59Z',
  'Europe/Berlin',
  'Mars/Olympus',
  'sessions FINAL',
  'parquet',
  'A'.repeat(5_000),
];

/** Something valid for a parameter, so that the others get as far as they can. */
function plausible(parameter: Parameter): fc.Arbitrary<string> {
  const { schema, name } = parameter;
  const one = schema.items ?? schema;
  if (one.enum !== undefined) return fc.constantFrom(...one.enum);
  if (name === 'session_id') return fc.constantFrom(world.sessions[0]?.session_id ?? '');
  if (name === 'cursor' || name === 'token') return fc.constant('AAAA');
  if (name === 'time_zone') return fc.constantFrom('UTC', 'Asia/Kathmandu', 'America/New_York');
  if (name.endsWith('_ip')) return fc.constantFrom('192.0.2.0/24', '::1', '10.0.0.0/8');
  if (one.format === 'date-time') {
    return fc.constantFrom('2026-03-13', '2026-03-14T10:00:00+02:00', '2026-03-15T13:00:00.000Z');
  }
  if (one.type === 'integer' || one.type === 'number') {
    return fc.nat({ max: 1_000 }).map(String);
  }
  return fc.constantFrom('user-0', 'www.site-0.example', '*.example', 'rule-1', 'proxy-1');
}

const hostileText = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc.string({ maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 60 }),
);

function isText({ schema, name }: Parameter): boolean {
  const one = schema.items ?? schema;
  const isFree = one.type === 'string' && one.enum === undefined && one.format === undefined;
  return isFree && !['cursor', 'time_zone', 'session_id'].includes(name);
}

/** A request to a route: each parameter absent, plausible, hostile, or several times. */
function requestOf(path: string, parameters: readonly Parameter[]): fc.Arbitrary<string> {
  const query = parameters.filter((parameter) => parameter.in === 'query');
  const inPath = parameters.filter((parameter) => parameter.in === 'path');
  // If any text is allowed, hostile text must get as far as the database; elsewhere it ends the
  // request, so it is rare enough that the others get there.
  const values = (parameter: Parameter) => {
    const few = isText(parameter) ? 4 : 1;
    return fc.oneof(
      { weight: 40, arbitrary: fc.constant([]) },
      { weight: 12, arbitrary: plausible(parameter).map((value) => [value]) },
      { weight: few, arbitrary: hostileText.map((value) => [value]) },
      { weight: few, arbitrary: fc.array(hostileText, { minLength: 2, maxLength: 10 }) },
    );
  };
  const extra = fc
    .option(fc.tuple(hostileText, hostileText), { nil: null, freq: 1 })
    .chain((pair) => fc.nat({ max: 9 }).map((n) => (n === 0 ? pair : null)));
  return fc
    .tuple(
      fc.tuple(...query.map(values)),
      fc.tuple(...inPath.map((p) => fc.oneof(plausible(p), hostileText))),
      extra,
    )
    .map(([queryValues, pathValues, unknown]) => {
      const pairs = query.flatMap(({ name }, i) =>
        (queryValues[i] ?? []).map((value) => `${name}=${encode(value)}`),
      );
      if (unknown !== null) pairs.push(`${encode(unknown[0])}=${encode(unknown[1])}`);
      const filled = inPath.reduce(
        (text, { name }, i) => text.replace(`{${name}}`, () => encode(pathValues[i] ?? '')),
        path,
      );
      return `${filled}?${pairs.join('&')}`;
    });
}

/** Half a surrogate pair cannot be encoded; it is sent as the bytes of one. */
function encode(text: string): string {
  return encodeURIComponent(text.replaceAll(/[\ud800-\udfff]/gu, '\ufffd'));
}

/** Words that only the inside of the service knows. */
const LEAKS =
  /DB::|Exception|ClickHouse|SELECT|FROM |node_modules|\.js:\d|at \w+ \(|file:\/\/|password|system\.|stack/i;
/** Longer request lines are refused by the HTTP parser itself. */
const URL_CHARS_MAX = 12_000;

async function ask(url: string) {
  const gone = new AbortController();
  const response = await fetch(`${base}${url}`, { signal: gone.signal });
  // A stream has no end.
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const body = isStream ? '' : await response.text();
  gone.abort();
  return { status: response.status, type: response.headers.get('content-type') ?? '', body };
}

describe('the OpenAPI document', () => {
  it('is 3.1, describes every route, and every parameter of it', () => {
    const { openapi, paths } = documentOf();
    expect(openapi).toMatch(/^3\.1\./);
    expect(Object.keys(paths).length).toBeGreaterThanOrEqual(18);
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.values(methods).map((operation) => ({ path, operation })),
    );
    for (const { path, operation } of operations) {
      expect(path).toMatch(/^\/(?:api\/v1|clash)\//);
      expect(operation.operationId).toMatch(/^\w+$/);
      expect(operation.summary).toBeTruthy();
      expect([path, Object.keys(operation.responses)]).toEqual([
        path,
        expect.arrayContaining(['400', '401', '403', '503']),
      ]);
      expect(Object.keys(operation.responses).some((status) => status.startsWith('2'))).toBe(true);
      for (const parameter of operation.parameters ?? []) {
        const { type, enum: values, items, anyOf } = parameter.schema;
        expect([path, parameter.name, type ?? values ?? items ?? anyOf]).not.toContain(undefined);
      }
    }
  });

  it('shows an example of a session and of a problem', () => {
    const text = JSON.stringify(documentOf());
    expect(text).toContain('urn:sockscope:problem:invalid-parameters');
    expect(text).toContain('"examples":[{"session_id"');
  });
});

/** Parameters that need each other. */
const NEEDED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '/api/v1/lookup': { dest_ip: '198.51.100.7' },
  '/api/v1/lookup/evidence': { dest_ip: '198.51.100.7' },
  '/api/v1/explain': { previous_from: 'now-2h', previous_to: 'now-1h' },
};

describe('wrong, huge and hostile input', () => {
  it('never makes a 5xx, never shows the inside, and always an answer of the right kind', async () => {
    const { paths } = documentOf();
    const tally = new Map<number, number>();
    for (const [path, { get }] of Object.entries(paths)) {
      await fc.assert(
        fc.asyncProperty(requestOf(path, get?.parameters ?? []), async (url) => {
          fc.pre(url.length < URL_CHARS_MAX);
          const { status, type, body } = await ask(url);
          tally.set(status, (tally.get(status) ?? 0) + 1);
          expect([url, status < 500]).toEqual([url, true]);
          if (status >= 400) {
            expect([url, type]).toEqual([url, 'application/problem+json; charset=utf-8']);
            // The client's own input is no leak.
            const {
              errors: _errors,
              detail: _detail,
              ...rest
            } = JSON.parse(body) as object & {
              errors?: unknown;
              detail?: unknown;
            };
            expect([url, LEAKS.exec(JSON.stringify(rest))]).toEqual([url, null]);
          }
        }),
        { numRuns: 30 },
      );
    }
    // Enough of it got through to the database, and enough did not.
    expect(tally.get(200)).toBeGreaterThan(100);
    expect(tally.get(400)).toBeGreaterThan(100);
    const [row] = await database.clickhouse.query({
      sql: 'SELECT uniqExact(session_id) AS n FROM sessions',
      row: z.object({ n: z.coerce.number() }),
    });
    expect(row?.n).toBe(world.sessions.length);
  });

  it('in every single parameter is refused by its name, or taken as a value', async () => {
    const { paths } = documentOf();
    // Each parameter gets one of them; the same filters stand on many routes.
    const values = [`'; DROP TABLE sessions; --`, '9'.repeat(400), '\u0000'];
    let turn = 0;
    for (const [path, { get }] of Object.entries(paths)) {
      const parameters = get?.parameters ?? [];
      const filled = path
        .replace('{session_id}', world.sessions[0]?.session_id ?? '')
        .replace('{user}', 'user-0')
        .replace('{field}', 'dest_host')
        .replace('{kind}', 'beacon')
        .replace('{dest_host}', 'www.site-0.example');
      for (const { name } of parameters.filter((parameter) => parameter.in === 'query')) {
        const value = values[turn++ % values.length] ?? '';
        const others = Object.entries(NEEDED[path] ?? {})
          .filter(([other]) => other !== name)
          .map(([other, text]) => `&${other}=${text}`);
        const { status, body } = await ask(`${filled}?${name}=${encode(value)}${others.join('')}`);
        expect([filled, name, value, [200, 400].includes(status)]).toEqual([
          filled,
          name,
          value,
          true,
        ]);
        if (status !== 400) continue;
        const { errors } = JSON.parse(body) as { errors: { parameter: string }[] };
        expect([...new Set(errors.map((error) => error.parameter))]).toEqual([name]);
      }
    }
  });

  it('of other methods, other paths and bodies is refused as a problem', async () => {
    for (const [method, path, expected, allow] of [
      ['POST', '/api/v1/sessions', 405, 'GET, HEAD'],
      ['DELETE', '/api/v1/sessions', 405, 'GET, HEAD'],
      ['PATCH', '/', 405, 'GET, HEAD'],
      ['GET', '/api/v1/nothing', 404, null],
      ['POST', '/api/v1/nothing', 404, null],
      ['GET', '/api/v1/sessions/%ff', 400, null],
      ['GET', '/api/v1/users/', 400, null],
      ['OPTIONS', '/api/v1/sessions', 405, 'GET, HEAD'],
      ['OPTIONS', '/api/v1/annotations', 405, 'GET, HEAD, POST'],
      ['GET', `/api/v1/annotations/${uuidV7()}`, 405, 'DELETE'],
      ['POST', '/api/v1/stream', 405, 'GET'],
    ] as const) {
      const response = await fetch(`${base}${path}`, { method });
      const body = await response.text();
      expect([method, path, response.status]).toEqual([method, path, expected]);
      expect([method, path, response.headers.get('allow')]).toEqual([method, path, allow]);
      expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(LEAKS.exec(body)).toBeNull();
    }
  });

  it('that is too large, or arrives too slowly, is refused by its name', async () => {
    const large = await fetch(`${base}/api/v1/annotations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: base },
      body: JSON.stringify({ starts_at: '2026-03-15T12:00:00Z', text: 'a'.repeat(300_000) }),
    });
    expect([large.status, await large.json()]).toEqual([
      413,
      expect.objectContaining({ code: 'body-too-large' }),
    ]);
    const hasty = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { http: { request_timeout_ms: 1_000 } },
    });
    await hasty.app.listen({ host: '127.0.0.1', port: 0 });
    for (const half of [
      'GET /api/v1/stats HTTP/1.1\r\nHost: loc',
      'POST /api/v1/annotations HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    ]) {
      const { port } = hasty.app.server.address() as AddressInfo;
      const socket = connect(port, '127.0.0.1');
      let answer = '';
      socket.on('data', (chunk) => {
        answer += chunk.toString();
      });
      socket.write(half);
      await once(socket, 'close');
      expect([half, answer.split('\r\n')[0]]).toEqual([half, 'HTTP/1.1 408 Request Timeout']);
      expect(answer).toContain('"code":"request-timeout"');
    }
    await hasty.close();
  });

  it('that breaks a rule of HTTP gets a document, and one that expects the unknown its answer', async () => {
    const { port } = api.app.server.address() as AddressInfo;
    for (const [lines, status, text] of [
      [['Connection: close'], 400, '"code":"invalid-parameters"'],
      [['Host: localhost', 'Expect: cake', 'Connection: close'], 200, '"ok":true'],
    ] as const) {
      const socket = connect(port, '127.0.0.1');
      let answer = '';
      socket.on('data', (chunk) => {
        answer += chunk.toString();
      });
      socket.write(['GET /healthz HTTP/1.1', ...lines, '', ''].join('\r\n'));
      await once(socket, 'close');
      expect([lines, answer.split(' ')[1]]).toEqual([lines, String(status)]);
      expect(answer).toContain(text);
    }
  });

  it('does not disturb a write, whose client is still there when its body has been read', async () => {
    const response = await fetch(`${base}/api/v1/annotations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: base },
      body: JSON.stringify({ starts_at: '2026-03-15T12:00:00Z', text: HOSTILE[0] }),
    });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({ text: HOSTILE[0] });
  });

  it('of a bare socket is answered with 4xx or closed', async () => {
    for (const text of [
      'GET / HTTP/1.1\r\n\r\n',
      'NONSENSE\r\n\r\n',
      `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      'GET /api/v1/stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n{',
      '\u0016\u0003\u0001',
    ]) {
      const socket = connect(Number(new URL(base).port), '127.0.0.1');
      let answer = '';
      socket.on('data', (chunk) => {
        answer += chunk.toString();
      });
      socket.on('error', () => undefined);
      socket.end(text);
      await once(socket, 'close');
      expect([text.slice(0, 20), answer.startsWith('HTTP/1.1 5')]).toEqual([
        text.slice(0, 20),
        false,
      ]);
      expect(LEAKS.exec(answer)).toBeNull();
    }
  });
});
