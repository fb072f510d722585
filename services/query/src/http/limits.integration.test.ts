/** The limits of a question, and the answers beyond them or without the database. */
import type { Problem } from '@sockscope/schemas/api';
import { createLogger, Registry } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { z } from 'zod';
import { createLongSessions } from '../store/long-sessions.js';
import { createStoreMetrics } from '../store/metrics.js';
import { createRetention } from '../store/retention.js';
import { createStore } from '../store/store.js';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { startQuery } from '../testing/service.js';
import { makeEvents, storeBadly } from '../testing/world.js';
import { problemOf } from './errors.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const DAY_MS = 86_400_000;

let database: TestDatabase;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 31, sessions: 300, fromMs: NOW_MS - 3 * DAY_MS, toMs: NOW_MS });
  await storeBadly(database.clickhouse, events, { seed: 32, batches: 3 });
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

describe('a database that does not let us in', () => {
  it.each([
    ['has another password', { password: 'wrong' }],
    ['does not exist', { database: 'nowhere' }],
  ])('and %s is a 503 with Retry-After, without a reason', async (_, wrong) => {
    const clickhouse = createClickHouse({ ...database.config, ...wrong });
    const locked = await createTestApp(clickhouse, { now: () => NOW_MS });
    for (const path of ['/sessions', '/stats']) {
      const response = await locked.app.inject({ url: `/api/v1${path}` });
      expect([path, response.statusCode]).toEqual([path, 503]);
      expect(response.headers['retry-after']).toBe('2');
      expect(response.body).not.toMatch(/default|nowhere|password/i);
    }
    await locked.close();
    await clickhouse.close();
  });
});

describe('a service whose database does not let it in', () => {
  it('is not ready, and hides the reason from strangers', async () => {
    const service = await startQuery(database.config, { CLICKHOUSE_PASSWORD: 'wrong' });
    try {
      const readiness = async (of: number) => {
        const response = await fetch(`http://127.0.0.1:${of}/readyz`);
        return [response.status, await response.text()] as const;
      };
      await vi.waitFor(async () => {
        expect(await readiness(service.port)).toEqual([503, '{"ok":false}']);
        const [status, text] = await readiness(service.ops);
        expect([status, text.includes('clickhouse')]).toEqual([503, true]);
      }, WAIT);
    } finally {
      await service.stop();
    }
  });
});

