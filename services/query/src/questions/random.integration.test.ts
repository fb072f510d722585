/**
 * Random questions against brute force over the folded events: every list of sums, every filter, zones
 * with half hours, changes of the clock, borders of ranges, retention that has expired and parts that
 * were never merged. A failure prints the seed and the question.
 *
 * RANDOM_SEED asks other questions, RANDOM_QUESTIONS (of each kind) asks more.
 *
 * Longer than 400 lines: each route has its brute force beside it, over one world.
 */
import type { SessionEvent, SessionRow } from '@sockscope/schemas';
import {
  FIGURE_NAMES,
  session as sessionSchema,
  SUGGEST_FIELDS,
  SUM_SORTS,
  TOP_FIELDS,
  TOP_LISTS,
} from '@sockscope/schemas/api';
import type {
  DestinationProfile,
  Explain,
  Flows,
  KeyFigures,
  Lookup,
  Playback,
  Session,
  SessionsPage,
  Stats,
  Suggestions,
  TimelinePage,
  TopField,
  Traffic,
  UserProfile,
} from '@sockscope/schemas/api';
import { ceilTo, DAY_MS, floorTo, HOUR_MS, MINUTE_MS } from '@sockscope/schemas/sums';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createTestApp } from '../testing/app.js';
import type { TestApp } from '../testing/app.js';
import { pickOf, randomFilters, randomRange } from '../testing/ask-at-random.js';
import { createTestDatabase } from '../testing/database.js';
import type { TestDatabase } from '../testing/database.js';
import { storeRollups } from '../testing/rollups.js';
import { storeSlices } from '../testing/slices.js';
import type { SlicedHour } from '../testing/slices.js';
import { countAtEndBy, countBy, figuresOf, nothing, openAt } from '../testing/truth.js';
import type { KeyOf, Predicate, Range } from '../testing/truth.js';
import { makeEvents, storeBadly, worldOf } from '../testing/world.js';
import type { World } from '../testing/world.js';

const SEED = Number(process.env['RANDOM_SEED'] ?? 3);
const QUESTIONS = Number(process.env['RANDOM_QUESTIONS'] ?? 4);

const at = (text: string) => Date.parse(text);
const iso = (ms: number) => new Date(ms).toISOString();

/** Berlin's clock goes forward on 29 March, Lord Howe's goes back by half an hour on 4 April at 15:00 UTC. */
const FROM_MS = at('2026-03-27');
const NOW_MS = at('2026-04-05T13:37:12.345Z');
/** Days with sessions whose minutes of traffic have expired. */
const OLD = { fromMs: at('2026-01-05'), toMs: at('2026-01-07') };
/** Days of which only sums are kept. */
const OLDEST = { fromMs: at('2025-12-29'), toMs: at('2025-12-31') };
/** Hours whose sums are from before a change. */
const CHANGED_HOURS = ['2026-04-05T13', '2026-04-04T14', '2026-03-29T01', '2026-03-28T23'].map(
  (text) => at(`${text}:00:00.000Z`),
);
/** Hours with slices. Slices of the last two days may be used, in part. */
const SLICED_HOURS = Array.from({ length: 60 }, (_, i): SlicedHour => {
  const hourMs = floorTo(NOW_MS, HOUR_MS) - i * HOUR_MS;
  const flaws = [null, 'changed', null, 'unnamed', null, 'former', 'unfinished'] as const;
  const isOld = hourMs < NOW_MS - 2 * DAY_MS;
  const flaw = CHANGED_HOURS.includes(hourMs) ? 'changed' : (flaws[i % flaws.length] ?? null);
  return { hourMs, flaw: isOld ? 'expired' : flaw };
});
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'America/St_Johns',
  'Asia/Kathmandu',
];

let database: TestDatabase;
let world: World;
let api: TestApp;

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'), {
    RETENTION_SESSIONS: '91d',
    RETENTION_TRAFFIC: '10d',
    RETENTION_PAIRS_HOURS: '60d',
  });
  const random = seededRandom(SEED);
  const long = Array.from({ length: 12 }, (_, i) =>
    sessionLog({
      random,
      // Some hold over several hours, over midnight and over the changes of the clocks.
      startMs: FROM_MS + Math.floor(random() * 9 * DAY_MS),
      user: `user-${i % 3}`,
      destHost: 'www.site-0.example',
      intervals: 150 + 100 * (i % 4),
      closed: i % 3 !== 0,
    }),
  ).flat();
  const events = [
    ...ended(makeEvents({ seed: SEED + 1, sessions: 60, ...OLDEST })),
    ...ended(makeEvents({ seed: SEED + 2, sessions: 60, ...OLD })),
    ...makeEvents({ seed: SEED + 3, sessions: 350, fromMs: FROM_MS, toMs: NOW_MS }),
    ...long,
  ].filter((event) => Date.parse(event.occurred_at) < NOW_MS);
  world = worldOf(events);
  await storeBadly(database.clickhouse, events, { seed: SEED + 4, batches: 2 });
  await storeRollups(database.clickhouse, world, CHANGED_HOURS);
  await storeSlices(database.clickhouse, world, SLICED_HOURS);
  // Expired rows stay on disk for a while, and must not be seen.
  if (SEED % 2 === 1) {
    await expire('session_traffic_1m', OLD.toMs + DAY_MS);
    for (const table of ['sessions', 'sessions_by_user', 'sessions_by_destination']) {
      await expire(table, OLDEST.toMs + DAY_MS);
    }
  }
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

