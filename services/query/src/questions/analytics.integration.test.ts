/** Longer than 400 lines: each answer is counted again from one world, once with sums and once without. */
import type { SessionRow } from '@sockscope/schemas';
import { FIGURE_NAMES } from '@sockscope/schemas/api';
import type {
  DestinationProfile,
  Flows,
  KeyFigures,
  SessionsPage,
  SumSort,
  Stats,
  Traffic,
  UserProfile,
} from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { refreshRollups, storeRollups } from '../testing/rollups.js';
import {
  count,
  countAtEndBy,
  countBy,
  everything,
  figuresOf,
  nothing,
  openAt,
} from '../testing/truth.js';
import type { Counted, KeyOf, Predicate, Range } from '../testing/truth.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const at = (text: string) => Date.parse(text);
const iso = (ms: number) => new Date(ms).toISOString();
const NOW_MS = at('2026-03-15T13:37:12.345Z');
/** Now, rounded up to a second: the end of a range without one. */
const END_MS = at('2026-03-15T13:37:13.000Z');
const encoded = encodeURIComponent;

/**
 * Days with sessions: around the edges of the requested range, with empty ones between. Each is a
 * partition of every table, and each partition is a part of the price of each question.
 */
const DAYS = new Set(
  ['02-09', '02-10', '02-20', '02-21', '02-28', '03-01']
    .concat(['03-06', '03-07', '03-08', '03-13', '03-14', '03-15'])
    .map((day) => `2026-${day}`),
);

/** A list that is cut off, and a whole one. */
const LIMITS = [3, 100] as const;
const IS_FULL = process.env['SOCKSCOPE_CHAOS'] === 'full';
/** Number of questions so far that were asked with one of the limits in turn. */
let turn = 0;
/** One limit after the other; with SOCKSCOPE_CHAOS=full both. */
const limitsInTurn = () => (IS_FULL ? LIMITS : [LIMITS[turn++ % LIMITS.length] ?? LIMITS[0]]);

let database: TestDatabase;
let world: World;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const events = makeEvents({
    seed: 21,
    sessions: 3_000,
    fromMs: NOW_MS - 40 * DAY_MS,
    toMs: NOW_MS,
  }).filter((event) => DAYS.has(event.started_at.slice(0, 10)));
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: 22, batches: 3 });
});

afterAll(async () => {
  await database.drop();
});

function keyFiguresOf(counted: Counted, atEnd: boolean): KeyFigures {
  const figures = figuresOf(counted);
  return atEnd ? { ...figures, sessions_started: null } : figures;
}

/** The sum of some; starts are unknown if any of them is. */
function plus(sums: readonly KeyFigures[]): KeyFigures {
  const total: KeyFigures = figuresOf(nothing());
  for (const each of sums) {
    for (const name of FIGURE_NAMES) {
      const [a, b] = [total[name], each[name]];
      if (name === 'sessions_started') total[name] = a === null || b === null ? null : a + b;
      else total[name] += each[name];
    }
  }
  return total;
}

const LISTS: readonly {
  readonly list: string;
  readonly field: string;
  readonly keyOf: KeyOf;
  readonly atEnd?: true;
}[] = [
  { list: 'users', field: 'user', keyOf: (r) => r.user },
  { list: 'destinations', field: 'dest_host', keyOf: (r) => r.dest_host },
  { list: 'sources', field: 'source_ip', keyOf: (r) => r.source_ip },
  { list: 'ports', field: 'dest_port', keyOf: (r) => String(r.dest_port) },
  { list: 'protocols', field: 'protocol', keyOf: (r) => r.protocol },
  { list: 'proxies', field: 'proxy_id', keyOf: (r) => r.proxy_id },
  { list: 'statuses', field: 'status', keyOf: (r) => r.status, atEnd: true },
  {
    list: 'acl-rules',
    field: 'acl_rule_matched',
    keyOf: (r) => String(r.acl_rule_matched),
    atEnd: true,
  },
  {
    list: 'close-reasons',
    field: 'close_reason',
    keyOf: (r) => String(r.close_reason),
    atEnd: true,
  },
];

/** Ranges with edges on days, on hours, on neither, and through changed hours. */
const RANGES: readonly (readonly [string, Range])[] = [
  ['', { fromMs: at('2026-03-15'), toMs: END_MS }],
  ['from=2026-02-10&to=2026-03-10', { fromMs: at('2026-02-10'), toMs: at('2026-03-10') }],
  [
    'from=2026-02-20T21:17:00Z&to=2026-03-07T05:30:30.5Z',
    { fromMs: at('2026-02-20T21:17:00Z'), toMs: at('2026-03-07T05:30:30.500Z') },
  ],
  [
    'from=2026-03-14T08:00:00Z&to=2026-03-14T09:00:00Z',
    { fromMs: at('2026-03-14T08:00:00Z'), toMs: at('2026-03-14T09:00:00Z') },
  ],
];

