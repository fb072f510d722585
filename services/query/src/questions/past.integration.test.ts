/** Longer than 400 lines: all questions about the past are asked of one world, which takes seconds to load. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { minuteOf, toTimestamp } from '@sockscope/schemas';
import type { SessionEvent, SessionRow } from '@sockscope/schemas';
import { evidence } from '@sockscope/schemas/api';
import type {
  AuditPage,
  EvidenceKeysAnswer,
  Lookup,
  Playback,
  SessionAt,
  SessionsAtPage,
} from '@sockscope/schemas/api';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createEvidenceKey, readEvidenceKeys, rotateEvidenceKey } from '../evidence/key-file.js';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { insertBatch, insertRows } from '../testing/load.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let database: TestDatabase;
let world: World;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = [
    ...makeEvents({ seed: 21, sessions: 300, fromMs: NOW_MS - 6 * HOUR_MS, toMs: NOW_MS }),
    ...makeEvents({ seed: 22, sessions: 150, fromMs: NOW_MS - 300_000, toMs: NOW_MS }),
  ];
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 23, batches: 3 });
  api = await createTestApp(database.clickhouse, {
    now: () => NOW_MS,
    settings: { lookup: { egress_nat: [{ publicIp: '192.0.2.200', localIp: '203.0.113.7' }] } },
  });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

const wasOpen = (row: SessionRow, atMs: number) =>
  Date.parse(row.started_at) <= atMs && (row.ended_at === null || Date.parse(row.ended_at) > atMs);

function lastEventAt(sessionId: string, atMs: number): SessionEvent | undefined {
  return world.events
    .filter((each) => each.session_id === sessionId && Date.parse(each.occurred_at) <= atMs)
    .toSorted((a, b) => b.seq - a.seq)[0];
}

function movedIn(sessionId: string, fromMs: number, toMs: number) {
  const minutes = world.minutes.filter(
    ({ row, bucketMs }) => row.session_id === sessionId && bucketMs >= fromMs && bucketMs < toMs,
  );
  const sum = (name: 'bytes_sent' | 'bytes_received') =>
    minutes.reduce((total, { counters }) => total + counters[name], 0);
  return { bytes_sent: sum('bytes_sent'), bytes_received: sum('bytes_received') };
}

const rateOf = (id: string, atMs: number) => {
  const { bytes_sent, bytes_received } = movedIn(id, minuteOf(atMs), minuteOf(atMs) + 1);
  return bytes_sent + bytes_received;
};

async function walk(parameters: string, limit: number) {
  const pages: SessionsAtPage[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: SessionsAtPage = await api.get(
      `/api/v1/sessions?${parameters}&limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`,
    );
    pages.push(page);
    cursor = page.next_cursor;
  }
  return { pages, items: pages.flatMap((page) => page.items) };
}

const idsOf = (items: readonly { readonly session_id?: string | undefined }[]) =>
  items.map((item) => item.session_id ?? '');

/** Moments of which each is interesting: starts, ends, their neighbours, full minutes. */
function moments(): number[] {
  const some = world.sessions.filter((_row, i) => i % 60 === 0);
  return some.flatMap((row, i) => {
    const startMs = Date.parse(row.started_at);
    const endMs = Date.parse(row.ended_at ?? row.updated_at);
    return [[startMs, startMs - 1], [endMs, endMs - 1], [minuteOf(startMs) + 60_000]][i % 3] ?? [];
  });
}

/** Questions of a lookup, each with its meaning. */
const QUESTIONS: readonly (readonly [string, (row: SessionRow) => boolean])[] = [
  ['dest_ip=198.51.100.20', (r) => r.dest_ip === '198.51.100.20'],
  ['dest_host=API.site-0.example.', (r) => r.dest_host === 'api.site-0.example'],
  [
    'dest_host=www.site-0.example&dest_port=443',
    (r) => r.dest_host === 'www.site-0.example' && r.dest_port === 443,
  ],
  ['egress_ip=2001:db8::7', (r) => r.egress_ip === '2001:db8::7'],
  [
    'egress_ip=203.0.113.7&egress_port=40020',
    (r) => r.egress_ip === '203.0.113.7' && r.egress_port === 40_020,
  ],
  // Behind a public address, by the setting.
  ['egress_ip=192.0.2.200', (r) => r.egress_ip === '203.0.113.7'],
  ['egress_ip=192.0.2.201', () => false],
];