/** Returns the events without open sessions, because there would be none of that age. */
function ended(events: readonly SessionEvent[]): SessionEvent[] {
  const closed = new Set(
    events.filter(({ type }) => type === 'SessionClosed').map((event) => event.session_id),
  );
  return events.filter((event) => closed.has(event.session_id));
}

/** Drops the partitions of a table that hold nothing from a time on, as retention does. */
async function expire(table: string, keptFromMs: number): Promise<void> {
  const partitions = await database.clickhouse.query({
    sql: `SELECT partition_id AS id FROM system.parts
      WHERE database = currentDatabase() AND table = {table:String} AND active
      GROUP BY id HAVING max(max_time) < toDateTime({kept_from:UInt32}, 'UTC')`,
    params: { table, kept_from: keptFromMs / 1_000 },
    row: z.object({ id: z.string().regex(/^\w+$/) }),
  });
  expect(partitions.length).toBeGreaterThan(0);
  for (const { id } of partitions) {
    await database.clickhouse.command({ sql: `ALTER TABLE ${table} DROP PARTITION ID '${id}'` });
  }
}

const KEYS: Readonly<Record<TopField, { readonly of: KeyOf; readonly atEnd?: true }>> = {
  user: { of: (row) => row.user },
  dest_host: { of: (row) => row.dest_host },
  dest_ip: { of: (row) => row.dest_ip ?? '', atEnd: true },
  egress_ip: { of: (row) => row.egress_ip ?? '', atEnd: true },
  dest_port: { of: (row) => String(row.dest_port) },
  source_ip: { of: (row) => row.source_ip },
  protocol: { of: (row) => row.protocol },
  proxy_id: { of: (row) => row.proxy_id },
  acl_rule_matched: { of: (row) => row.acl_rule_matched ?? '', atEnd: true },
  close_reason: { of: (row) => row.close_reason ?? '', atEnd: true },
  status: { of: (row) => row.status, atEnd: true },
};

/** A question of any endpoint. */
interface Question {
  readonly random: Random;
  readonly zone: string;
  readonly range: Range;
  /** Parameters for `range`, zone and filters. */
  readonly parameters: URLSearchParams;
  readonly matches: Predicate;
}

function questionOf(random: Random, spanDaysMax = Infinity): Question {
  const zone = pickOf(random, ZONES);
  const slicedMs = NOW_MS - 2 * DAY_MS;
  const beginMs = pickOf(random, [FROM_MS, FROM_MS, slicedMs, OLD.fromMs, OLDEST.fromMs]);
  const fromMs = Math.max(beginMs, NOW_MS - spanDaysMax * DAY_MS);
  const { from, to } = randomRange(random, world, { fromMs, toMs: NOW_MS + DAY_MS }, zone);
  const filters = randomFilters(random, world);
  const parameters = new URLSearchParams([
    ['from', from.text],
    ['to', to.text],
    ['time_zone', zone],
    ...filters.parameters.map(([name, value]): [string, string] => [name, value]),
  ]);
  return {
    random,
    zone,
    range: { fromMs: from.ms, toMs: to.ms },
    parameters,
    matches: filters.matches,
  };
}

function pathOf(path: string, parameters: URLSearchParams, more: Record<string, string> = {}) {
  const all = new URLSearchParams(parameters);
  for (const [name, value] of Object.entries(more)) all.set(name, value);
  return `/api/v1/${path}?${all.toString()}`;
}

interface Answered {
  readonly range: { readonly from: string; readonly to: string };
  readonly bytes_range: { readonly from: string; readonly to: string };
  readonly incomplete_minutes: number;
  readonly stale_hours: number;
  readonly previous_range?: { readonly from: string; readonly to: string };
}

const spanOf = (range: { readonly from: string; readonly to: string }): Range => ({
  fromMs: at(range.from),
  toMs: at(range.to),
});

/** Both ends rounded up; a range within one step becomes that step. */
function rounded({ fromMs, toMs }: Range, stepMs: number): Range {
  const range = { fromMs: ceilTo(fromMs, stepMs), toMs: ceilTo(toMs, stepMs) };
  return range.fromMs < range.toMs ? range : { ...range, fromMs: floorTo(fromMs, stepMs) };
}

/**
 * Checks the ranges in an answer. If everything is kept, they are as asked. If not, ends move by less than an hour.
 *
 * @returns whether the answer is marked as complete.
 */
function checkRanges(answer: Answered, { range }: Question): boolean {
  expect(answer.stale_hours).toBe(0);
  const [counted, moved] = [spanOf(answer.range), spanOf(answer.bytes_range)];
  const atEnd = counted.fromMs === moved.fromMs && counted.toMs === moved.toMs;
  const minutes = rounded(range, MINUTE_MS);
  for (const end of ['fromMs', 'toMs'] as const) {
    const isKept = range[end] >= OLD.fromMs + DAY_MS;
    expect(Math.abs(counted[end] - range[end])).toBeLessThan(isKept ? 1 : HOUR_MS);
    if (atEnd) continue;
    const hasMinutes = range.fromMs >= FROM_MS + DAY_MS;
    expect(Math.abs(moved[end] - minutes[end])).toBeLessThan(hasMinutes ? 1 : HOUR_MS);
  }
  const reachMs =
    answer.previous_range === undefined ? range.fromMs : at(answer.previous_range.from);
  if (answer.incomplete_minutes > 0) expect(reachMs).toBeLessThan(FROM_MS + DAY_MS);
  return answer.incomplete_minutes === 0;
}