describe('limits of a question', () => {
  it('that would read too many rows are a 422 with advice', async () => {
    const small = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { rows_to_read_max: 10 } },
    });
    for (const path of ['/sessions', '/stats', '/traffic', '/top/users', '/flows']) {
      const problem = await small.get<Problem>(`/api/v1${path}`, 422);
      expect(problem.code).toBe('too-expensive');
      expect(problem.detail).toMatch(/narrow the (?:range or the )?filters|ask for at most/);
    }
    await small.close();
  });

  it('are limited on every route, and a 422 names the longest range if there is one', async () => {
    const small = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { rows_to_read_max: 200 } },
    });
    await small.app.ready();
    const { paths } = small.app.swagger() as {
      paths: Record<string, { get?: { parameters?: { name: string }[]; responses: object } }>;
    };
    const limited = Object.entries(paths).filter(([, { get }]) => '422' in (get?.responses ?? {}));
    const refused: string[] = [];
    const cases = limited.flatMap(([path, { get }]) =>
      [{ from: 'now-3d', to: 'now' }, {}].map((range) => ({ path, get, range })),
    );
    for (const { path, get, range } of cases) {
      const takes = new Set((get?.parameters ?? []).map(({ name }) => name));
      const query = new URLSearchParams({
        ...(takes.has('from') ? range : {}),
        ...(takes.has('step') ? { step: '3600000' } : {}),
        // No sums know this filter, so sessions must be read.
        ...(takes.has('command') ? { command: 'connect' } : {}),
        // Only this order reads the whole range of sessions at once.
        ...(path.endsWith('/sessions') ? { sort: 'bytes' } : {}),
        ...(path.includes('/lookup') ? { dest_ip: '198.51.100.7' } : {}),
      });
      const url = `${path}?${query.toString()}`
        .replace('{field}', 'dest_host')
        .replace('{kind}', 'beacon')
        .replace('{session_id}', '0195a000-0000-7000-8000-000000000001')
        .replace('{user}', 'user-0')
        .replace('{dest_host}', 'www.site-0.example');
      const response = await small.app.inject({ url });
      expect([url, response.statusCode < 500]).toEqual([url, true]);
      if (response.statusCode !== 422) continue;
      refused.push(path);
      const problem = response.json<Problem>();
      expect([url, problem.code]).toEqual([url, 'too-expensive']);
      expect([url, typeof problem.longest_range_ms]).toEqual([url, 'number']);
    }
    expect(refused).toEqual(
      expect.arrayContaining([
        '/api/v1/explain',
        '/api/v1/flows',
        '/api/v1/sessions',
        '/api/v1/signals/{kind}',
        '/api/v1/top/users',
      ]),
    );
    await small.close();
  });

  it('that no sums can answer are refused with the longest range that is possible', async () => {
    const small = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { rows_to_read_max: 200 } },
    });
    // With this limit, the open sessions are too many to be counted for the other reports.
    for (const path of ['/top/users', '/flows']) {
      const problem = await small.get<Problem>(`/api/v1${path}?from=now-3d&protocol=udp`, 422);
      expect(problem.code).toBe('too-expensive');
      expect(problem.longest_range_ms).toBeGreaterThan(0);
      expect(problem.longest_range_ms).toBeLessThan(3 * DAY_MS);
      expect(problem.detail).toMatch(/of at most 200: ask for at most \d+ (?:days|hours|minutes)/);
    }
    await small.close();
  });

  it('that would take too long are refused after two seconds, by their pace', async () => {
    const clickhouse = database.clickhouse;
    const retention = createRetention({ clickhouse, now: () => NOW_MS });
    const logger = createLogger('query', { level: 'silent' });
    const store = createStore(
      {
        query_timeout_ms: 60_000,
        rows_to_read_max: 1_000_000_000,
        memory_max_bytes: 1_000_000_000,
        reuse_ms: 0,
      },
      {
        clickhouse,
        metrics: createStoreMetrics(new Registry()),
        retention,
        longSessions: createLongSessions({ clickhouse, retention, logger, now: () => NOW_MS }),
        now: () => NOW_MS,
      },
    );
    // A hundred rows take a tenth of a second, so ten million take hours.
    const slow = {
      name: 'slow',
      sql: 'SELECT sum(sleepEachRow(0.001)) AS slept FROM numbers(10000000)',
      params: {},
      row: z.unknown(),
      settings: { max_block_size: '100', max_threads: 1 },
      range: { fromMs: NOW_MS - 3 * DAY_MS, toMs: NOW_MS },
    };
    const asked = store.ask(slow, { signal: new AbortController().signal });
    await expect(asked).rejects.toThrow(/^it would take about \d+ s, of at most 60: /);
    await expect(asked).rejects.toMatchObject({ code: 'too-expensive' });
  });

  it('that have a longest range of their own name it', async () => {
    for (const path of [
      'signals/scan?from=now-30d',
      'top/destination-addresses?from=now-30d',
      'traffic?from=now-30d&split=dest_ip',
    ]) {
      const problem = await api.get<Problem>(`/api/v1/${path}`, 422);
      expect([path, problem.longest_range_ms]).toEqual([path, 7 * DAY_MS]);
    }
  });

  it('that read a range without a beginning are refused with the longest range that is possible', async () => {
    const small = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { rows_to_read_max: 200 } },
    });
    const { longest_range_ms: longest = 0 } = await small.get<Problem>(
      '/api/v1/sessions?sort=bytes',
      422,
    );
    expect(longest).toBeGreaterThan(0);
    expect(longest).toBeLessThan(3 * DAY_MS);
    // Sessions that ended in a range may have begun at any time, so a shorter one reads no less.
    const ended = await small.get<Problem>('/api/v1/sessions?in=ended&sort=bytes&from=now-1h', 422);
    expect(ended.longest_range_ms).toBe(0);
    expect(ended.detail).toMatch(/: narrow the filters$/);
    await small.close();
  });

  it('are heavy or light by the rows that they read, on every route', async () => {
    const closed = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      // No heavy question gets a place.
      settings: { limits: { heavy_running_max: 0, wait_max_ms: 50, light_rows_max: 0 } },
    });
    const status = async (path: string) =>
      (await closed.app.inject({ url: `/api/v1${path}` })).statusCode;
    for (const short of ['from=now-1h', 'from=now-1h&sort=bytes', 'from=now-6h&in=started']) {
      expect([short, await status(`/sessions?${short}`)]).toEqual([short, 200]);
    }
    for (const long of [
      'sort=bytes',
      'in=ended&sort=duration_ms',
      'from=now-1h&totals=true',
      'min_bytes=1000000000000',
    ]) {
      expect([long, await status(`/sessions?${long}`)]).toEqual([long, 503]);
    }
    await closed.close();
  });

  it('that takes too long are a 503 with Retry-After, whether ClickHouse or the service gives up first', async () => {
    const hasty = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { query_timeout_ms: 1 } },
    });
    const response = await hasty.app.inject({ url: '/api/v1/stats' });
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '2']);
    expect(response.json<Problem>()).toMatchObject({
      code: 'deadline-exceeded',
      detail: 'no answer in time; narrow the range or the filters',
    });
    await hasty.close();
    const asked = api.store.ask(
      {
        name: 'slow',
        sql: 'SELECT sleepEachRow(0.05) AS n FROM numbers(200)',
        params: {},
        settings: { max_block_size: 1, max_execution_time: 0.1 },
        row: z.unknown(),
      },
      { signal: new AbortController().signal },
    );
    const error: unknown = await asked.catch((reason: unknown) => reason);
    expect(problemOf(error)).toMatchObject({ retryAfterSeconds: 2, code: 'deadline-exceeded' });
  });
});