const FILTERS: readonly (readonly [string, Predicate])[] = [
  ['user=user-0', (r) => r.user === 'user-0'],
  [
    'user=user-0&user=user-1&dest_port=443',
    (r) => ['user-0', 'user-1'].includes(r.user) && r.dest_port === 443,
  ],
  ['dest_host=*.example', (r) => r.dest_host.endsWith('.example')],
  ['dest_host=www.site-0.example', (r) => r.dest_host === 'www.site-0.example'],
  ['dest_port=443&dest_port=80', (r) => [443, 80].includes(r.dest_port)],
  ['protocol=udp', (r) => r.protocol === 'udp'],
  ['proxy_id=proxy-2', (r) => r.proxy_id === 'proxy-2'],
  ['source_ip=192.0.2.0/25', (r) => Number(r.source_ip.split('.')[3]) < 128],
  ['status=closed&min_bytes=5000', (r) => r.status === 'closed' && bytesOf(r) >= 5_000],
  ['acl_decision=block', (r) => r.acl_decision === 'block'],
];

/** Hours whose sums are from before a change, in the middle of the test. */
const CHANGED_HOURS = ['2026-03-15T13', '2026-03-15T12', '2026-03-07T05', '2026-02-20T23'].map(
  (text) => at(`${text}:00:00.000Z`),
);

const bytesOf = (row: SessionRow) => row.bytes_sent + row.bytes_received;