/** Counts by brute force, over the ranges that an answer names. */
function figuresBy(
  answer: Answered,
  field: TopField | null,
  matches: Predicate,
): Map<string, KeyFigures> {
  const { of, atEnd = false } = field === null ? { of: () => '' } : KEYS[field];
  const range = spanOf(answer.range);
  const counts = atEnd
    ? countAtEndBy(world, range, of, matches)
    : countBy(world, { ...range, moved: spanOf(answer.bytes_range) }, of, matches);
  return new Map(
    [...counts].map(([key, counted]) => [
      key,
      { ...figuresOf(counted), ...(atEnd ? { sessions_started: null } : {}) },
    ]),
  );
}

/** The figures alone, of a row that has more. */
function figuresIn(row: KeyFigures): KeyFigures {
  return Object.fromEntries(FIGURE_NAMES.map((name) => [name, row[name]])) as never;
}

/** How a count is found again as a list: the ends that it counts, or the open sessions. */
const LISTED = {
  sessions_started: { in: 'started' },
  sessions_ended: { in: 'ended' },
  sessions_closed: { in: 'ended', status: 'closed' },
  sessions_failed: { in: 'ended', status: 'failed' },
  sessions_rejected: { in: 'ended', status: 'rejected_by_acl' },
} as const;

/** Every count of a row must be the number of sessions on its list. */
async function expectLists(
  question: Question,
  range: Range,
  counts: Partial<Readonly<Record<keyof typeof LISTED, number | null>>>,
  key: Readonly<Record<string, string>> = {},
): Promise<void> {
  if (range.fromMs < OLD.fromMs + DAY_MS) return;
  const name = pickOf(question.random, Object.keys(LISTED) as (keyof typeof LISTED)[]);
  const count = counts[name] ?? null;
  if (count === null) return;
  const list = LISTED[name];
  const statuses = question.parameters.getAll('status');
  const wanted = 'status' in list ? list.status : (key['status'] ?? null);
  // The key and the count name one status; a filter that lets others pass must not widen that.
  if (wanted !== null && statuses.length > 0 && !statuses.includes(wanted)) {
    expect(count).toBe(0);
    return;
  }
  if ('status' in list && key['status'] !== undefined && key['status'] !== list.status) return;
  const path = pathOf('sessions', question.parameters, {
    ...key,
    ...list,
    from: String(range.fromMs),
    to: String(range.toMs),
    totals: 'true',
    limit: '1',
  });
  const page = await api.get<SessionsPage>(path);
  expect([path, page.totals?.sessions]).toEqual([path, count]);
}

async function expectOpenList(question: Question, atMs: number, count: number): Promise<void> {
  const path = pathOf('sessions', question.parameters, {
    in: 'open',
    from: String(atMs - 1),
    to: String(atMs),
    totals: 'true',
    limit: '1',
  });
  const page = await api.get<SessionsPage>(path);
  expect([path, page.totals?.sessions]).toEqual([path, count]);
}

const distinct = (rows: readonly SessionRow[], of: KeyOf) => new Set(rows.map(of)).size;

async function askStats(question: Question): Promise<void> {
  const { parameters, matches, random } = question;
  const answer = await api.get<Stats>(pathOf('stats', parameters));
  const range = spanOf(answer.range);
  expect(answer.sessions_open).toBe(openAt(world, range.toMs, matches));
  if (!checkRanges(answer, question)) return;
  const begun = world.sessions.filter(
    (row) => matches(row) && at(row.started_at) >= range.fromMs && at(row.started_at) < range.toMs,
  );
  const { duration_quantiles_ms: quantiles, ...current } = answer.current;
  expect(current).toEqual({
    ...(figuresBy(answer, null, matches).get('') ?? figuresOf(nothing())),
    unique_users: distinct(begun, (row) => row.user),
    unique_destinations: distinct(begun, (row) => row.dest_host),
    unique_sources: distinct(begun, (row) => row.source_ip),
  });
  // Within 1 %, so digits behind the point would be noise.
  for (const value of Object.values(quantiles)) expect(value ?? 0).toBe(Math.round(value ?? 0));
  const before = spanOf(answer.previous_range);
  if (before.fromMs >= FROM_MS + DAY_MS) {
    const moved = {
      ...answer,
      range: answer.previous_range,
      bytes_range: shown(rounded(before, MINUTE_MS)),
    };
    expect(answer.previous).toMatchObject(
      figuresBy(moved, null, matches).get('') ?? figuresOf(nothing()),
    );
  }
  const users = figuresBy(answer, 'user', matches);
  for (const item of answer.top_users) expect(figuresIn(item)).toEqual(users.get(item.user));
  expect(answer.top_users).toHaveLength(Math.min(10, users.size));
  await expectLists(question, range, answer.current);
  if (range.toMs >= OLD.fromMs + DAY_MS)
    await expectOpenList(question, range.toMs, answer.sessions_open);
  const [user] = answer.top_users;
  if (user !== undefined && random() < 0.5)
    await expectLists(question, range, user, { user: user.user });
}

