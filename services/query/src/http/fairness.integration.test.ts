/** The share of one key, on every route: the routes come from the document, so none can be forgotten. */
import type { AddressInfo } from 'node:net';
import '@sockscope/runtime/testing';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createKey } from '../auth/command.js';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { makeEvents, storeBadly } from '../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const WAIT = { timeout: 60_000, interval: 5 };

let database: TestDatabase;
let api: TestApp;
let keys: { readonly greedy: string; readonly modest: string };
let sessionId: string;
/** Holds back ClickHouse's answers while it is not null. */
let held: { readonly over: Promise<void>; readonly release: () => void } | null = null;

function hold(): void {
  let release = () => undefined as void;
  const over = new Promise<void>((resolve) => {
    release = resolve;
  });
  held = { over, release };
}

function letGo(): void {
  held?.release();
  held = null;
}

/** ClickHouse, which can be made to wait. */
function holdable(clickhouse: ClickHouse): ClickHouse {
  return {
    ...clickhouse,
    async queryWithCost(query) {
      await held?.over;
      return clickhouse.queryWithCost(query);
    },
    async *download(statement) {
      await held?.over;
      yield* clickhouse.download(statement);
    },
  };
}

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 71, sessions: 40, fromMs: NOW_MS - 3_600_000, toMs: NOW_MS });
  sessionId = events[0]?.session_id ?? '';
  await storeBadly(database.clickhouse, events, { seed: 72, batches: 1 });
  api = await createTestApp(holdable(database.clickhouse), {
    now: () => NOW_MS,
    settings: {
      auth: { methods: ['api_keys'] },
      // Half of the places are two: one key may have no more.
      limits: { light_running_max: 4, heavy_running_max: 4, wait_max_ms: 60_000 },
    },
  });
  const make = () => createKey(database.clickhouse, { name: 'k', scope: ['admin'] }, NOW_MS);
  keys = { greedy: await make(), modest: await make() };
  await api.app.listen({ host: '127.0.0.1', port: 0 });
});

afterAll(async () => {
  letGo();
  await api.close();
  await database.drop();
});

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: object }>>;
}

/** Required parameters of a route. */
const NEEDED: Readonly<Record<string, string>> = {
  '/api/v1/lookup': '?dest_ip=198.51.100.7',
  '/api/v1/lookup/evidence': '?dest_ip=198.51.100.7',
};
/** These routes need no ClickHouse. */
const WITHOUT_STORE = [
  '/api/v1/me',
  '/api/v1/lookup/evidence/keys',
  '/clash/version',
  '/clash/configs',
];

/** The GET routes of the document, by whether they stream. */
function routes(isStream: boolean): string[] {
  const { paths } = api.app.swagger() as { paths: Record<string, { get?: Operation }> };
  return Object.entries(paths)
    .filter(([, { get }]) => get !== undefined)
    .filter(([, { get }]) =>
      Object.keys(get?.responses['200']?.content ?? {}).includes('text/event-stream')
        ? isStream
        : !isStream,
    )
    .map(([path]) =>
      `${path}${NEEDED[path] ?? ''}`
        .replace('{field}', 'dest_host')
        .replace('{kind}', 'beacon')
        .replace('{session_id}', sessionId)
        .replace('{user}', 'user-0')
        .replace('{dest_host}', 'www.site-0.example'),
    );
}

const ask = (path: string, key: string) =>
  api.app.inject({ url: path, headers: { 'x-api-key': key } });

/** Requests that have a place, of all gates. */
async function running(): Promise<number> {
  const text = await api.registry.metrics();
  const values = text.matchAll(/^sockscope_query_gate_running\{[^}]*\} (\d+)/gm);
  return [...values].reduce((sum, [, value]) => sum + Number(value), 0);
}

describe('every route', () => {
  it('of the router is in the document, except those named here', async () => {
    const { paths } = api.app.swagger() as { paths: Record<string, object> };
    const known = new Set(Object.keys(paths).map((path) => path.replaceAll(/\{(\w+)\}/g, ':$1')));
    const served = [...new Set(routesOf(api.app.printRoutes({ commonPrefix: false })))];
    const besides = served.filter((path) => !known.has(path) && !path.startsWith('/docs'));
    expect(besides.toSorted()).toEqual([
      '/',
      // How one can sign in, for the dashboard; it reads nothing.
      '/api/v1/login',
      // For WebSockets, which OpenAPI cannot describe.
      '/clash/logs',
      '/clash/memory',
      '/clash/traffic',
      '/healthz',
      '/openapi.json',
      '/readyz',
    ]);
    expect(known.size).toBeGreaterThan(30);
  });

  it('leaves places to others, however often one key asks', async () => {
    const paths = routes(false);
    expect(paths.length).toBeGreaterThan(25);
    for (const path of paths) {
      if (WITHOUT_STORE.includes(path)) {
        expect([path, (await ask(path, keys.greedy)).statusCode]).toEqual([path, 200]);
        continue;
      }
      // Keys are looked up before ClickHouse is made to wait.
      await ask('/api/v1/me', keys.greedy);
      await ask('/api/v1/me', keys.modest);
      hold();
      try {
        const greedy = Array.from({ length: 5 }, () => ask(path, keys.greedy));
        await vi.waitFor(async () => expect([path, await running()]).toEqual([path, 2]), WAIT);
        const modest = ask(path, keys.modest);
        await vi.waitFor(async () => expect([path, await running()]).toEqual([path, 3]), WAIT);
        letGo();
        const statuses = (await Promise.all([...greedy, modest])).map(
          ({ statusCode }) => statusCode,
        );
        const expected = path.startsWith('/api/v1/lookup/evidence') ? [200, 503] : [200];
        expect([path, statuses.every((status) => expected.includes(status))]).toEqual([path, true]);
      } finally {
        letGo();
      }
    }
  });

  it('for streams limits one key and leaves the streams of others alone', async () => {
    const { port } = api.app.server.address() as AddressInfo;
    const paths = routes(true);
    expect(paths).toEqual(expect.arrayContaining(['/api/v1/stream', '/api/v1/stream/active']));
    for (const path of paths) {
      const gone = new AbortController();
      const statusOf = async (key: string) => {
        const url = `http://127.0.0.1:${port}${path}`;
        return (await fetch(url, { headers: { 'x-api-key': key }, signal: gone.signal })).status;
      };
      const statuses = [];
      // The app of a test lets a key have two.
      for (const key of [keys.greedy, keys.greedy, keys.greedy, keys.modest]) {
        statuses.push(await statusOf(key));
      }
      expect([path, statuses]).toEqual([path, [200, 200, 503, 200]]);
      gone.abort();
      await vi.waitFor(async () => {
        const again = new AbortController();
        const response = await fetch(`http://127.0.0.1:${port}${path}`, {
          headers: { 'x-api-key': keys.greedy },
          signal: again.signal,
        });
        again.abort();
        expect(response.status).toBe(200);
      }, WAIT);
    }
  });
});

/** The paths in fastify's picture of its routes: one part of a path a line, indented under the previous one. */
function routesOf(picture: string): string[] {
  const parts: string[] = [];
  return picture.split('\n').flatMap((line) => {
    const found = /^((?:[│ ] {3})*)[├└]── (\S+)(?: \(([A-Z, ]+)\))?/.exec(line);
    if (found === null) return [];
    const [, indent = '', part = '', methods] = found;
    const depth = indent.length / 4;
    parts.splice(depth, Infinity, part);
    return methods?.includes('GET') !== true ? [] : [parts.slice(0, depth + 1).join('')];
  });
}
