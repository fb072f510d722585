import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { once } from 'node:events';
import type { Session, topAnswers, Traffic } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertRows } from '../testing/load.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');

let database: TestDatabase;
let world: World;
let api: TestApp;
let base: string;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({ seed: 77, sessions: 400, fromMs: NOW_MS - 5 * DAY_MS, toMs: NOW_MS });
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 78, batches: 3 });
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(api.app.server.address() as AddressInfo).port}/api/v1`;
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

async function text(path: string, accept?: string): Promise<string> {
  const response = await fetch(
    `${base}${path}`,
    accept === undefined ? {} : { headers: { accept } },
  );
  expect(response.status).toBe(200);
  return response.text();
}

async function ndjson<T>(path: string): Promise<T[]> {
  const body = await text(path);
  return body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

/** Rows that ClickHouse, as an independent reader, finds in a file that the API serves. */
async function readBack<S extends z.ZodType>(path: string, format: string, sql: string, row: S) {
  return database.clickhouse.query({
    sql: `${sql} FROM url({url:String}, {format:String})`,
    params: { url: `${base}${path}`, format },
    row,
  });
}

async function auditEntries(route: string) {
  return database.clickhouse.query({
    sql: `SELECT principal, format, filters, rows, outcome FROM export_audit
      WHERE route = {route:String} ORDER BY toString(export_id), outcome = 'started' DESC`,
    params: { route },
    row: z.object({
      principal: z.string(),
      format: z.string(),
      filters: z.string(),
      rows: z.coerce.number().nullable(),
      outcome: z.string(),
    }),
  });
}

describe('an export of sessions', () => {
  it('as NDJSON is every session that passes, as the pages show them', async () => {
    const exported = await ndjson<Session>('/sessions?format=ndjson&status=closed');
    const expected = world.sessions.filter((row) => row.status === 'closed');
    expect(exported).toHaveLength(expected.length);
    const pages = await api.get<{ items: Session[] }>('/api/v1/sessions?limit=1000&status=closed');
    expect(exported).toEqual(pages.items);
  });

  it('as CSV has the same columns and values', async () => {
    const found = await readBack(
      '/sessions?format=csv',
      'CSVWithNames',
      'SELECT count() AS n, sum(bytes_sent) AS sent, countIf(ended_at IS NULL) AS open',
      z.object({ n: z.coerce.number(), sent: z.coerce.number(), open: z.coerce.number() }),
    );
    expect(found).toEqual([
      {
        n: world.sessions.length,
        sent: world.sessions.reduce((sum, row) => sum + row.bytes_sent, 0),
        open: world.sessions.filter((row) => row.ended_at === null).length,
      },
    ]);
    const [header] = (await text('/sessions?limit=1', 'text/csv')).split('\n');
    const page = await api.get<{ items: object[] }>('/api/v1/sessions?limit=1');
    const names = Object.keys(page.items[0] ?? {}).map((name) => `"${name}"`);
    expect(header).toBe(names.join(','));
  });

  it('as Parquet can be read by another program', async () => {
    const found = await readBack(
      '/sessions?format=parquet&user=user-0',
      'Parquet',
      'SELECT count() AS n, max(started_at) AS latest, uniqExact(session_id) AS ids',
      z.object({ n: z.coerce.number(), latest: z.string(), ids: z.coerce.number() }),
    );
    const own = world.sessions.filter((row) => row.user === 'user-0');
    expect(found).toEqual([
      {
        n: own.length,
        latest: own
          .map((row) => row.started_at)
          .toSorted()
          .at(-1),
        ids: own.length,
      },
    ]);
  });

  it('makes cells harmless that a spreadsheet would run, and changes them nowhere else', async () => {
    const hostile = [
      '=cmd|calc',
      '+1',
      '-2+3',
      '@SUM(A1)',
      '\t=1',
      '\r=1',
      '＝1',
      'a=1',
      '"=1',
      "'=1",
      '=1","=2',
    ];
    await insertHostile(hostile);
    const path = '/sessions?proxy_id=hostile&order=asc';
    const csv = await readBack(
      `${path}&format=csv`,
      'CSVWithNames',
      'SELECT user, dest_host',
      z.object({ user: z.string(), dest_host: z.string() }),
    );
    const safe = (value: string) => (/^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value);
    expect(csv).toEqual(hostile.map((value) => ({ user: safe(value), dest_host: safe(value) })));
    const plain = await ndjson<Session>(`${path}&format=ndjson`);
    expect(plain.map((session) => session.user)).toEqual(hostile);
  });

  async function insertHostile(values: readonly string[]): Promise<void> {
    const [like] = world.sessions;
    const rows = values.map((value, i) => ({
      ...(like ?? expect.unreachable()),
      session_id: `019c0f6e-7a0${i.toString(16)}-7c3e-9d51-0a4b6c8d0e1f`,
      started_at: new Date(0x019c0f6e7a00 + i).toISOString(),
      user: value,
      dest_host: value,
      proxy_id: 'hostile',
    }));
    await insertRows(database.clickhouse, 'sessions', rows);
  }

  it('keeps to limit and order, and has no pages', async () => {
    const exported = await ndjson<Session>(
      '/sessions?format=ndjson&limit=5&sort=bytes&proxy_id=proxy-1',
    );
    const bytes = world.sessions
      .filter((row) => row.proxy_id === 'proxy-1')
      .map((row) => row.bytes_sent + row.bytes_received)
      .toSorted((a, b) => b - a)
      .slice(0, 5);
    expect(exported.map((s) => s.bytes_sent + s.bytes_received)).toEqual(bytes);
    await api.get('/api/v1/sessions?format=csv&cursor=AAAA', 400);
  });

  it('is written down at its beginning and at its end, with the number of rows', async () => {
    for (const format of ['csv', 'ndjson', 'parquet'] as const) {
      await text(`/sessions?format=${format}&user=user-1`);
    }
    const rows = world.sessions.filter((row) => row.user === 'user-1').length;
    await vi.waitFor(async () => {
      const entries = await auditEntries('sessions');
      const own = entries.filter((entry) => entry.filters.includes('"user":"user-1"'));
      expect(own.map(({ format, outcome, rows: n }) => ({ format, outcome, rows: n }))).toEqual(
        ['csv', 'ndjson', 'parquet'].flatMap((format) => [
          { format, outcome: 'started', rows: 0 },
          { format, outcome: 'finished', rows: format === 'parquet' ? null : rows },
        ]),
      );
      expect(own.every((entry) => entry.principal === 'local')).toBe(true);
    }, WAIT);
  });

  it('that is too large is cut off, not ended, and written down as failed', async () => {
    const small = await createTestApp(database.clickhouse, {
      now: () => NOW_MS,
      settings: { exports: { rows_max: 10 } },
    });
    await small.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = small.app.server.address() as AddressInfo;
    const response = await fetch(
      `http://127.0.0.1:${port}/api/v1/sessions?format=csv&acl_decision=allow`,
    );
    const body = response.text();
    const isWhole = response.ok && (await body.then(() => true).catch(() => false));
    expect(isWhole).toBe(false);
    await vi.waitFor(async () => {
      const entries = await auditEntries('sessions');
      expect(entries.some((entry) => entry.outcome === 'failed')).toBe(true);
    }, WAIT);
    await small.close();
  });

  it('is chosen by the Accept header too; an unknown format is a 406', async () => {
    expect(await text('/sessions?limit=1', 'application/x-ndjson')).toMatch(/^\{"session_id"/);
    expect(await text('/sessions?limit=1', 'text/html,application/xhtml+xml,*/*;q=0.8')).toMatch(
      /^\{"items"/,
    );
    expect(await text('/sessions?limit=1', 'text/csv;q=0.5, application/json')).toMatch(
      /^\{"items"/,
    );
    const response = await fetch(`${base}/sessions`, { headers: { accept: 'image/png' } });
    expect(response.status).toBe(406);
    await response.body?.cancel();
  });

  it('asked for by HEAD sends its headers alone', async () => {
    const response = await fetch(`${base}/sessions?format=csv`, { method: 'HEAD' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/csv/);
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="sessions.csv"');
  });
});

describe('an export of a top list', () => {
  it('is every key with the figures of the list', async () => {
    const exported = await ndjson<z.infer<typeof topAnswers.user>['items'][number]>(
      '/top/users?format=ndjson&from=2026-03-11&to=2026-03-15',
    );
    const list = await api.get<z.infer<typeof topAnswers.user>>(
      '/api/v1/top/users?limit=100&from=2026-03-11&to=2026-03-15',
    );
    expect(exported).toEqual(list.items.map(({ share: _share, ...item }) => item));
  });

  it.each(['destinations', 'sources', 'ports', 'acl-rules', 'close-reasons'])(
    'of %s has the columns of the list',
    async (list) => {
      const range = 'from=2026-03-11&to=2026-03-15';
      const answer = await api.get<{ items: Record<string, unknown>[] }>(
        `/api/v1/top/${list}?limit=3&sort=sessions_ended&${range}`,
      );
      const exported = await ndjson<Record<string, unknown>>(
        `/top/${list}?format=ndjson&limit=3&sort=sessions_ended&${range}`,
      );
      expect(exported).toEqual(answer.items.map(({ share: _share, ...item }) => item));
    },
  );
});

describe('an export of traffic', () => {
  it.each(['', '&split=user&series=2', '&split=status', '&split=dest_port&series=1'])(
    'has a row per bucket and line (%s)',
    async (split) => {
      const range = 'from=2026-03-11&to=2026-03-15&interval=1d';
      const answer = await api.get<Traffic>(`/api/v1/traffic?${range}${split}`);
      const exported = await ndjson<Record<string, unknown>>(
        `/traffic?format=ndjson&${range}${split}`,
      );
      const expected = answer.buckets.flatMap((bucket, i) =>
        answer.series.map((line) => ({
          bucket,
          ...(answer.split === null ? {} : { [answer.split]: line.key, other: line.other }),
          bytes_sent: line.bytes_sent[i],
          bytes_received: line.bytes_received[i],
          packets_sent: line.packets_sent[i],
          packets_received: line.packets_received[i],
          sessions_started: line.sessions_started === null ? null : line.sessions_started[i],
          sessions_closed: line.sessions_closed[i],
          sessions_failed: line.sessions_failed[i],
          sessions_rejected: line.sessions_rejected[i],
          sessions_open: line.sessions_open === null ? null : line.sessions_open[i],
        })),
      );
      expect(exported).toEqual(expected);
      const parquet = await readBack(
        `/traffic?format=parquet&${range}${split}`,
        'Parquet',
        'SELECT sum(sessions_closed) AS closed',
        z.object({ closed: z.coerce.number() }),
      );
      const closed = answer.series.flatMap((line) => line.sessions_closed);
      expect(parquet).toEqual([{ closed: closed.reduce((a, b) => a + b, 0) }]);
    },
  );
});

describe('a client that goes away', () => {
  it('ends its export in ClickHouse, and that is written down', async () => {
    // Enough rows that they do not fit into the buffers on the way.
    await database.clickhouse.command({
      sql: `INSERT INTO sessions SELECT * EXCEPT number REPLACE (
          generateUUIDv7(number) AS session_id, 'many' AS proxy_id, repeat('x', 500) AS dest_host)
        FROM (SELECT * FROM sessions LIMIT 1) AS s CROSS JOIN numbers(200000) AS n`,
    });
    const socket = connect(Number(new URL(base).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      'GET /api/v1/sessions?format=csv&proxy_id=many HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    await once(socket, 'readable');
    socket.pause();
    await vi.waitFor(async () => {
      expect(await running()).toBe(1);
    }, WAIT);
    socket.destroy();
    await vi.waitFor(async () => {
      expect(await running()).toBe(0);
      const entries = await auditEntries('sessions');
      expect(entries.some((entry) => entry.outcome === 'aborted')).toBe(true);
    }, WAIT);
  });

  async function running(): Promise<number> {
    const [row] = await database.clickhouse.query({
      sql: `SELECT count() AS n FROM system.processes
        WHERE current_database = currentDatabase() AND query LIKE '%FORMAT CSVWithNames'`,
      row: z.object({ n: z.coerce.number() }),
    });
    return row?.n ?? 0;
  }
});