function shown(range: Range) {
  return { from: iso(range.fromMs), to: iso(range.toMs) };
}

type TopAnswer = Answered & {
  readonly items: readonly (KeyFigures & Readonly<Record<string, unknown>>)[];
  readonly total: KeyFigures;
  readonly next_cursor: string | null;
};

/** The key of a row; the empty text for none. */
function keyIn(item: Readonly<Record<string, unknown>>, field: TopField): string {
  const { [field]: key } = item;
  return typeof key === 'string' || typeof key === 'number' ? String(key) : '';
}

async function askTop(question: Question, field: TopField): Promise<void> {
  const { parameters, matches, random } = question;
  const sort = pickOf(
    random,
    SUM_SORTS.filter((name) => KEYS[field].atEnd !== true || name !== 'sessions_started'),
  );
  const limit = pickOf(random, ['9', '60', '1000']);
  const items: TopAnswer['items'][number][] = [];
  let first: TopAnswer | null = null;
  for (let cursor: string | null = null; ;) {
    const more: Record<string, string> = { sort, limit, ...(cursor === null ? {} : { cursor }) };
    const page = await api.get<TopAnswer>(pathOf(`top/${TOP_LISTS[field].path}`, parameters, more));
    first ??= page;
    items.push(...page.items);
    cursor = page.next_cursor;
    if (cursor === null) break;
  }
  if (!checkRanges(first, question)) return;
  const counts = [...figuresBy(first, field, matches)].filter(([, figures]) =>
    FIGURE_NAMES.some((name) => name !== 'duration_ms' && (figures[name] ?? 0) > 0),
  );
  const sessionsOf = (figures: KeyFigures) => figures.sessions_started ?? figures.sessions_ended;
  const ranked = counts.toSorted(
    ([a, one], [b, other]) =>
      (other[sort] ?? 0) - (one[sort] ?? 0) ||
      sessionsOf(other) - sessionsOf(one) ||
      Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  expect(items.map((item) => [keyIn(item, field), figuresIn(item)])).toEqual(ranked);
  const [item] = items.length === 0 ? [] : [pickOf(random, items)];
  if (item === undefined) return;
  const key = { [field]: keyIn(item, field) };
  await expectLists(question, spanOf(first.range), item, key);
}

async function askTraffic(question: Question): Promise<void> {
  const { parameters, matches, random } = question;
  const split =
    random() < 0.5
      ? null
      : pickOf(
          random,
          TOP_FIELDS.filter((name) => name !== 'dest_ip'),
        );
  const lastedMs = question.range.toMs - question.range.fromMs;
  const isShort = lastedMs < 30 * DAY_MS;
  const intervals = lastedMs < 2 * DAY_MS ? ['auto', '15m', '30m', '1h'] : ['auto', '1h', '1d'];
  const interval = pickOf(random, isShort ? intervals : ['auto', '1d', '1w']);
  const answer = await api.get<Traffic>(
    pathOf('traffic', parameters, { interval, series: '20', ...(split === null ? {} : { split }) }),
  );
  if (!checkRanges(answer, question)) return;
  const isWholeKept = question.range.fromMs >= FROM_MS + DAY_MS;
  const bounds = [...answer.buckets.map(at), at(answer.range.to)];
  const keyOf = split === null ? () => '' : KEYS[split].of;
  for (const line of answer.series.filter((each) => !each.other)) {
    const own: Predicate = (row) => matches(row) && keyOf(row) === String(line.key ?? '');
    const points = answer.buckets.map((_, i) => ({
      bytes_sent: line.bytes_sent[i],
      bytes_received: line.bytes_received[i],
      packets_sent: line.packets_sent[i],
      sessions_started: line.sessions_started === null ? null : line.sessions_started[i],
      sessions_closed: line.sessions_closed[i],
      sessions_failed: line.sessions_failed[i],
      sessions_rejected: line.sessions_rejected[i],
    }));
    if (isWholeKept) {
      points.forEach((point, i) => {
        const range = { fromMs: bounds[i] ?? 0, toMs: bounds[i + 1] ?? 0 };
        const isFirst = i === 0;
        // A minute belongs to the bucket in which it begins; one that the range lies in, to the first.
        const moved = { fromMs: isFirst ? 0 : range.fromMs, toMs: range.toMs };
        const inRange = spanOf(answer.bytes_range);
        const bucket = {
          ...answer,
          range: shown(range),
          bytes_range: shown({
            fromMs: Math.max(moved.fromMs, inRange.fromMs),
            toMs: i === points.length - 1 ? inRange.toMs : Math.min(moved.toMs, inRange.toMs),
          }),
        };
        const counted = figuresBy(bucket, split, own).get(String(line.key ?? ''));
        expect([line.key, i, point]).toEqual([
          line.key,
          i,
          pointOf(
            counted ?? {
              ...figuresOf(nothing()),
              ...(split !== null && KEYS[split].atEnd === true ? { sessions_started: null } : {}),
            },
          ),
        ]);
        if (line.sessions_open !== null) {
          expect(line.sessions_open[i]).toBe(openAt(world, range.toMs, own));
        }
      });
    }
    const sum = (name: keyof ReturnType<typeof pointOf>) =>
      points.reduce((all, point) => all + (point[name] ?? 0), 0);
    const whole = figuresBy(answer, split, own).get(String(line.key ?? ''));
    expect([sum('bytes_received'), sum('sessions_closed'), sum('sessions_started')]).toEqual([
      whole?.bytes_received ?? 0,
      whole?.sessions_closed ?? 0,
      whole?.sessions_started ?? 0,
    ]);
  }
  const [line] = answer.series.filter((each) => !each.other);
  if (line === undefined || !isWholeKept) return;
  const i = Math.floor(random() * answer.buckets.length);
  const range = { fromMs: bounds[i] ?? 0, toMs: bounds[i + 1] ?? 0 };
  const counts = {
    sessions_started: line.sessions_started?.[i] ?? null,
    sessions_closed: line.sessions_closed[i] ?? 0,
    sessions_failed: line.sessions_failed[i] ?? 0,
    sessions_rejected: line.sessions_rejected[i] ?? 0,
  };
  await expectLists(
    question,
    range,
    counts,
    split === null ? {} : { [split]: String(line.key ?? '') },
  );
}

function pointOf(figures: KeyFigures) {
  return {
    bytes_sent: figures.bytes_sent,
    bytes_received: figures.bytes_received,
    packets_sent: figures.packets_sent,
    sessions_started: figures.sessions_started,
    sessions_closed: figures.sessions_closed,
    sessions_failed: figures.sessions_failed,
    sessions_rejected: figures.sessions_rejected,
  };
}

async function askFlows(question: Question): Promise<void> {
  const { parameters, matches } = question;
  const answer = await api.get<Flows & Answered>(pathOf('flows', parameters, { limit: '500' }));
  if (!checkRanges(answer, question)) return;
  const counts = countBy(
    world,
    { ...spanOf(answer.range), moved: spanOf(answer.bytes_range) },
    (row) => JSON.stringify([row.user, row.dest_host, row.dest_port]),
    matches,
  );
  const found = answer.items.map((item) => [
    JSON.stringify([item.user, item.dest_host, item.dest_port]),
    figuresIn(item),
  ]);
  expect(new Map(found as [string, KeyFigures][])).toEqual(
    new Map([...counts].map(([key, counted]) => [key, figuresOf(counted)])),
  );
  expect(figuresIn(answer.total)).toEqual(
    figuresBy(answer, null, matches).get('') ?? figuresOf(nothing()),
  );
}

async function askExplain(question: Question): Promise<void> {
  const { parameters, matches, random } = question;
  const measure = pickOf(random, SUM_SORTS);
  const answer = await api.get<Explain & Answered>(
    pathOf('explain', parameters, { measure, limit: '50' }),
  );
  const before = spanOf(answer.previous_range);
  if (!checkRanges(answer, question) || before.fromMs < FROM_MS + DAY_MS) return;
  const then = {
    ...answer,
    range: shown(before),
    bytes_range: shown(rounded(before, MINUTE_MS)),
  };
  for (const { field, items, counts_at_end } of answer.fields) {
    const figure = counts_at_end && measure === 'sessions_started' ? 'sessions_ended' : measure;
    const [current, previous] = [answer, then].map((of) => figuresBy(of, field, matches));
    const changes = [...new Set([...(current?.keys() ?? []), ...(previous?.keys() ?? [])])].map(
      (key) => {
        const [now, was] = [current, previous].map((of) => of?.get(key)?.[figure] ?? 0);
        return { key, current: now ?? 0, previous: was ?? 0, change: (now ?? 0) - (was ?? 0) };
      },
    );
    const sizes = changes
      .map(({ change }) => Math.abs(change))
      .filter((size) => size > 0)
      .toSorted((a, b) => b - a);
    expect([field, items.map(({ change }) => Math.abs(change))]).toEqual([
      field,
      sizes.slice(0, 50),
    ]);
    for (const { value, current: now, previous: was, change } of items) {
      const key = String(value ?? '');
      expect({ key, current: now, previous: was, change }).toEqual(
        changes.find((each) => each.key === key),
      );
    }
  }
}

async function askLookup({ random, zone }: Question): Promise<void> {
  const kept = world.sessions.filter((row) => at(row.started_at) >= FROM_MS);
  const like = pickOf(
    random,
    kept.filter((row) => row.egress_ip !== null),
  );
  const names = ['dest_ip', 'dest_host', 'egress_ip'] as const;
  const first = pickOf(random, names);
  const asked = [...names, 'dest_port', 'egress_port'] as const;
  const fields = asked.filter((name) => name === first || random() < 0.3);
  const endMs = like.ended_at === null ? NOW_MS : at(like.ended_at);
  // On a border of the session, within it or beyond it, and the clocks may differ just as much.
  const timeMs = pickOf(random, [at(like.started_at), endMs, (at(like.started_at) + endMs) / 2]);
  const apartMs = Math.floor(random() * 4) * 1_000;
  const skewS = Math.floor(random() * 4);
  const hasTime = random() < 0.8;
  const aroundMs = Math.floor(timeMs) + apartMs;
  const parameters = new URLSearchParams([
    ...fields.map((name): [string, string] => [name, String(like[name])]),
    ...(hasTime ? [['time', String(aroundMs)] as [string, string]] : []),
    ['skew', String(skewS)],
    ['time_zone', zone],
    ['limit', '1000'],
  ]);
  const answer = await api.get<Lookup>(pathOf('lookup', parameters));
  const range = hasTime
    ? { fromMs: aroundMs - skewS * 1_000, toMs: aroundMs + skewS * 1_000 }
    : { fromMs: NOW_MS - 30 * DAY_MS, toMs: NOW_MS };
  const expected = world.sessions.filter(
    (row) =>
      fields.every((name) => row[name] === like[name]) &&
      at(row.started_at) <= range.toMs &&
      (row.ended_at === null || at(row.ended_at) >= range.fromMs) &&
      at(row.started_at) >= OLD.fromMs,
  );
  expect(new Set(answer.items.map((item) => item.session_id))).toEqual(
    new Set(expected.map((row) => row.session_id)),
  );
  const distances = answer.items.map(({ distance_ms }) => distance_ms);
  const byHand = answer.items.map(({ started_at, ended_at }) =>
    hasTime
      ? Math.max(0, at(started_at) - aroundMs, ended_at === null ? 0 : aroundMs - at(ended_at))
      : null,
  );
  expect(distances).toEqual(byHand);
  expect(distances).toEqual(distances.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
}

async function askProfile(question: Question): Promise<void> {
  const { parameters, matches, random, zone } = question;
  const field = pickOf(random, ['user', 'dest_host'] as const);
  const kept = world.sessions.filter((row) => at(row.started_at) >= OLD.fromMs);
  const { [field]: name } = pickOf(random, kept);
  const path = `${field === 'user' ? 'users' : 'destinations'}/${encodeURIComponent(name)}`;
  const answer = await api.get<UserProfile | DestinationProfile>(pathOf(path, parameters));
  if (!checkRanges(answer, question)) return;
  const own: Predicate = (row) => matches(row) && row[field] === name;
  expect(answer.totals).toEqual(figuresBy(answer, null, own).get('') ?? figuresOf(nothing()));
  expect(answer.sessions_open).toBe(openAt(world, at(answer.range.to), own));
  const all = kept.filter((row) => row[field] === name);
  expect([answer.first_seen, answer.last_seen].map(at)).toEqual([
    Math.min(...all.map((row) => at(row.started_at))),
    Math.max(...all.map((row) => at(row.updated_at))),
  ]);
  if (question.range.fromMs < FROM_MS + DAY_MS) return;
  const clock = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    hour: '2-digit',
    hourCycle: 'h23',
  });
  const hours = Array.from({ length: 24 }, () => 0);
  const busy = spanOf(answer.busiest_hours.range);
  for (const row of world.sessions.filter(own)) {
    const ms = at(row.started_at);
    if (ms < busy.fromMs || ms >= busy.toMs) continue;
    const hour = Number(clock.format(ms));
    hours[hour] = (hours[hour] ?? 0) + 1;
  }
  expect(answer.busiest_hours.hours.map((each) => each.sessions_started)).toEqual(hours);
}