describe('a process that cannot keep up', () => {
  it('sends questions away with a 503, and still reports that it lives', async () => {
    const busy = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      eventLoop: { isOverloaded: () => true },
    });
    const response = await busy.app.inject({ url: '/api/v1/sessions' });
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '2']);
    expect(response.json<Problem>().code).toBe('overloaded');
    expect((await busy.app.inject({ url: '/healthz' })).statusCode).toBe(200);
    await busy.close();
  });

  it('refuses a request that waited for the thread too long before it looks at its parameters, unless there is a place', async () => {
    const busy = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { heavy_running_max: 0 } },
      eventLoop: { lateMs: () => 60_000 },
    });
    const response = await busy.app.inject({ url: '/api/v1/stats?from=nonsense' });
    expect([response.statusCode, response.headers['retry-after']]).toEqual([503, '1']);
    expect((await busy.app.inject({ url: '/api/v1/sessions?from=nonsense' })).statusCode).toBe(400);
    await busy.get('/api/v1/sessions?from=now-1h');
    await busy.close();
  });
});

describe('heavy questions', () => {
  it('wait for a place, and light ones do not wait for them', async () => {
    const narrow = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { heavy_running_max: 1, wait_max_ms: 60_000 } },
    });
    const heavy = Array.from({ length: 5 }, (_, i) =>
      narrow.app.inject({ url: `/api/v1/stats?from=2026-03-1${i}&to=2026-03-15` }),
    );
    const light = await narrow.app.inject({ url: '/clash/version' });
    expect(light.statusCode).toBe(200);
    const answers = await Promise.all(heavy);
    expect(answers.map((answer) => answer.statusCode)).toEqual([200, 200, 200, 200, 200]);
    await narrow.close();
  });

  it('of a flood are answered, or refused with Retry-After, and later ones are answered', async () => {
    const narrow = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { limits: { light_running_max: 2, heavy_running_max: 1, wait_max_ms: 100 } },
    });
    const paths = ['stats?', 'top/users?', 'traffic?', 'sessions?limit=50&', 'top/destinations?'];
    const answers = await Promise.all(
      // No two are equal, or they would share an answer.
      Array.from({ length: 200 }, (_, n) => {
        const from = new Date(NOW_MS - DAY_MS - n * 1_000).toISOString();
        return narrow.app.inject({ url: `/api/v1/${paths[n % paths.length]}from=${from}` });
      }),
    );
    const refused = answers.filter(({ statusCode }) => statusCode === 503);
    expect(new Set(answers.map(({ statusCode }) => statusCode))).toEqual(new Set([200, 503]));
    expect(refused.every(({ headers }) => headers['retry-after'] === '1')).toBe(true);
    await narrow.get('/api/v1/stats');
    await narrow.close();
  });

  it('that are equal are asked once', async () => {
    const before = await asked();
    const path = '/api/v1/top/users?from=2026-03-12T01:02:03Z&to=2026-03-14';
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => api.app.inject({ url: path })),
    );
    expect(new Set(answers.map((answer) => answer.body)).size).toBe(1);
    expect((await asked()) - before).toBe(1);
  });

  async function asked(): Promise<number> {
    const text = await api.registry.metrics();
    const line =
      /sockscope_query_sql_duration_seconds_count\{[^}]*query="top_user"[^}]*\} (\d+)/.exec(text);
    return Number(line?.[1] ?? 0);
  }
});