describe.each(['from the exact tables alone', 'with rollups'])('%s,', (kind) => {
  beforeAll(async () => {
    if (kind === 'with rollups') await storeRollups(database.clickhouse, world, CHANGED_HOURS);
    api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
  });

  afterAll(async () => {
    await api.close();
  });

  interface Question {
    readonly parameters: string;
    readonly range: Range;
    readonly matches: Predicate;
    readonly sort: SumSort;
    readonly limits: readonly number[];
  }

  interface TopPage {
    readonly as_of: string;
    readonly range: { readonly from: string; readonly to: string };
    readonly next_cursor: string | null;
  }

  interface TopAnswer {
    readonly items: readonly (KeyFigures & { readonly share: number } & Readonly<
        Record<string, unknown>
      >)[];
    readonly other: KeyFigures | null;
    readonly total: KeyFigures;
    readonly resolution: string;
  }

  /** Answers of a list with the result of a plain count. */
  async function topAnswers(
    of: (typeof LISTS)[number],
    { parameters, range, matches, sort, limits }: Question,
  ) {
    const atEnd = of.atEnd === true;
    const counts = (atEnd ? countAtEndBy : countBy)(world, range, of.keyOf, matches);
    const rows = [...counts].map(([key, counted]) => ({ key, sums: keyFiguresOf(counted, atEnd) }));
    const valueOf = (sums: KeyFigures) => sums[sort] ?? 0;
    const sessionsOf = (sums: KeyFigures) => sums.sessions_started ?? sums.sessions_ended;
    const ranked = rows.toSorted(
      (a, b) =>
        valueOf(b.sums) - valueOf(a.sums) ||
        sessionsOf(b.sums) - sessionsOf(a.sums) ||
        Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)),
    );
    const total = atEnd
      ? { ...plus(rows.map(({ sums }) => sums)), sessions_started: null }
      : plus(rows.map(({ sums }) => sums));
    const answers: { limit: number; answer: TopAnswer }[] = [];
    for (const limit of limits) {
      const path = `/api/v1/top/${of.list}?sort=${sort}&limit=${limit}&${parameters}`;
      answers.push({ limit, answer: await api.get<TopAnswer>(path) });
    }
    return answers.map(({ limit, answer }) => ({
      answer: {
        total: answer.total,
        items: answer.items.map((item) => [String(item[of.field]), plus([item])]),
        shares: answer.items.map((item) => item.share.toFixed(9)),
        sum: sumOf(answer, atEnd),
      },
      expected: {
        total,
        items: ranked.slice(0, limit).map(({ key, sums }) => [key, sums]),
        shares: ranked
          .slice(0, limit)
          .map(({ sums }) =>
            (valueOf(total) === 0 ? 0 : valueOf(sums) / valueOf(total)).toFixed(9),
          ),
        sum: total,
      },
    }));
  }

  /** All that is shown, and the rest. */
  function sumOf(answer: TopAnswer, atEnd: boolean): KeyFigures {
    const all = plus([...answer.items, ...(answer.other === null ? [] : [answer.other])]);
    return atEnd ? { ...all, sessions_started: null } : all;
  }

  describe.each(LISTS)('top/$list', (of) => {
    it.each(RANGES)('over %s is a plain count', async (parameters, range) => {
      const question = { parameters, range, matches: everything, sort: 'bytes' } as const;
      for (const each of await topAnswers(of, { ...question, limits: limitsInTurn() })) {
        expect(each.answer).toEqual(each.expected);
      }
    });
  });

  it.each([
    'bytes_sent',
    'packets_received',
    'sessions_ended',
    'duration_ms',
    'sessions_rejected',
  ] as const)('top lists by %s are plain counts', async (sort) => {
    const [parameters, range] = RANGES[1] ?? expect.unreachable();
    for (const of of [LISTS[0], LISTS[7]]) {
      if (of === undefined) return expect.unreachable();
      const question = { parameters, range, matches: everything, sort } as const;
      for (const each of await topAnswers(of, { ...question, limits: limitsInTurn() })) {
        expect(each.answer).toEqual(each.expected);
      }
    }
  });

  it.each(FILTERS)('top lists with %s are plain counts', async (filter, matches) => {
    const [parameters, range] = RANGES[2] ?? expect.unreachable();
    for (const of of [LISTS[1], LISTS[2], LISTS[8]]) {
      if (of === undefined) return expect.unreachable();
      const question = { parameters: `${parameters}&${filter}`, range, matches } as const;
      const limits = limitsInTurn();
      for (const each of await topAnswers(of, { ...question, sort: 'bytes', limits })) {
        expect(each.answer).toEqual(each.expected);
      }
    }
  });

  it('the pages of a list name one time, and a cursor takes no range that a request may not have', async () => {
    const path = (cursor: string, list = 'users') =>
      `/api/v1/top/${list}?from=now-1d&limit=2&cursor=${cursor}`;
    const first = await api.get<TopPage>('/api/v1/top/users?from=now-1d&limit=2');
    const cursor = first.next_cursor ?? expect.unreachable();
    // Another process, later.
    const later = await createTestApp(database.clickhouse, { now: () => END_MS + 60_000 });
    const second = await later.get<TopPage>(path(cursor));
    await later.close();
    expect([second.as_of, second.range]).toEqual([first.as_of, first.range]);
    const [version, of, value, sessions, key, fromMs, toMs, asOfMs] = JSON.parse(
      Buffer.from(cursor, 'base64url').toString(),
    ) as unknown[];
    for (const [from, to, readMs] of [
      [toMs, fromMs, asOfMs],
      [0, 1e15, asOfMs],
      [fromMs, toMs, 1e15],
      [0, toMs, asOfMs],
    ]) {
      const parts = [version, of, value, sessions, key, from, to, readMs];
      const forged = Buffer.from(JSON.stringify(parts)).toString('base64url');
      expect(await api.get(path(forged), 400)).toMatchObject({ code: 'invalid-cursor' });
    }
  });

  describe('traffic', () => {
    /** Every point of a line, from its bucket's start to the next. */
    function expectLine(
      line: Traffic['series'][number],
      buckets: readonly string[],
      toMs: number,
      matches: Predicate,
    ) {
      const starts = buckets.map(at);
      starts.forEach((fromMs, i) => {
        const range = { fromMs, toMs: starts[i + 1] ?? toMs };
        const counted = count(world, range, matches);
        expect({
          bytes_sent: line.bytes_sent[i],
          bytes_received: line.bytes_received[i],
          packets_sent: line.packets_sent[i],
          packets_received: line.packets_received[i],
          sessions_started: line.sessions_started?.[i],
          sessions_closed: line.sessions_closed[i],
          sessions_failed: line.sessions_failed[i],
          sessions_rejected: line.sessions_rejected[i],
          sessions_open: line.sessions_open?.[i],
        }).toEqual({
          bytes_sent: counted.bytes_sent,
          bytes_received: counted.bytes_received,
          packets_sent: counted.packets_sent,
          packets_received: counted.packets_received,
          sessions_started: counted.sessions_started,
          sessions_closed: counted.sessions_closed,
          sessions_failed: counted.sessions_failed,
          sessions_rejected: counted.sessions_rejected,
          sessions_open: openAt(world, range.toMs, matches),
        });
      });
    }

    it.each([
      ['', END_MS],
      ['from=2026-02-10&to=2026-03-10', at('2026-03-10')],
      ['from=2026-02-10&to=2026-03-10&interval=1d', at('2026-03-10')],
      ['from=2026-03-06&to=2026-03-09T12:00:00Z&interval=1h', at('2026-03-09T12:00:00Z')],
      // The clock is put forward on the last of these days.
      [
        'from=2026-03-06&to=2026-03-09&interval=1d&time_zone=America/New_York',
        at('2026-03-09T04:00:00Z'),
      ],
      [
        'from=2026-03-01&to=2026-03-09&interval=6h&time_zone=Asia/Kathmandu',
        at('2026-03-08T18:15:00Z'),
      ],
      // Every third hour is cut, in more spans than one statement may have.
      ['from=2026-02-01&to=2026-03-15&interval=3h&time_zone=Asia/Kolkata', at('2026-03-14T18:30Z')],
      ['from=2026-02-01&to=2026-03-15&time_zone=Asia/Kolkata', at('2026-03-14T18:30Z')],
      ['from=2026-02-01&to=2026-03-15&interval=1w', at('2026-03-15')],
      ['from=2026-01-01&to=2026-03-15&interval=1mo', at('2026-03-15')],
      ['from=2026-03-15T12:00:00Z&to=2026-03-15T13:37:00Z&interval=1m', at('2026-03-15T13:37:00Z')],
      ['from=2026-03-14T11:11:11.111Z&interval=30m', END_MS],
    ])('?%s has every point right and no gaps', async (parameters, toMs) => {
      const answer = await api.get<Traffic>(`/api/v1/traffic?${parameters}`);
      expect(answer.series).toHaveLength(1);
      const [line] = answer.series;
      expect(line).toMatchObject({ key: null, other: false });
      expect(at(answer.range.to)).toBe(toMs);
      expectLine(line ?? expect.unreachable(), answer.buckets, toMs, everything);
    });

    it('of a range without any session is zeros', async () => {
      const answer = await api.get<Traffic>(
        '/api/v1/traffic?from=2020-01-01&to=2020-01-08&interval=1d',
      );
      expect(answer.buckets).toHaveLength(7);
      expect(answer.series[0]?.bytes_sent).toEqual([0, 0, 0, 0, 0, 0, 0]);
      expect(answer.series[0]?.sessions_open).toEqual([0, 0, 0, 0, 0, 0, 0]);
    });

    it.each([
      ['user', (r: SessionRow) => r.user],
      ['dest_host', (r: SessionRow) => r.dest_host],
      ['protocol', (r: SessionRow) => r.protocol],
      ['proxy_id', (r: SessionRow) => r.proxy_id],
    ] as const)(
      'split by %s has a line each for the top and one for others',
      async (split, keyOf) => {
        const answer = await api.get<Traffic>(
          `/api/v1/traffic?from=2026-02-20T21:00:00Z&to=2026-03-08&interval=1d&split=${split}&series=3`,
        );
        const own = answer.series.filter((line) => !line.other);
        const keys = own.map((line) => line.key);
        const range = { fromMs: at('2026-02-20T21:00:00Z'), toMs: at('2026-03-08') };
        const ranked = [...countBy(world, range, keyOf)]
          .toSorted(
            ([, a], [, b]) => b.bytes_sent + b.bytes_received - a.bytes_sent - a.bytes_received,
          )
          .map(([key]) => key);
        expect(keys).toEqual(ranked.slice(0, 3));
        for (const line of own) {
          expectLine(line, answer.buckets, range.toMs, (r) => keyOf(r) === line.key);
        }
        const rest = answer.series.filter((line) => line.other);
        expect(rest).toHaveLength(ranked.length > 3 ? 1 : 0);
        for (const line of rest) {
          expectLine(line, answer.buckets, range.toMs, (r) => !keys.includes(keyOf(r)));
        }
      },
    );

    it('split by status counts sessions at their end', async () => {
      const answer = await api.get<Traffic>(
        '/api/v1/traffic?from=2026-02-20&to=2026-03-01&interval=1d&split=status&sort=sessions_ended',
      );
      expect(new Set(answer.series.map((line) => line.key))).toEqual(
        new Set(['closed', 'failed', 'rejected_by_acl']),
      );
      for (const line of answer.series) {
        expect(line.sessions_open).toBeNull();
        answer.buckets.forEach((bucket, i) => {
          const range = { fromMs: at(bucket), toMs: at(bucket) + DAY_MS };
          const counted = countAtEndBy(world, range, (r) => r.status).get(String(line.key));
          expect(line.bytes_received[i]).toBe(counted?.bytes_received ?? 0);
          const ended =
            (line.sessions_closed[i] ?? 0) +
            (line.sessions_failed[i] ?? 0) +
            (line.sessions_rejected[i] ?? 0);
          expect(ended).toBe(counted?.sessions_started ?? 0);
        });
      }
    });

    it.each(FILTERS)('with %s has every point right', async (filter, matches) => {
      const answer = await api.get<Traffic>(
        `/api/v1/traffic?from=2026-02-20T21:00:00Z&to=2026-03-08T03:00:00Z&interval=1d&${filter}`,
      );
      const [line] = answer.series;
      expectLine(line ?? expect.unreachable(), answer.buckets, at('2026-03-08T03:00:00Z'), matches);
    });

    it('refuses an interval with too many points, by name', async () => {
      const problem = await api.get<{ errors: { parameter: string }[] }>(
        '/api/v1/traffic?from=2026-01-01&to=2026-03-01&interval=1m',
        400,
      );
      expect(problem.errors[0]?.parameter).toBe('interval');
    });
  });

  describe('stats', () => {
    function quantileBounds(range: Range, matches: Predicate, q: number): [number, number] {
      const durations = world.sessions
        .filter((row) => matches(row) && row.ended_at !== null)
        .filter((row) => {
          const endedMs = at(row.ended_at ?? '');
          return endedMs >= range.fromMs && endedMs < range.toMs;
        })
        .map((row) => row.duration_ms ?? 0)
        .toSorted((a, b) => a - b);
      const rank = q * (durations.length - 1);
      const low = durations[Math.max(0, Math.floor(rank) - 1)] ?? 0;
      const high = durations[Math.min(durations.length - 1, Math.ceil(rank) + 1)] ?? 0;
      return [low * 0.99 - 1, high * 1.01 + 1];
    }

    function expectPeriod(period: Stats['current'], range: Range, matches: Predicate) {
      const counted = count(world, range, matches);
      const { duration_quantiles_ms: quantiles, ...rest } = period;
      const begun = world.sessions.filter((row) => {
        const startedMs = at(row.started_at);
        return matches(row) && startedMs >= range.fromMs && startedMs < range.toMs;
      });
      const distinct = (keyOf: KeyOf) => new Set(begun.map(keyOf)).size;
      expect(rest).toEqual({
        ...figuresOf(counted),
        unique_users: distinct((r) => r.user),
        unique_destinations: distinct((r) => r.dest_host),
        unique_sources: distinct((r) => r.source_ip),
      });
      for (const [q, value] of [
        [0.5, quantiles.p50],
        [0.9, quantiles.p90],
        [0.95, quantiles.p95],
        [0.99, quantiles.p99],
      ] as const) {
        const [low, high] = quantileBounds(range, matches, q);
        expect(value).toBeGreaterThanOrEqual(low);
        expect(value).toBeLessThanOrEqual(high);
      }
    }

    it('of today are compared with yesterday up to the same time', async () => {
      const answer = await api.get<Stats>('/api/v1/stats');
      expect(answer.range).toEqual({ from: '2026-03-15T00:00:00.000Z', to: iso(END_MS) });
      expect(answer.previous_range).toEqual({
        from: '2026-03-14T00:00:00.000Z',
        to: '2026-03-14T13:37:13.000Z',
      });
      expectPeriod(answer.current, { fromMs: at('2026-03-15'), toMs: END_MS }, everything);
      expectPeriod(
        answer.previous,
        { fromMs: at('2026-03-14'), toMs: END_MS - DAY_MS },
        everything,
      );
      expect(answer.sessions_open).toBe(world.sessions.filter((r) => r.status === 'active').length);
    });

    it('of today mean the day of the time zone', async () => {
      const answer = await api.get<Stats>('/api/v1/stats?time_zone=Asia/Kolkata');
      expect(answer.range.from).toBe('2026-03-14T18:30:00.000Z');
      expect(answer.previous_range.to).toBe('2026-03-14T13:37:13.000Z');
      const range = { fromMs: at('2026-03-14T18:30:00Z'), toMs: END_MS };
      expectPeriod(answer.current, range, everything);
    });

    it('of any range are compared with the same length before', async () => {
      const [, range] = RANGES[2] ?? expect.unreachable();
      const answer = await api.get<Stats>(`/api/v1/stats?${RANGES[2]?.[0] ?? ''}`);
      expectPeriod(answer.current, range, everything);
      const before = { fromMs: 2 * range.fromMs - range.toMs, toMs: range.fromMs };
      expect(answer.previous_range).toEqual({ from: iso(before.fromMs), to: iso(before.toMs) });
      expectPeriod(answer.previous, before, everything);
      expect(answer.sessions_open).toBe(openAt(world, range.toMs));
      const users = [...countBy(world, range, (r) => r.user)]
        .map(([, counted]) => counted.bytes_sent + counted.bytes_received)
        .toSorted((a, b) => b - a)
        .slice(0, 10);
      expect(answer.top_users.map((item) => item.bytes)).toEqual(users);
    });

    it('of less than a minute count the bytes of that minute, and show it in bytes_range', async () => {
      const row = world.minutes.find(({ counters }) => counters.bytes_received > 0);
      const minuteMs = row?.bucketMs ?? expect.unreachable();
      const answer = await api.get<Stats>(
        `/api/v1/stats?from=${minuteMs + 5_000}&to=${minuteMs + 50_000}`,
      );
      expect(answer.bytes_range).toEqual({ from: iso(minuteMs), to: iso(minuteMs + 60_000) });
      const moved = count(world, { fromMs: minuteMs, toMs: minuteMs + 60_000 });
      expect(answer.current.bytes).toBe(figuresOf(moved).bytes);
      const begun = count(world, { fromMs: minuteMs + 5_000, toMs: minuteMs + 50_000 });
      expect(answer.current.sessions_started).toBe(begun.sessions_started);
    });

    it('of an empty range have no quantiles', async () => {
      const answer = await api.get<Stats>('/api/v1/stats?from=2020-01-01&to=2020-01-02');
      expect(answer.current.duration_quantiles_ms).toEqual({
        p50: null,
        p90: null,
        p95: null,
        p99: null,
      });
      expect(answer.current.unique_users).toBe(0);
    });
  });

  describe('flows', () => {
    it.each([['', everything] as const, ...FILTERS])(
      'with %s are plain counts',
      async (filter, matches) => {
        const [parameters, range] = RANGES[2] ?? expect.unreachable();
        const counts = countBy(
          world,
          range,
          (r) => JSON.stringify([r.user, r.dest_host, r.dest_port]),
          matches,
        );
        const answer = await api.get<Flows>(`/api/v1/flows?limit=20&${parameters}&${filter}`);
        for (const item of answer.items) {
          const counted = counts.get(JSON.stringify([item.user, item.dest_host, item.dest_port]));
          expect(item).toMatchObject({
            sessions_started: counted?.sessions_started,
            bytes_sent: counted?.bytes_sent,
            bytes_received: counted?.bytes_received,
          });
        }
        const bytes = [...counts.values()].map((c) => c.bytes_sent + c.bytes_received);
        const ranked = bytes.toSorted((a, b) => b - a);
        expect(answer.items.map((item) => item.bytes)).toEqual(ranked.slice(0, 20));
        expect(answer.total.bytes).toBe(bytes.reduce((a, b) => a + b, 0));
        const shown = answer.items.reduce((sum, item) => sum + item.bytes, 0);
        expect(shown + (answer.other?.bytes ?? 0)).toBe(answer.total.bytes);
      },
    );
  });

  describe('profiles', () => {
    const hostile = `o'brien"; DROP TABLE sessions --`;

    it.each(['user-0', hostile])('of the user %s have all figures', async (user) => {
      const matches: Predicate = (r) => r.user === user;
      const answer = await api.get<UserProfile>(
        `/api/v1/users/${encoded(user)}?from=2026-02-20T21:00:00Z&to=2026-03-08&limit=100`,
      );
      expectProfile(answer, matches);
      const range = { fromMs: at('2026-02-20T21:00:00Z'), toMs: at('2026-03-08') };
      const hosts = countBy(world, range, (r) => r.dest_host, matches);
      for (const item of answer.destinations) {
        expect(item.sessions_started).toBe(hosts.get(item.dest_host)?.sessions_started);
      }
      expect(answer.destinations.reduce((sum, item) => sum + item.bytes, 0)).toBe(
        answer.totals.bytes,
      );
    });

    it('of a destination that looks like a pattern are of it alone, and so is the list of its sessions', async () => {
      const range = 'from=2026-02-20T21:00:00Z&to=2026-03-08';
      const [exact, below] = [String.raw`\*.example`, '*.example'];
      const list = (host: string) =>
        api.get<SessionsPage>(
          `/api/v1/sessions?${range}&limit=1&totals=true&dest_host=${encoded(host)}`,
        );
      await api.get(`/api/v1/destinations/${encoded(below)}?${range}`, 404);
      expect((await list(exact)).totals?.sessions).toBe(0);
      expect((await list(below)).totals?.sessions).toBeGreaterThan(0);
    });

    it.each(['www.site-0.example', '*.evil.example'])(
      'of the destination %s have all figures',
      async (host) => {
        const matches: Predicate = (r) => r.dest_host === host;
        const answer = await api.get<DestinationProfile>(
          `/api/v1/destinations/${encoded(host)}?from=2026-02-20T21:00:00Z&to=2026-03-08&limit=100`,
        );
        expectProfile(answer, matches);
        expect(answer.users.reduce((sum, item) => sum + item.bytes, 0)).toBe(answer.totals.bytes);
      },
    );

    function expectProfile(answer: UserProfile | DestinationProfile, matches: Predicate) {
      const range = { fromMs: at('2026-02-20T21:00:00Z'), toMs: at('2026-03-08') };
      const own = world.sessions.filter(matches);
      expect(answer.first_seen).toBe(own.map((r) => r.started_at).toSorted()[0]);
      expect(answer.last_seen).toBe(
        own
          .map((r) => r.updated_at)
          .toSorted()
          .at(-1),
      );
      expect(answer.totals).toEqual(figuresOf(count(world, range, matches)));
      expect(answer.sessions_open).toBe(openAt(world, range.toMs, matches));
      const [line] = answer.trend.series;
      expect(line?.sessions_started?.reduce((a, b) => a + b, 0)).toBe(
        answer.totals.sessions_started,
      );
      const hours = Array.from({ length: 24 }, () => 0);
      for (const row of own) {
        const startedMs = at(row.started_at);
        if (startedMs < range.fromMs || startedMs >= range.toMs) continue;
        const hour = new Date(startedMs).getUTCHours();
        hours[hour] = (hours[hour] ?? 0) + 1;
      }
      expect(answer.busiest_hours.hours.map((each) => each.sessions_started)).toEqual(hours);
    }

    it.each([
      ['users/user-0', 'user'],
      ['destinations/www.site-0.example', 'dest_host'],
    ])('%s are empty under a filter by another %s', async (path, filter) => {
      const answer = await api.get<UserProfile | DestinationProfile>(
        `/api/v1/${path}?from=2026-02-20T21:00:00Z&to=2026-03-08&${filter}=another`,
      );
      expect(answer.totals).toEqual(figuresOf(nothing()));
    });

    it('that have no sessions are a 404', async () => {
      for (const path of ['/api/v1/users/nobody', '/api/v1/destinations/nowhere.example']) {
        expect(await api.get(path, 404)).toMatchObject({ code: 'not-found' });
      }
    });
  });

  it('answers name their tables', async () => {
    const closed = await api.get<Traffic>('/api/v1/traffic?from=2026-02-10&to=2026-02-20');
    const changed = await api.get<Traffic>('/api/v1/traffic?from=2026-03-07&to=2026-03-08');
    expect(closed.resolution).toBe(kind === 'with rollups' ? 'hour' : 'minute');
    expect(changed.resolution).toBe('minute');
    expect(closed.stale_hours).toBe(0);
  });
});