async function askSessions(question: Question): Promise<void> {
  const { parameters, matches, random, range } = question;
  const which = pickOf(random, ['started', 'ended', 'open'] as const);
  const sort = pickOf(random, [
    'started_at',
    'started_at',
    'ended_at',
    'duration_ms',
    'bytes',
  ] as const);
  const order = pickOf(random, ['asc', 'desc'] as const);
  const limit = pickOf(random, ['7', '50', '1000']);
  const ids: string[] = [];
  for (let cursor: string | null = null; ;) {
    const more = { in: which, sort, order, limit, ...(cursor === null ? {} : { cursor }) };
    const page: SessionsPage = await api.get(pathOf('sessions', parameters, more));
    ids.push(...page.items.map((item) => String(item.session_id)));
    cursor = page.next_cursor;
    if (cursor === null) break;
  }
  const within = (text: string | null) =>
    text !== null && at(text) >= range.fromMs && at(text) < range.toMs;
  const isMeant = (row: SessionRow) => {
    if (which === 'started') return within(row.started_at);
    if (which === 'ended') return within(row.ended_at);
    return (
      at(row.started_at) < range.toMs && (row.ended_at === null || at(row.ended_at) > range.fromMs)
    );
  };
  const valueOf = (row: SessionRow): number => {
    switch (sort) {
      case 'started_at':
        return at(row.started_at);
      case 'ended_at':
        return at(row.ended_at ?? row.updated_at);
      case 'duration_ms':
        return row.duration_ms ?? at(row.updated_at) - at(row.started_at);
      case 'bytes':
        return row.bytes_sent + row.bytes_received;
    }
  };
  const sign = order === 'asc' ? 1 : -1;
  const expected = world.sessions
    .filter((row) => at(row.started_at) >= OLD.fromMs && matches(row) && isMeant(row))
    .toSorted(
      (a, b) =>
        sign *
        (valueOf(a) - valueOf(b) ||
          at(a.started_at) - at(b.started_at) ||
          (a.session_id < b.session_id ? -1 : 1)),
    );
  expect(ids).toEqual(expected.map((row) => row.session_id));
}