describe('a lookup', () => {
  it.each(QUESTIONS)(
    '%s finds the sessions that a reading of all events finds',
    async (asked, matches) => {
      const matching = world.sessions.filter(matches);
      const times = matching
        .filter((_row, i) => i % 10 === 0)
        .slice(0, 4)
        .flatMap((row) => [
          Date.parse(row.started_at) - 120_000,
          Date.parse(row.ended_at ?? row.updated_at) + 119_999,
        ]);
      for (const timeMs of [...times, NOW_MS - HOUR_MS]) {
        const answer = await api.get<Lookup>(
          `/api/v1/lookup?${asked}&time=${new Date(timeMs).toISOString()}&limit=1000`,
        );
        const expected = matching.filter(
          (row) =>
            Date.parse(row.started_at) <= timeMs + 120_000 &&
            (row.ended_at === null || Date.parse(row.ended_at) >= timeMs - 120_000),
        );
        expect(idsOf(answer.items).toSorted()).toEqual(
          expected.map((row) => row.session_id).toSorted(),
        );
        const distances = answer.items.map((item) => item.distance_ms ?? NaN);
        expect(distances).toEqual(distances.toSorted((a, b) => a - b));
        for (const item of answer.items) {
          const row = expected.find((each) => each.session_id === item.session_id);
          const isDuring = row !== undefined && wasOpen(row, timeMs);
          if (isDuring) expect(item).toMatchObject({ distance_ms: 0 });
          if ((item.distance_ms ?? 0) > 0) expect(item.matched).not.toContain('time');
        }
      }
      const newest = await api.get<Lookup>(`/api/v1/lookup?${asked}&limit=1000`);
      expect(idsOf(newest.items).toSorted()).toEqual(
        matching.map((row) => row.session_id).toSorted(),
      );
    },
  );

  it('lists the gaps in its knowledge', async () => {
    const time = new Date(NOW_MS - 60_000).toISOString();
    const { completeness } = await api.get<Lookup>(
      `/api/v1/lookup?egress_ip=203.0.113.7&time=${time}&skew=600`,
    );
    const unrecorded = world.sessions.filter(
      (row) =>
        row.egress_port === null &&
        (row.connect_ms !== null || row.status === 'active' || row.status === 'closed') &&
        Date.parse(row.started_at) <= NOW_MS + 540_000 &&
        (row.ended_at === null || Date.parse(row.ended_at) >= NOW_MS - 660_000),
    );
    const recorded = world.sessions.filter((row) => row.egress_port !== null);
    expect(unrecorded.length).toBeGreaterThan(0);
    expect(completeness).toMatchObject({
      egress_unrecorded: unrecorded.length,
      egress_recorded_since: recorded.map((row) => row.started_at).toSorted()[0],
      // No partition has reported its position.
      covers_range: false,
      silent_proxies: [],
    });
    expect(completeness.clocks.map(({ proxy_id }) => proxy_id)).toEqual(['proxy-1', 'proxy-2']);
    const later = new Date(NOW_MS + 5 * HOUR_MS).toISOString();
    const silent = await api.get<Lookup>(`/api/v1/lookup?egress_ip=203.0.113.7&time=${later}`);
    expect(silent.completeness.silent_proxies).toEqual(['proxy-1', 'proxy-2']);
  });

  it('does not count sessions without an egress for a question without a time', async () => {
    const { completeness } = await api.get<Lookup>('/api/v1/lookup?egress_ip=203.0.113.7');
    expect(completeness.egress_unrecorded).toBeNull();
  });

  it('covers a range only if no partition lags or waits before its end', async () => {
    const covers = async (hours: number) => {
      const fresh = await createTestApp(database.clickhouse, { now: () => NOW_MS });
      const time = NOW_MS - hours * HOUR_MS;
      const { completeness } = await fresh.get<Lookup>(
        `/api/v1/lookup?egress_ip=203.0.113.7&time=${time}`,
      );
      await fresh.close();
      return completeness.covers_range;
    };
    const report = (partition: number, hours: number, caught_up: 0 | 1) =>
      insertRows(database.clickhouse, 'ingest_watermarks', [
        {
          topic: 't',
          partition,
          watermark: toTimestamp(NOW_MS - hours * HOUR_MS),
          next_offset: 1,
          caught_up,
        },
      ]);
    // Of a topic that ingest has left.
    await insertRows(database.clickhouse, 'ingest_watermarks', [
      { topic: 'former', partition: 0, caught_up: 0, observed_at: toTimestamp(NOW_MS - DAY_MS) },
    ]);
    await report(0, 0, 1);
    await report(1, 5, 1);
    expect(await covers(1)).toBe(true);
    await report(2, 2, 0);
    expect([await covers(1), await covers(3)]).toEqual([false, true]);
    const waits = { topic: 't', partition: 1, offset: 7, kind: 'damaged', reason: '' };
    await insertRows(database.clickhouse, 'ingest_waits', [
      { ...waits, is_waiting: 1, needed_version: 0, since: toTimestamp(NOW_MS - 4 * HOUR_MS) },
    ]);
    expect([await covers(3), await covers(5.5)]).toEqual([false, true]);
  });

  it('needs an address, and a time with an offset', async () => {
    for (const asked of ['egress_port=40020', 'dest_ip=198.51.100.20&time=2026-03-15T13:00:00']) {
      const problem = await api.get<{ code: string }>(`/api/v1/lookup?${asked}`, 400);
      expect(problem.code).toBe('invalid-parameters');
    }
  });
});