describe('today, with fresh sums and no newer events,', () => {
  /** The newest event of all: some sessions continue after the clock of the other tests. */
  let newestMs: number;
  let today: Range;

  beforeAll(async () => {
    newestMs = Math.max(...world.events.map((event) => Date.parse(event.occurred_at)));
    await refreshRollups(database.clickhouse, world, CHANGED_HOURS, newestMs);
    // Whole seconds, because a range without an end is rounded up to one.
    today = { fromMs: at('2026-03-15'), toMs: Math.ceil((newestMs + 1) / 1_000) * 1_000 };
    api = await createTestApp(database.clickhouse, {
      now: () => today.toMs - 1,
      settings: { limits: { reuse_ms: 60_000 } },
    });
    return () => api.close();
  });

  it('equals the sums of the day', async () => {
    const answer = await api.get<Stats>('/api/v1/stats');
    expect(answer).toMatchObject({
      range: { from: iso(today.fromMs), to: iso(today.toMs) },
      resolution: 'day',
      stale_hours: 0,
      incomplete_minutes: 0,
      data_until: iso(newestMs),
    });
    const figures = figuresOf(count(world, today));
    expect(answer.current).toMatchObject({
      ...figures,
      unique_users: new Set(
        world.sessions
          .filter((row) => Date.parse(row.started_at) >= today.fromMs)
          .map((row) => row.user),
      ).size,
    });
    expect(figures.sessions_started).toBeGreaterThan(0);
  });

  it.each(LISTS)('top/$list are plain counts', async ({ list, field, keyOf, atEnd }) => {
    const counts = (atEnd === true ? countAtEndBy : countBy)(world, today, keyOf);
    const answer = await api.get<{ items: (KeyFigures & Record<string, unknown>)[] }>(
      `/api/v1/top/${list}?limit=100`,
    );
    const found = new Map(answer.items.map((item) => [String(item[field]), item.bytes]));
    const expected = [...counts].map(
      ([key, counted]) => [key, counted.bytes_sent + counted.bytes_received] as const,
    );
    expect(found).toEqual(new Map(expected));
  });

  it('traffic by the hour is a plain count', async () => {
    const answer = await api.get<Traffic>('/api/v1/traffic?interval=1h');
    const bytes = answer.buckets.map((from) => {
      const fromMs = at(from);
      return count(world, { fromMs, toMs: Math.min(fromMs + HOUR_MS, today.toMs) }).bytes_received;
    });
    expect(answer.series[0]?.bytes_received).toEqual(bytes);
    expect(answer.resolution).toBe('hour');
  });

  it('the same answer is given again without asking again', async () => {
    const first = await api.get<Stats>('/api/v1/stats');
    const asked = await queriesSent();
    const second = await api.get<Stats>('/api/v1/stats');
    expect({ ...second, as_of: '' }).toEqual({ ...first, as_of: '' });
    expect(await queriesSent()).toEqual(asked);
    expect(await api.registry.metrics()).toMatch(
      /sockscope_query_sql_reused_total\{[^}]*query="sketches"[^}]*\} [1-9]/,
    );
  });

  /** Returns the number of queries by name, without the background's. */
  async function queriesSent(): Promise<Record<string, string>> {
    const text = await api.registry.metrics();
    const lines = text.matchAll(
      /sockscope_query_sql_duration_seconds_count\{[^}]*query="(\w+)"[^}]*\} (\d+)/g,
    );
    const background = ['coverage', 'open_floor'];
    return Object.fromEntries(
      [...lines]
        .map(([, query = '', sent = '']) => [query, sent] as const)
        .filter(([query]) => !background.includes(query)),
    );
  }
});