async function askPresent(question: Question): Promise<void> {
  const { matches, random } = question;
  const filters = new URLSearchParams(question.parameters);
  for (const name of ['from', 'to', 'time_zone']) filters.delete(name);
  const active = await api.get<{ total: number; items: Session[] }>(
    pathOf('sessions/active', filters, { limit: '1000' }),
  );
  const open = world.sessions.filter((row) => row.status === 'active' && matches(row));
  expect(active.total).toBe(open.length);
  expect(new Set(active.items.map((item) => item.session_id))).toEqual(
    new Set(open.map((row) => row.session_id)),
  );
  const { started_at } = pickOf(
    random,
    world.sessions.filter((row) => at(row.started_at) >= FROM_MS),
  );
  const moment = at(started_at) + Math.floor(random() * HOUR_MS);
  const then = await api.get<{ total: number }>(
    pathOf('sessions', filters, { at: String(moment), limit: '1' }),
  );
  expect(then.total).toBe(
    world.sessions.filter(
      (row) =>
        matches(row) &&
        at(row.started_at) >= OLD.fromMs &&
        at(row.started_at) <= moment &&
        (row.ended_at === null || at(row.ended_at) > moment),
    ).length,
  );
}

/** Compares a session with the fold, and its events. */
async function askSession({ random }: Question): Promise<void> {
  const row = pickOf(
    random,
    world.sessions.filter((each) => at(each.started_at) >= FROM_MS),
  );
  const session = await api.get<Session>(`/api/v1/sessions/${row.session_id}`);
  expect(Object.keys(session).toSorted()).toEqual(Object.keys(sessionSchema.shape).toSorted());
  for (const [name, value] of Object.entries(session)) {
    expect([name, value]).toEqual([name, row[name as keyof SessionRow]]);
  }
  const events = world.events
    .filter((event) => event.session_id === row.session_id)
    .toSorted((a, b) => a.seq - b.seq);
  const found: TimelinePage['items'][number][] = [];
  const limit = pickOf(random, ['3', '1000']);
  for (let cursor: string | null = null; ;) {
    const more = new URLSearchParams({ limit, ...(cursor === null ? {} : { cursor }) });
    const page: TimelinePage = await api.get(pathOf(`sessions/${row.session_id}/events`, more));
    found.push(...page.items);
    cursor = page.next_cursor;
    if (cursor === null) break;
  }
  const shownOf = (event: SessionEvent | TimelinePage['items'][number]) => [
    event.seq,
    event.type,
    event.occurred_at,
    event.bytes_sent,
    event.bytes_received,
  ];
  expect(found.map(shownOf)).toEqual(events.map(shownOf));
}