describe('evidence of a lookup', () => {
  const question = 'dest_ip=198.51.100.20';
  const folder = mkdtempSync(join(tmpdir(), 'evidence-'));
  const keyFile = join(folder, 'key.json');
  const verifier = fileURLToPath(
    new URL('../../dist/evidence/verify-evidence.js', import.meta.url),
  );

  /** The verifier's output, run as an auditor runs it: alone in a folder. */
  async function verdict(text: string, key: string): Promise<string> {
    const alone = join(folder, 'verify-evidence.mjs');
    copyFileSync(verifier, alone);
    const file = join(folder, 'evidence');
    writeFileSync(file, text);
    return new Promise((resolve) => {
      execFile(process.execPath, [alone, file, key], { env: {} }, (_error, stdout) => {
        resolve(stdout.trim());
      });
    });
  }

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('is verified offline, and one changed byte, another key or other HTML is noticed', async () => {
    await createEvidenceKey(keyFile, NOW_MS - HOUR_MS);
    const former = readEvidenceKeys(keyFile);
    const evidenceOf = async (format: string) => {
      const signing = await createTestApp(database.clickhouse, {
        now: () => NOW_MS,
        settings: { evidence: { key_file: keyFile } },
      });
      const { body } = await signing.app.inject(
        `/api/v1/lookup/evidence?${question}&format=${format}`,
      );
      const published = await signing.app.inject('/api/v1/lookup/evidence/keys');
      await signing.close();
      return { body, published: published.json<EvidenceKeysAnswer>() };
    };
    const { body } = await evidenceOf('json');
    const html = await evidenceOf('html');
    const { x } = former.current.jwk;
    expect(body.split('\n')[0]).toBe(`{"status":"signed by ${former.current.kid}",`);
    expect(await verdict(body, x)).toBe('valid');
    expect(await verdict(html.body, x)).toBe('valid');
    const sent = /"bytes_sent":(\d)/.exec(body);
    const digit = sent?.[1] === '1' ? '2' : '1';
    expect(await verdict(body.replace(/"bytes_sent":\d/, `"bytes_sent":${digit}`), x)).toMatch(
      /^INVALID: the signature does not match/,
    );
    expect(
      await verdict(html.body.replace('<td>198.51.100.20</td>', '<td>198.51.100.21</td>'), x),
    ).toMatch(/^INVALID: the file differs/);
    await rotateEvidenceKey(keyFile, NOW_MS);
    const rotated = readEvidenceKeys(keyFile);
    const after = await evidenceOf('json');
    expect(await verdict(after.body, x)).toMatch(/^INVALID: the signature does not match/);
    const keysFile = join(folder, 'keys.json');
    writeFileSync(keysFile, JSON.stringify(after.published));
    expect(await verdict(body, keysFile)).toBe('valid');
    expect(await verdict(after.body, keysFile)).toBe('valid');
    expect(after.published.keys).toMatchObject([
      { kid: rotated.current.kid, retired_at: null },
      { kid: former.current.kid, x, retired_at: '2026-03-15T13:37:12.345Z' },
    ]);
    await expect(createEvidenceKey(keyFile, NOW_MS)).rejects.toThrow('rotate');
  });

  it('names the addresses behind a public one, because its sessions have these', async () => {
    const asked = '/api/v1/lookup/evidence?egress_ip=192.0.2.200';
    const { body } = await api.app.inject(asked);
    const found = evidence.parse(JSON.parse(body)).evidence;
    expect(new Set(found.answer.items.map((item) => item.egress_ip))).toEqual(
      new Set(['203.0.113.7']),
    );
    expect(found.egress_ips).toEqual(['192.0.2.200', '203.0.113.7']);
    const html = await api.app.inject(`${asked}&format=html`);
    expect(html.body).toContain('["192.0.2.200","203.0.113.7"]'.replaceAll('"', '&#34;'));
  });

  it('holds a bounded number of events, and states of which sessions it lacks some', async () => {
    const random = seededRandom(24);
    const many = await createTestDatabase(inject('clickhouseUrl'));
    const logs = Array.from({ length: 12 }, (_, i) =>
      sessionLog({
        random,
        startMs: NOW_MS - 10 * HOUR_MS - i,
        destHost: 'long.example',
        intervals: 998,
        closed: true,
      }),
    );
    await insertBatch(many.clickhouse, logs.flat());
    const app = await createTestApp(many.clickhouse, { now: () => NOW_MS });
    const { body } = await app.app.inject('/api/v1/lookup/evidence?dest_host=long.example');
    const { answer, events } = evidence.parse(JSON.parse(body)).evidence;
    const timelines = answer.items.map((item) => events[item.session_id]);
    expect(timelines.map((each) => [each?.items.length, each?.truncated])).toEqual([
      ...Array.from({ length: 10 }, () => [1_000, false]),
      [0, true],
      [0, true],
    ]);
    await app.close();
    await many.drop();
  });

  it('states that it is not signed if there is no key, and is in the audit log', async () => {
    const { body, statusCode } = await api.app.inject(`/api/v1/lookup/evidence?${question}`);
    expect([statusCode, body.split('\n')[0]]).toEqual([200, '{"status":"not signed",']);
    const found = evidence.parse(JSON.parse(body));
    const { answer, events } = found.evidence;
    const ids = idsOf(answer.items);
    expect(ids.length).toBeGreaterThan(0);
    for (const id of ids) {
      expect(events[id]?.items.map(({ seq }) => seq)).toEqual(
        [...new Set(world.events.filter((e) => e.session_id === id).map((e) => e.seq))].toSorted(
          (a, b) => a - b,
        ),
      );
    }
    const html = await api.app.inject(`/api/v1/lookup/evidence?${question}&format=html`);
    expect(html.body.split('\n')[0]).toBe('<!-- not signed -->');
    const audit = await api.get<AuditPage>('/api/v1/audit?action=lookup/evidence&limit=2');
    expect(audit.items.map(({ format }) => format)).toEqual(['html', 'json']);
    expect(audit.items[0]?.bytes).toBe(Buffer.byteLength(html.body));
    expect(audit.items[1]).toMatchObject({
      outcome: 'finished',
      rows: ids.length,
      details: { dest_ip: '198.51.100.20' },
    });
  });
});