describe('ranges that retention has cut into', () => {
  const KEPT_FROM_MS = at('2026-02-25');

  beforeAll(async () => {
    const { clickhouse } = database;
    const partitions = await clickhouse.query({
      sql: `SELECT DISTINCT partition_id AS id FROM system.parts
        WHERE database = currentDatabase() AND table = 'session_traffic_1m' AND active
          AND max_time < toDateTime({kept_from:UInt32}, 'UTC')`,
      params: { kept_from: KEPT_FROM_MS / 1_000 },
      row: z.object({ id: z.string().regex(/^\w+$/) }),
    });
    if (partitions.length === 0) throw new Error('there is nothing to forget');
    for (const { id } of partitions) {
      await clickhouse.command({
        sql: `ALTER TABLE session_traffic_1m DROP PARTITION ID '${id}'`,
      });
    }
    api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
    return () => api.close();
  });

  const incomplete = async (path: string) =>
    (await api.get<{ incomplete_minutes: number }>(`/api/v1/${path}`)).incomplete_minutes;

  it('count the minutes without bytes if no sums can answer', async () => {
    // No sums know users by protocol.
    const byProtocol = 'top/users?from=2026-02-10&to=2026-02-12&protocol=udp';
    expect(await incomplete(byProtocol)).toBe(2 * 24 * 60);
  });

  it('count sessions to the millisecond and bytes by whole hours, nothing twice', async () => {
    const edges = ['2026-02-10T10:20:30.500Z', '2026-02-10T15:40:00Z', '2026-02-10T20:10:00Z'];
    const [a = '', b = '', c = ''] = edges;
    const first = await api.get<Stats>(`/api/v1/stats?from=${a}&to=${b}`);
    const second = await api.get<Stats>(`/api/v1/stats?from=${b}&to=${c}`);
    for (const [answer, from, to] of [
      [first, a, b],
      [second, b, c],
    ] as const) {
      const { sessions_started, sessions_closed, duration_ms } = count(world, {
        fromMs: at(from),
        toMs: at(to),
      });
      expect(sessions_started).toBeGreaterThan(0);
      expect(answer).toMatchObject({
        range: { from: iso(at(from)), to: iso(at(to)) },
        incomplete_minutes: 0,
        current: { sessions_started, sessions_closed, duration_ms },
      });
    }
    expect(first.bytes_range).toEqual({
      from: '2026-02-10T11:00:00.000Z',
      to: '2026-02-10T16:00:00.000Z',
    });
    expect(second.bytes_range).toEqual({
      from: '2026-02-10T16:00:00.000Z',
      to: '2026-02-10T21:00:00.000Z',
    });
    const whole = count(world, {
      fromMs: at('2026-02-10T11:00:00Z'),
      toMs: at('2026-02-10T21:00:00Z'),
    });
    expect(first.current.bytes + second.current.bytes).toBe(figuresOf(whole).bytes);
  });

  it('are absent if sums by day or hour answer, or the minutes are there', async () => {
    for (const path of [
      'stats?from=2026-02-10&to=2026-02-20',
      'traffic?from=2026-02-10&to=2026-02-20&interval=1h',
      'top/users?from=2026-03-01&to=2026-03-12T13:14:15Z&protocol=udp',
      'stats',
    ]) {
      expect([path, await incomplete(path)]).toEqual([path, 0]);
    }
  });
});