/** Days that values are suggested from: the newest one of the sums, and those before. */
const SUGGESTED_DAYS = Array.from({ length: 7 }, (_, i) => floorTo(NOW_MS, DAY_MS) - i * DAY_MS);

/** How often each value occurs by the sums of those days, of which some are from before a change. */
function suggestedBy(field: TopField): Map<string, number> {
  const { of, atEnd = false } = KEYS[field];
  const changed = CHANGED_HOURS.map((hour) => floorTo(hour, DAY_MS));
  const known = new Map<string, number>();
  for (const fromMs of SUGGESTED_DAYS) {
    const range = { fromMs, toMs: fromMs + DAY_MS };
    for (const [key, counted] of (atEnd ? countAtEndBy : countBy)(world, range, of)) {
      const { sessions_ended, sessions_started } = figuresOf(counted);
      const sessions = atEnd ? sessions_ended : sessions_started;
      // See sumsRow in testing/rollups.ts: the ends are three figures.
      const added = atEnd ? 9 : 3;
      const isWrong = changed.includes(fromMs) && (atEnd || sessions > 0);
      known.set(key, (known.get(key) ?? 0) + (isWrong ? sessions * 7 + added : sessions));
    }
  }
  return known;
}

/** Compares values with a prefix, in any case. */
async function askSuggestions({ random }: Question): Promise<void> {
  const field = pickOf(random, SUGGEST_FIELDS);
  const known = [...suggestedBy(field)]
    .map(([value, sessions]) => ({ value, sessions }))
    .filter(({ value, sessions }) => value !== '' && sessions > 0);
  const like = known.length === 0 ? 'x' : pickOf(random, known).value;
  const beginning = like.slice(0, Math.floor(random() * Math.min(8, like.length + 1)));
  const prefix = random() < 0.5 ? beginning : beginning.toUpperCase();
  const answer = await api.get<Suggestions>(
    pathOf(`suggest/${field}`, new URLSearchParams({ prefix, limit: '50' })),
  );
  const wanted = known
    .filter(({ value }) => value.toLowerCase().startsWith(prefix.toLowerCase()))
    .toSorted(
      (a, b) =>
        b.sessions - a.sessions || Buffer.compare(Buffer.from(a.value), Buffer.from(b.value)),
    );
  expect([field, prefix, answer.items]).toEqual([field, prefix, wanted.slice(0, 50)]);
}