describe('sessions that were open at a time', () => {
  it('equal a reading of all events, with counters and rates of that time', async () => {
    let seen = 0;
    for (const atMs of moments()) {
      const { pages, items } = await walk(`at=${atMs}&sort=rate`, 40);
      const expected = world.sessions.filter((row) => wasOpen(row, atMs));
      expect([atMs, idsOf(items).toSorted()]).toEqual([
        atMs,
        expected.map((row) => row.session_id).toSorted(),
      ]);
      expect(pages[0]).toMatchObject({ total: expected.length, ranking: 'exact' });
      const rates = idsOf(items).map((id) => rateOf(id, atMs));
      expect(rates).toEqual(rates.toSorted((a, b) => b - a));
      const windowMs = Math.min(60_000, NOW_MS - minuteOf(atMs));
      for (const item of items) {
        const last = lastEventAt(item.session_id ?? '', atMs);
        const moved = movedIn(item.session_id ?? '', minuteOf(atMs), minuteOf(atMs) + 1);
        expect(item).toMatchObject({
          counters: 'event',
          bytes_sent: last?.bytes_sent,
          bytes_received: last?.bytes_received,
          packets_sent: last?.packets_sent,
          bytes_sent_per_second: Math.round((moved.bytes_sent * 1_000) / windowMs),
        } satisfies Partial<SessionAt>);
        seen += 1;
      }
    }
    expect(seen).toBeGreaterThan(50);
  });

  it('are ranked by their bytes up to that time, page by page', async () => {
    const atMs = NOW_MS - 60_000;
    const { items } = await walk(`at=${atMs}&sort=bytes`, 7);
    const bytes = items.map((item) => (item.bytes_sent ?? 0) + (item.bytes_received ?? 0));
    expect(items.length).toBeGreaterThan(7);
    expect(bytes).toEqual(bytes.toSorted((a, b) => b - a));
    expect(new Set(idsOf(items)).size).toBe(items.length);
    const newest = await walk(`at=${atMs}&order=asc`, 7);
    const starts = newest.items.map((item) => item.started_at ?? '');
    expect(starts).toEqual(starts.toSorted());
    expect(idsOf(newest.items).toSorted()).toEqual(idsOf(items).toSorted());
  });

  it('pass the filters, and show the fields that are asked for', async () => {
    const atMs = NOW_MS - 30_000;
    const page = await api.get<SessionsAtPage>(
      `/api/v1/sessions?at=${atMs}&user=user-0&fields=user,bytes_sent&limit=1000`,
    );
    expect(page.total).toBe(
      world.sessions.filter((row) => row.user === 'user-0' && wasOpen(row, atMs)).length,
    );
    expect(Object.keys(page.items[0] ?? {}).toSorted()).toEqual(
      [
        'user',
        'bytes_sent',
        'counters',
        'bytes_sent_per_second',
        'bytes_received_per_second',
      ].toSorted(),
    );
  });

  it.each(['&from=now-1h', '&in=open', '&totals=true', '&sort=duration_ms', '&format=csv'])(
    'are not asked for together with %s',
    async (other) => {
      const path = `/api/v1/sessions?at=${NOW_MS}${other}`;
      expect(await api.get<{ code: string }>(path, 400)).toMatchObject({
        code: 'invalid-parameters',
      });
    },
  );

  it('are played back as frames that each equal the page of their time', async () => {
    const fromMs = NOW_MS - 240_000;
    const answer = await api.get<Playback>(
      `/api/v1/sessions/playback?from=${fromMs}&to=${NOW_MS}&step=20s&limit=200`,
    );
    expect(answer.frames).toHaveLength(12);
    for (const frame of answer.frames) {
      const { pages, items } = await walk(`at=${frame.at}&sort=rate`, 200);
      expect({
        ids: idsOf(frame.items),
        open: frame.open,
        rate: frame.bytes_sent_per_second,
      }).toEqual({
        ids: idsOf(items),
        open: pages[0]?.total,
        rate: pages[0]?.bytes_sent_per_second,
      });
    }
    const named = new Set(answer.frames.flatMap((frame) => idsOf(frame.items)));
    expect(idsOf(answer.sessions).toSorted()).toEqual([...named].toSorted());
    await api.get(`/api/v1/sessions/playback?from=${fromMs}&to=${NOW_MS}&step=1s`, 400);
  });

  // Last: it takes the events away.
  it('have the counters of whole minutes if events have expired, and none if minutes have, too', async () => {
    const atMs = NOW_MS - 45_000;
    await database.clickhouse.command({ sql: 'TRUNCATE TABLE session_events' });
    const { items } = await walk(`at=${atMs}`, 100);
    expect(items.length).toBeGreaterThan(10);
    for (const item of items) {
      expect(item).toMatchObject({
        counters: 'minute',
        ...movedIn(item.session_id ?? '', 0, minuteOf(atMs)),
      });
    }
    await database.clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await database.clickhouse.command({
      sql: `INSERT INTO session_traffic_1m (bucket, user, dest_host, session_id, bytes_sent)
        VALUES (toDateTime('2026-03-20 00:00:00', 'UTC'), 'later', 'h', generateUUIDv4(), 1)`,
    });
    const later = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    const page = await later.get<SessionsAtPage>(`/api/v1/sessions?at=${atMs}`);
    expect(page.items[0]).toMatchObject({ counters: 'none', bytes_sent: null });
    await later.close();
  });
});