/** Compares each frame with the rows of now and the minutes. */
async function askPlayback(question: Question): Promise<void> {
  const { matches, random } = question;
  const filters = new URLSearchParams(question.parameters);
  const [stepMs, step] = pickOf(random, [
    [10_000, '10s'],
    [60_000, '1m'],
    [3_600_000, '1h'],
  ] as const);
  const fromMs = FROM_MS + Math.floor(random() * (NOW_MS - FROM_MS - 5 * HOUR_MS));
  const limit = pickOf(random, [2, 200]);
  const answer = await api.get<Playback>(
    pathOf('sessions/playback', filters, {
      from: String(fromMs),
      to: String(fromMs + 4 * stepMs),
      step,
      limit: String(limit),
    }),
  );
  const kept = world.sessions.filter((row) => matches(row) && at(row.started_at) >= OLD.fromMs);
  const frames = Array.from({ length: 4 }, (_, i) => {
    const ms = fromMs + i * stepMs;
    const minuteMs = floorTo(ms, MINUTE_MS);
    const open = kept
      .filter((row) => at(row.started_at) <= ms && (row.ended_at === null || at(row.ended_at) > ms))
      .map((row) => {
        const minute = world.minutes.find(
          (each) => each.row.session_id === row.session_id && each.bucketMs === minuteMs,
        );
        return {
          row,
          sent: minute?.counters.bytes_sent ?? 0,
          received: minute?.counters.bytes_received ?? 0,
        };
      })
      .toSorted(
        (a, b) =>
          b.sent + b.received - (a.sent + a.received) ||
          at(b.row.started_at) - at(a.row.started_at) ||
          (a.row.session_id < b.row.session_id ? 1 : -1),
      );
    const rate = (name: 'sent' | 'received') =>
      Math.round(open.reduce((sum, each) => sum + each[name], 0) / 60);
    return {
      at: iso(ms),
      open: open.length,
      bytes_sent_per_second: rate('sent'),
      bytes_received_per_second: rate('received'),
      items: open.slice(0, limit).map(({ row, sent, received }) => ({
        session_id: row.session_id,
        bytes_sent_per_second: Math.round(sent / 60),
        bytes_received_per_second: Math.round(received / 60),
      })),
    };
  });
  expect(answer.frames).toEqual(frames);
  expect(new Set(answer.sessions.map((row) => row.session_id))).toEqual(
    new Set(frames.flatMap(({ items }) => items.map((item) => item.session_id))),
  );
}

async function askExports(question: Question): Promise<void> {
  const { parameters, matches, range } = question;
  const lines = async (path: string) => {
    const response = await api.app.inject(path);
    expect([path, response.statusCode]).toEqual([path, 200]);
    return response.body
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  const exported = await lines(pathOf('sessions', parameters, { format: 'ndjson', in: 'ended' }));
  const over = world.sessions.filter(
    (row) =>
      matches(row) &&
      row.ended_at !== null &&
      at(row.started_at) >= OLD.fromMs &&
      at(row.ended_at) >= range.fromMs &&
      at(row.ended_at) < range.toMs,
  );
  expect(new Set(exported.map((row) => row['session_id']))).toEqual(
    new Set(over.map((row) => row.session_id)),
  );
  const list = await api.get<TopAnswer>(pathOf('top/destinations', parameters, { limit: '1000' }));
  const rows = await lines(pathOf('top/destinations', parameters, { format: 'ndjson' }));
  expect(rows.map((row) => [row['dest_host'], row['bytes'], row['sessions_ended']])).toEqual(
    list.items.map((item) => [item['dest_host'], item.bytes, item.sessions_ended]),
  );
}

const ASK: Readonly<Record<string, (question: Question) => Promise<void>>> = {
  stats: askStats,
  traffic: askTraffic,
  flows: askFlows,
  explain: askExplain,
  lookup: askLookup,
  profiles: askProfile,
  sessions: askSessions,
  'one session': askSession,
  suggestions: askSuggestions,
  playback: askPlayback,
  'the present': askPresent,
  exports: askExports,
};

describe(`random questions with the seed ${SEED}`, () => {
  /** @returns how many were answered rightly. */
  async function askAll(name: string, days: number, ask: (question: Question) => Promise<void>) {
    const random = seededRandom(SEED + name.length * 7_919);
    for (let i = 0; i < QUESTIONS; i += 1) {
      const question = questionOf(random, days);
      try {
        await ask(question);
      } catch (error) {
        throw new Error(
          `RANDOM_SEED=${SEED}, ${name}, question ${i}: ${question.parameters.toString()}`,
          { cause: error },
        );
      }
    }
    return QUESTIONS;
  }

  it.each(Object.entries(ASK))(
    'of %s are answered as brute force answers them',
    async (name, ask) => {
      expect(await askAll(name, Infinity, ask)).toBe(QUESTIONS);
    },
  );

  it.each(TOP_FIELDS)(
    'of the list by %s are answered as brute force answers them',
    async (field) => {
      const days = field === 'dest_ip' ? 5 : Infinity;
      const answered = await askAll(field, days, (question) => askTop(question, field));
      expect(answered).toBe(QUESTIONS);
    },
  );
});
