/** Longer than 400 lines: all tests sum one generated world, which takes seconds to make. */
import { loadConfig } from '@sockscope/runtime';
import { ClickHouseError, int64, isoTime } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { fold, toTimestamp, zeroCounters } from '@sockscope/schemas';
import type { SessionEvent, SessionRow, SessionState } from '@sockscope/schemas';
import { countedSql } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createMigrator } from '../migrations/migrator.js';
import { tablesConfig } from '../migrations/config.js';
import {
  createTestTables,
  NOTHING_EXPIRES,
  storeBatch,
  testLogger,
  testRegistry,
} from '../testing/fold-into-tables.js';
import { TABLE_COLUMNS } from '../tables/columns.js';
import { createMarkKeeper } from './marks.js';
import type { MarkKeeper } from './marks.js';
import { ALL } from './choose.js';
import { createRollupMetrics } from './metrics.js';
import { changedHours, createBuckets } from './buckets.js';
import { findRollupDifferences, markAllHours } from './compare.js';
import { createRollups } from './rollups.js';
import { rollupsConfig } from './config.js';
import type { Rollups } from './rollups.js';
import { TARGETS, WHOLE } from './sql.js';

/** More random logs, and of more sessions, with SOCKSCOPE_CHAOS=full. */
const IS_FULL = process.env['SOCKSCOPE_CHAOS'] === 'full';
const SEEDS = IS_FULL ? [1, 2, 3] : [1];
const SESSIONS_IN_SLICES = IS_FULL ? 25 : 12;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
/** Weeks begin on Mondays; hours and days are as long from here as from 1970. */
const MONDAY_MS = Date.parse('2024-01-01');
const BASE_MS = Date.parse('2026-03-01T00:00:00.000Z');

let tables: Awaited<ReturnType<typeof createTestTables>>;
let clickhouse: ClickHouse;

beforeEach(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
  clickhouse = tables.clickhouse;
});

afterEach(async () => {
  await tables.drop();
});

const COMPARE = { retention: NOTHING_EXPIRES, timeoutMs: 120_000 };
const FOR_GOOD = {
  sessions: 0,
  session_traffic_1m: 0,
  rollup_1h: 0,
  rollup_1d: 0,
  rollup_pairs_1h: 0,
};

const EAGER = { INGEST_ROLLUP_QUIET: '0s', INGEST_ROLLUP_INTERVAL: '100ms' };

function newRollups(retention = FOR_GOOD, database = clickhouse, share = ALL): Rollups {
  return createRollups(loadConfig(rollupsConfig, EAGER), {
    clickhouse: database,
    retention,
    share: () => share,
    logger: testLogger,
    metrics: createRollupMetrics(testRegistry()),
  });
}

const TIMEOUT = new ClickHouseError('clickhouse_server', 'TIMEOUT_EXCEEDED', {
  retryable: true,
  serverCode: 159,
});
const TOO_LARGE = new ClickHouseError('clickhouse_server', 'MEMORY_LIMIT_EXCEEDED', {
  retryable: true,
  serverCode: 241,
});

function newKeeper(): MarkKeeper {
  return createMarkKeeper({ open_sessions_max: 1_000 }, { clickhouse, logger: testLogger });
}

async function dirtyBuckets() {
  return (await createBuckets(clickhouse, { timeoutMs: 120_000 }).dirty()).buckets;
}

/** Time and interval of an event hours after `BASE_MS` with which nothing has moved. */
function silentAfter(hours: number) {
  const time = toTimestamp(BASE_MS + hours * HOUR_MS);
  const nothing = { delta: zeroCounters(), minute: zeroCounters() };
  return { occurred_at: time, interval_start: time, interval_end: time, ...nothing };
}

/** The same of a SessionClosed, of a session that began at `BASE_MS`. */
function endAfter(hours: number) {
  const silent = silentAfter(hours);
  return { ...silent, ended_at: silent.occurred_at, duration_ms: hours * HOUR_MS };
}

/** Sums until nothing is dirty: each call sums a bucket once. */
async function settle(rollups: Rollups): Promise<void> {
  for (let rounds = 0; rounds < 100; rounds += 1) {
    await rollups.sumAll();
    if ((await dirtyBuckets()).length === 0) return;
  }
  throw new Error('the rounds never end');
}

const FIGURES = [
  'sessions_started',
  'sessions_closed',
  'sessions_failed',
  'sessions_rejected',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'duration_ms',
] as const;
type Figures = Record<(typeof FIGURES)[number], number>;

/** The plain computation that the tables are compared with: key → figures, without keys of zeros. */
function aggregate(
  states: Iterable<SessionState>,
  bucketMs: number,
  pairs: boolean,
): Map<string, Figures> {
  const sums = new Map<string, Figures>();
  const add = (keys: readonly string[], ms: number, figures: Partial<Figures>) => {
    const bucket = toTimestamp(ms - ((ms - MONDAY_MS) % bucketMs));
    for (const key of keys) {
      const id = `${bucket} ${key}`;
      const sum = sums.get(id) ?? (Object.fromEntries(FIGURES.map((name) => [name, 0])) as Figures);
      for (const name of FIGURES) sum[name] += figures[name] ?? 0;
      sums.set(id, sum);
    }
  };
  const fixed = (row: SessionRow) =>
    pairs
      ? [`${row.user}|${row.dest_host}|${row.dest_port}`]
      : [
          'total|',
          `user|${row.user}`,
          `destination|${row.dest_host}`,
          `source|${row.source_ip}`,
          `port|${row.dest_port}`,
          `protocol|${row.protocol}`,
          `proxy|${row.proxy_id}`,
        ];
  for (const { row, minutes } of states) {
    if (row === null) continue;
    add(fixed(row), Date.parse(row.started_at), { sessions_started: 1 });
    for (const [minute, counters] of minutes) add(fixed(row), Date.parse(minute), counters);
    if (row.ended_at === null) continue;
    const end = {
      sessions_closed: row.status === 'closed' ? 1 : 0,
      sessions_failed: row.status === 'failed' ? 1 : 0,
      sessions_rejected: row.status === 'rejected_by_acl' ? 1 : 0,
      duration_ms: row.duration_ms ?? 0,
    };
    const endMs = Date.parse(row.ended_at);
    add(fixed(row), endMs, end);
    if (pairs) continue;
    const { bytes_sent, bytes_received, packets_sent, packets_received } = row;
    add(
      [
        `acl_rule|${row.acl_rule_matched ?? ''}`,
        `close_reason|${row.close_reason ?? ''}`,
        `status|${row.status}`,
      ],
      endMs,
      { ...end, bytes_sent, bytes_received, packets_sent, packets_received },
    );
  }
  for (const [key, sum] of sums) if (FIGURES.every((name) => sum[name] === 0)) sums.delete(key);
  return sums;
}

/** The rows that count, as the query service reads them. */
async function stored(table: string, key: string, span: BucketSpan): Promise<Map<string, Figures>> {
  const rows = await clickhouse.query({
    sql: `SELECT bucket, ${key} AS key, ${FIGURES.join(', ')} FROM ${table} FINAL WHERE ${countedSql(span, 'true')}`,
    row: z.object({
      bucket: isoTime,
      key: z.string(),
      ...Object.fromEntries(FIGURES.map((name) => [name, int64])),
    }),
  });
  const found = new Map<string, Figures>();
  for (const { bucket, key: text, ...figures } of rows as ({
    bucket: string;
    key: string;
  } & Figures)[]) {
    if (FIGURES.some((name) => figures[name] !== 0)) found.set(`${bucket} ${text}`, figures);
  }
  return found;
}

const DIMENSION_KEY = "concat(dimension, '|', key)";
const PAIR_KEY = "concat(user, '|', dest_host, '|', toString(dest_port))";

/** The content of the tables. */
async function storedSums() {
  return {
    hours: await stored('rollup_1h', DIMENSION_KEY, 'hour'),
    days: await stored('rollup_1d', DIMENSION_KEY, 'day'),
    weeks: await stored('rollup_1w', DIMENSION_KEY, 'week'),
    pairHours: await stored('rollup_pairs_1h', PAIR_KEY, 'detail_hour'),
    pairDays: await stored('rollup_pairs_1d', PAIR_KEY, 'detail_day'),
  };
}

function plainSums(events: readonly SessionEvent[]) {
  const states = [...fold(events).values()];
  return {
    hours: aggregate(states, HOUR_MS, false),
    days: aggregate(states, DAY_MS, false),
    weeks: aggregate(states, WEEK_MS, false),
    pairHours: aggregate(states, HOUR_MS, true),
    pairDays: aggregate(states, DAY_MS, true),
  };
}

function int(random: Random, below: number): number {
  return Math.floor(random() * below);
}

/** Marks as an ingest from before there were slices makes them. */
function withoutSlices(keeper: MarkKeeper): MarkKeeper {
  return {
    ...keeper,
    async plan(batch, signal) {
      const book = await keeper.plan(batch, signal);
      const former = (line: string) =>
        JSON.stringify([...(JSON.parse(line) as readonly unknown[]).slice(0, -1), {}]);
      return {
        ...book,
        blocks: () =>
          book.blocks().map((block) => ({
            ...block,
            bytes: [
              Buffer.from(Buffer.concat(block.bytes).toString().split('\n').map(former).join('\n')),
            ],
          })),
      };
    },
  };
}

/** It also stores ends in another hour only. */
async function forgetEndsInSlices(batch: readonly SessionEvent[]): Promise<void> {
  await clickhouse.command({
    sql: `ALTER TABLE ended_sessions DELETE WHERE toStartOfHour(ended_at) = toStartOfHour(started_at)
      AND session_id IN {ids:Array(UUID)}`,
    params: { ids: [...new Set(batch.map((event) => event.session_id))] },
    settings: { mutations_sync: 2 },
  });
}

/** A log of everything that makes sums go wrong: late, repeated, missing and contradicting events. */
function adversity(
  random: Random,
  sessions: number,
  startMs = BASE_MS,
  spanMs = 3 * DAY_MS,
): SessionEvent[][] {
  return Array.from({ length: sessions }, () => {
    const log = sessionLog({
      random,
      startMs: startMs + int(random, spanMs),
      user: `user-${int(random, 5)}`,
      destHost: `host-${int(random, 5)}.example`,
      closeReason:
        (['client_eof', 'connect_failed', 'acl_rejected', 'idle_timeout'] as const)[
          int(random, 4)
        ] ?? 'client_eof',
    });
    const last = log.at(-1);
    if (last?.type === 'SessionClosed' && random() < 0.3) {
      // A second end, hours later: found open in a journal after a crash.
      const endMs = Date.parse(last.ended_at) + int(random, 5 * HOUR_MS);
      const end = toTimestamp(endMs);
      log.push({
        ...last,
        seq: last.seq + 1,
        occurred_at: end,
        interval_start: end,
        interval_end: end,
        delta: { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 },
        minute: { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 },
        ended_at: end,
        duration_ms: endMs - Date.parse(last.started_at),
        status: 'failed',
        close_reason: 'proxy_crashed',
      });
    }
    // The first event, or any other, never came.
    return log.filter(() => random() > 0.05);
  });
}

describe('rollups', () => {
  it.each(SEEDS)(
    'equal the plain sums with repeated, cut off and late rows, in any order of the rounds (seed %i)',
    async (seed) => {
      const random = seededRandom(seed);
      const logs = adversity(random, 25);
      const rollups = newRollups();
      let keeper = newKeeper();
      // In the order of the sessions' starts, each session's events in theirs; sometimes from the
      // beginning.
      const queue = logs.flat().toSorted((a, b) => (a.occurred_at < b.occurred_at ? -1 : 1));
      let from = 0;
      let deaths = 0;

      while (from < queue.length) {
        const to = Math.min(queue.length, from + 1 + int(random, 40));
        const batch = queue.slice(from, to);
        const at = { partition: 0, firstOffset: from, nextOffset: to };
        const dies = deaths < 8 && random() < 0.3;
        if (dies) {
          deaths += 1;
          // The rows are stored, the marks may or may not be, the offsets are not; another process continues.
          await storeBatch(clickhouse, batch, random() < 0.5 ? [] : [keeper], at);
          keeper = newKeeper();
          from = Math.max(0, from - int(random, 30));
        } else {
          await storeBatch(clickhouse, batch, [keeper], at);
          from = to;
        }
        if (random() < 0.3) await Promise.all([rollups.sumAll(), newRollups().sumAll()]);
      }
      await settle(rollups);
      expect(await storedSums()).toEqual(plainSums(logs.flat()));
    },
  );

  it('count sessions of the last second of an hour, in which a part begins', async () => {
    const random = seededRandom(1);
    const startMs = BASE_MS + HOUR_MS - 500;
    const log = sessionLog({ random, startMs, intervals: 0, closed: false });
    await storeBatch(clickhouse, log, [newKeeper()]);
    await settle(newRollups());
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it.each([
    { seed: 4, hours: 'to come', hasFormer: false },
    // Several changed hours are made from rows together, and a single one with many changed slices too.
    { seed: 5, hours: 'past', hasFormer: false },
    { seed: 6, hours: 'to come', hasFormer: true },
  ])(
    'of hours $hours are made from slices and equal the plain sums, also beside an ingest of the version before: $hasFormer (seed $seed)',
    async ({ seed, hours: when, hasFormer }) => {
      const random = seededRandom(seed);
      const nextHourMs = Math.ceil(Date.now() / HOUR_MS) * HOUR_MS;
      const startMs = when === 'past' ? nextHourMs - 12 * HOUR_MS : nextHourMs;
      const logs = adversity(random, SESSIONS_IN_SLICES, startMs, 3 * HOUR_MS);
      const rollups = newRollups();
      const keeper = newKeeper();
      const former = withoutSlices(newKeeper());
      const queue = logs.flat().toSorted((a, b) => (a.occurred_at < b.occurred_at ? -1 : 1));
      let from = 0;
      for (let batches = 0; from < queue.length; batches += 1) {
        // The first event alone changes one slice.
        const to = batches === 0 ? 1 : Math.min(queue.length, from + 1 + int(random, 40));
        const batch = queue.slice(from, to);
        const isFormer = hasFormer && batches % 3 === 1;
        const at = { partition: 0, firstOffset: from, nextOffset: to };
        await storeBatch(clickhouse, batch, [isFormer ? former : keeper], at);
        if (isFormer) await forgetEndsInSlices(batch);
        // Some are delivered again.
        from = random() < 0.2 ? Math.max(from, to - int(random, 10)) : to;
        if (batches === 0 || random() < 0.4)
          await Promise.all([rollups.sumAll(), newRollups().sumAll()]);
      }
      await settle(rollups);
      expect(await storedSums()).toEqual(plainSums(logs.flat()));
      const hours = Array.from({ length: 12 }, (_, i) => startMs / 1_000 + i * 3_600);
      expect(await findRollupDifferences(clickhouse, hours, COMPARE)).toEqual([]);
      const [slices] = await clickhouse.query({
        sql: 'SELECT uniqExact(bucket) AS buckets FROM rollup_10m',
        row: z.object({ buckets: int64 }),
      });
      expect(slices?.buckets).toBeGreaterThan(
        hasFormer || when === 'past' ? 0 : SESSIONS_IN_SLICES / 2,
      );
    },
  );

  it('count a lost session that sends events again once, even if others were declared lost after it', async () => {
    const log = sessionLog({
      random: seededRandom(7),
      startMs: BASE_MS,
      intervals: 1,
      closed: true,
    });
    const last = log.at(-1);
    if (last?.type !== 'SessionClosed') throw new Error('the log must end');
    // It remembers the session as open, so later events do not mark the hour in which it was
    // declared lost.
    const keeper = newKeeper();
    await storeBatch(clickhouse, log.slice(0, -1), [keeper]);
    await clickhouse.command({
      sql: `INSERT INTO sessions SELECT * REPLACE ('failed' AS status, 'lost' AS close_reason, updated_at AS ended_at,
          0 AS duration_ms, version + 1 AS version) FROM sessions FINAL`,
    });
    await clickhouse.command({
      sql: `INSERT INTO ingest_lost_sessions (session_id, started_at, ended_at, version, state, declared_at)
        SELECT session_id, started_at, ended_at, version, 1, now() - INTERVAL 1 DAY FROM sessions FINAL`,
    });
    const rollups = newRollups();
    await settle(rollups);
    // More than one comparison reads, all of them before it.
    await clickhouse.command({
      sql: `INSERT INTO ingest_lost_sessions (session_id, started_at, ended_at, version, state)
        SELECT generateUUIDv4(), fromUnixTimestamp64Milli(toInt64(${BASE_MS} - intDiv(number, 2) - 1), 'UTC') AS start, start, 1, 1 FROM numbers(205000)`,
    });
    const closed = { ...last, ...endAfter(5) };
    await storeBatch(clickhouse, [closed], [keeper]);
    await settle(rollups);
    expect(await storedSums()).toEqual(plainSums([...log.slice(0, -1), closed]));
  });

  it('count the last end of a session only, in any order of its ends, hours after its start', async () => {
    const random = seededRandom(17);
    const logs = [0, 1].map((i) =>
      sessionLog({ random, startMs: BASE_MS + i * 60_000, intervals: 1, closed: true }),
    );
    const ends = logs.map((log) => {
      const last = log.pop();
      if (last?.type !== 'SessionClosed') throw new Error('the log must end');
      return [2, 4].map((hours, i) => ({
        ...last,
        seq: last.seq + i,
        bytes_sent: last.bytes_sent + i,
        ...endAfter(hours),
      }));
    });
    const [one = [], other = []] = ends;
    const deliveries = [logs.flat(), one.slice(0, 1), other.slice(1), one.slice(1)];
    // The earlier ends come late, one of them again and by other processes.
    deliveries.push(other.slice(0, 1), [...(logs[0] ?? []), ...one.slice(0, 1)]);
    const seen: SessionEvent[] = [];
    for (const [i, batch] of deliveries.entries()) {
      await storeBatch(clickhouse, batch, [newKeeper()], {
        partition: 0,
        firstOffset: i,
        nextOffset: i + 1,
      });
      seen.push(...batch);
      if (i % 3 !== 2) continue;
      await settle(newRollups());
      expect(await storedSums()).toEqual(plainSums(seen));
    }
  });

  it('count the last end of a session only, if both are delivered together after the first was stored', async () => {
    const log = sessionLog({ random: seededRandom(17), startMs: BASE_MS, closed: true });
    const first = log.at(-1);
    if (first?.type !== 'SessionClosed') throw new Error('the log must end');
    const one = { ...first, ...endAfter(2) };
    const other = { ...first, seq: first.seq + 1, ...endAfter(4) };
    const begun = log.slice(0, -1);
    // It died before it committed, so all of it is delivered again.
    await storeBatch(clickhouse, [...begun, one], [newKeeper()]);
    await storeBatch(clickhouse, [...begun, one, other], [newKeeper()]);
    await settle(newRollups());
    expect(await storedSums()).toEqual(plainSums([...begun, one, other]));
  });

  it('read at most twice the rows that began or ended in an hour, though sessions last up to 30 days', async () => {
    // 20,000 sessions of the hour, as many of the 30 days before that end in it, and others besides.
    const [within, before, others] = [20_000, 20_000, 400_000];
    const hour = BASE_MS / 1_000;
    const session = (start: string, end: string, rows: number) => `
      INSERT INTO sessions (session_id, started_at, updated_at, ended_at, duration_ms, user, dest_host, status, version)
      WITH toDateTime64(${hour}, 3, 'UTC') AS hour, ${start} AS start
      SELECT generateUUIDv4(), start, start, ${end} AS end, dateDiff('millisecond', start, end),
        concat('user-', toString(number % 100)), 'host', 'closed', 2 FROM numbers(${rows})`;
    const endColumns = Object.keys(TABLE_COLUMNS.ended_sessions).join(', ');
    const ago = 'hour - toIntervalSecond(1 + rand(1) % 2591000)';
    for (const sql of [
      session('hour + toIntervalSecond(rand(1) % 3500)', 'start + toIntervalSecond(10)', within),
      session(ago, 'hour + toIntervalSecond(rand(2) % 3600)', before),
      session(ago, 'start + toIntervalSecond(rand(2) % 3600)', others),
      `INSERT INTO ended_sessions (${endColumns}) SELECT ${endColumns} FROM sessions
        WHERE toStartOfHour(assumeNotNull(ended_at)) != toStartOfHour(started_at)`,
    ]) {
      await clickhouse.command({
        sql,
        settings: { max_partitions_per_insert_block: 0 },
      });
    }
    const [row] = await clickhouse.query({
      sql: `SELECT count() AS ended FROM sessions WHERE toStartOfHour(assumeNotNull(ended_at)) = toDateTime(${hour}, 'UTC')`,
      row: z.object({ ended: int64 }),
    });
    const ended = row?.ended ?? 0;
    expect(ended).toBeGreaterThan(within + before);
    const { rows, cost } = await clickhouse.queryWithCost({
      sql: `SELECT sum(sessions_closed) AS closed FROM (${TARGETS.hour.fresh(WHOLE)}) WHERE dimension = 'total'`,
      params: { buckets: [hour], from: hour, to: hour + 3_600 },
      row: z.object({ closed: int64 }),
      settings: { prefer_column_name_to_alias: 1, do_not_merge_across_partitions_select_final: 1 },
    });
    expect(rows).toEqual([{ closed: ended }]);
    expect(cost.readRows / ended).toBeLessThan(2);
  });

  it('of settled hours stay settled if open sessions send heartbeats after a restart or a rebalance', async () => {
    const random = seededRandom(23);
    const logs = Array.from({ length: 300 }, (_, i) =>
      sessionLog({ random, startMs: BASE_MS + i * 1_000, intervals: 1, closed: false }),
    );
    const started = logs.flat();
    await storeBatch(clickhouse, started, [newKeeper()]);
    await settle(newRollups());
    const heartbeats = (number: number): SessionEvent[] =>
      logs.flatMap((log) => {
        const last = log.at(-1);
        if (last?.type !== 'TrafficDelta') throw new Error('the log must end with traffic');
        return { ...last, seq: last.seq + number, ...silentAfter(number) };
      });
    const restarted = newKeeper();
    await storeBatch(clickhouse, heartbeats(1), [restarted]);
    expect(await dirtyBuckets()).toEqual([]);
    restarted.keep([]);
    await storeBatch(clickhouse, heartbeats(2), [restarted]);
    expect(await dirtyBuckets()).toEqual([]);
  });

  it('are the same if buckets are too much for one statement, and are summed one by one and in slices', async () => {
    const random = seededRandom(5);
    const log = [BASE_MS, BASE_MS + HOUR_MS].flatMap((startMs) =>
      sessionLog({ random, startMs, intervals: 2, closed: true }),
    );
    await storeBatch(clickhouse, log, [newKeeper()]);
    const sliced = new Set<unknown>();
    // Both hours, one of them, one half, and one dimension by itself.
    let refusals = 4;
    const strained: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const slices = options.params?.['slices'];
        if (slices !== undefined && refusals > 0) {
          refusals -= 1;
          throw TOO_LARGE;
        }
        if (slices !== undefined) sliced.add(slices);
        return clickhouse.command(options);
      },
    };
    await settle(newRollups(FOR_GOOD, strained));
    expect(refusals).toBe(0);
    expect([...sliced]).toContain(2);
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it('are tried again later if every part of a bucket takes too long, and then one bucket after the other', async () => {
    const random = seededRandom(5);
    const log = [BASE_MS, BASE_MS + HOUR_MS].flatMap((startMs) =>
      sessionLog({ random, startMs, intervals: 2, closed: true }),
    );
    await storeBatch(clickhouse, log, [newKeeper()]);
    const late: number[] = [];
    let mostInTime = 0;
    const strained: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const { buckets } = options.params ?? {};
        const count = Array.isArray(buckets) ? buckets.length : 0;
        if (options.sql.includes('INTO rollup_1h') && count > mostInTime) {
          late.push(count);
          throw new ClickHouseError('clickhouse_server', 'TIMEOUT_EXCEEDED', {
            retryable: true,
            serverCode: 159,
          });
        }
        return clickhouse.command(options);
      },
    };
    const rollups = newRollups(FOR_GOOD, strained);
    await expect(rollups.sumAll()).rejects.toThrow('TIMEOUT_EXCEEDED');
    // Both hours, one of them, half of its dimensions, and one dimension by itself.
    expect(late).toEqual([2, 1, 1, 1]);
    mostInTime = 1;
    await settle(rollups);
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it('by pair are sliced if one user has all of them, and a slice reads little more than its share', async () => {
    const [day, pairs, hours] = [BASE_MS / 1_000, 200_000, 4];
    await clickhouse.command({
      sql: `INSERT INTO rollup_pairs_1h (bucket, user, dest_host, dest_port, sessions_started, computed_at)
        SELECT toDateTime(${day} + 3600 * (number % ${hours}), 'UTC'), '', concat('host-', toString(intDiv(number, ${hours}))), 443, 1, now64(6)
        FROM numbers(${pairs})`,
    });
    await createBuckets(clickhouse, { timeoutMs: 120_000 }).mark([['detail_day', day]]);
    const slices = 8;
    const sent: Record<string, SqlValue>[] = [];
    const strained: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const { sql, params = {} } = options;
        const isOfPairs = sql.includes('INTO rollup_pairs_1d');
        if (isOfPairs && Number(params['slices']) < slices) {
          throw new ClickHouseError('clickhouse_server', 'TIMEOUT_EXCEEDED', {
            retryable: true,
            serverCode: 159,
          });
        }
        if (isOfPairs) sent.push(params);
        return clickhouse.command(options);
      },
    };
    await newRollups(FOR_GOOD, strained).sumAll();
    expect(sent).toHaveLength(slices);
    const [daily] = await clickhouse.query({
      sql: `SELECT count() AS pairs, sum(sessions_started) AS started FROM rollup_pairs_1d FINAL`,
      row: z.object({ pairs: int64, started: int64 }),
    });
    expect(daily).toEqual({ pairs: pairs / hours, started: pairs });
    for (const params of sent) {
      const part = { dimensions: [], slice: Number(params['slice']), slices };
      const { cost } = await clickhouse.queryWithCost({
        sql: `SELECT count() AS pairs FROM (${TARGETS.detail_day.fresh(part)})`,
        params,
        row: z.object({ pairs: int64 }),
        settings: { prefer_column_name_to_alias: 1 },
      });
      expect(cost.readRows).toBeLessThan((2 * pairs) / slices);
    }
  });

  it('of the present hour do not wait while an older hour is being summed', async () => {
    // The next hour counts as present too, and stays so if an hour ends during the test.
    const present = (Date.now() - (Date.now() % HOUR_MS) + HOUR_MS) / 1_000;
    const older = BASE_MS / 1_000;
    let begin = () => {};
    let release = () => {};
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const released = new Promise<void>((resolve) => (release = resolve));
    const strained: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const { buckets } = options.params ?? {};
        if (
          options.sql.includes('INTO rollup_1h') &&
          Array.isArray(buckets) &&
          buckets[0] === older
        ) {
          begin();
          await released;
        }
        return clickhouse.command(options);
      },
    };
    const buckets = createBuckets(clickhouse, { timeoutMs: 120_000 });
    const dirtyHours = async () =>
      (await dirtyBuckets()).filter(({ span }) => span === 'hour').map(({ bucket }) => bucket);
    const rollups = newRollups(FOR_GOOD, strained);
    try {
      await buckets.mark([['hour', older]]);
      rollups.start();
      await begun;
      await buckets.mark([['hour', present]]);
      await expect.poll(dirtyHours, { timeout: 30_000 }).toEqual([older]);
    } finally {
      release();
      await rollups.stop();
    }
  });

  it('of an hour that is not over are sums of its slices, and the hour itself is made when no slice has changed', async () => {
    // The next hour counts as present too, and stays so if an hour ends during the test.
    const present = (Date.now() - (Date.now() % HOUR_MS) + HOUR_MS) / 1_000;
    const buckets = createBuckets(clickhouse, { timeoutMs: 120_000 });
    const rollups = newRollups();
    await buckets.mark([['hour', present, [0, 3]]]);
    expect(await rollups.sumNext('others')).toBeNull();
    expect(await rollups.sumNext('present')).toMatchObject({ starts: [present], part: 'newest' });
    expect(await buckets.slices(present)).toEqual({ changes: [], isComplete: true });
    // Its marks remain for the round that makes the hour.
    expect(await rollups.sumNext('present')).toBeNull();
    expect(await buckets.changes('hour', [present])).toHaveLength(1);
    const { nowMs, buckets: dirty } = await buckets.dirty('present');
    expect(nowMs - (dirty[0]?.summedMs ?? 0)).toBeLessThan(60_000);
    expect(await rollups.sumNext('others')).toMatchObject({ starts: [present], part: null });
    expect(await buckets.changes('hour', [present])).toEqual([]);
  });

  /** The slices of the next hour that each statement sums, in seconds, until all are summed. */
  async function sumSlices(
    slices: readonly number[],
    failure: (starts: readonly number[], isWhole: boolean, seconds: number) => Error | null,
  ): Promise<(readonly number[])[]> {
    const hour = (Date.now() - (Date.now() % HOUR_MS) + HOUR_MS) / 1_000;
    const summed: (readonly number[])[] = [];
    const strained: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const { buckets } = options.params ?? {};
        if (options.sql.includes('INTO rollup_10m') && Array.isArray(buckets)) {
          const starts = buckets.map((start) => Number(start) - hour);
          summed.push(starts);
          if (summed.length > 20) throw new Error('it does not end');
          const isWhole = options.sql.includes("'destination'") && options.sql.includes("'source'");
          const error = failure(starts, isWhole, Number(options.settings?.['max_execution_time']));
          if (error !== null) throw error;
        }
        return clickhouse.command(options);
      },
    };
    await createBuckets(clickhouse, { timeoutMs: 120_000 }).mark([['hour', hour, slices]]);
    await newRollups(FOR_GOOD, strained).sumAll();
    return summed;
  }

  it('of slices that take too long together are made slice by slice', async () => {
    const summed = await sumSlices([0, 1], (starts) => (starts.length > 1 ? TIMEOUT : null));
    expect(summed).toEqual([[0, 600], [0], [600]]);
  });

  it('of a light slice and a heavy one end, though the light one is never cut for long', async () => {
    const failure = (starts: readonly number[], isWhole: boolean) =>
      starts.length > 1 || (starts[0] === 600 && isWhole) ? TOO_LARGE : null;
    // The heavy one only in halves, and so the light one too.
    expect(await sumSlices([0, 1], failure)).toEqual([
      [0, 600],
      [0],
      [600],
      [0],
      [0],
      [600],
      [600],
    ]);
  });

  it('of a single slice that is too large are made in halves at once', async () => {
    const failure = (_: readonly number[], isWhole: boolean) => (isWhole ? TOO_LARGE : null);
    expect(await sumSlices([1], failure)).toEqual([[600], [600], [600]]);
  });

  it('of a single slice that takes too long get more time, because halves read all of its rows twice', async () => {
    const failure = (_starts: readonly number[], _isWhole: boolean, seconds: number) =>
      seconds <= loadConfig(rollupsConfig, EAGER).statement_ms / 1_000 ? TIMEOUT : null;
    expect(await sumSlices([1], failure)).toEqual([[600], [600]]);
  });

  it('whose sketches take too long fail, and leave their turn to others', async () => {
    // Of hours that were never summed, the later one comes first.
    const [heavy, light] = [BASE_MS / 1_000 + 30 * 86_400, BASE_MS / 1_000];
    let sketches = 0;
    const strained: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const { from } = options.params ?? {};
        if (options.sql.includes('INTO rollup_sketches_1h') && from === heavy) {
          sketches += 1;
          throw TIMEOUT;
        }
        return clickhouse.command(options);
      },
    };
    const buckets = createBuckets(clickhouse, { timeoutMs: 120_000 });
    await buckets.mark([
      ['detail_hour', heavy],
      ['detail_hour', light],
    ]);
    const rollups = newRollups(FOR_GOOD, strained);
    const groups: unknown[] = [];
    for (let round = 0; round < 2; round += 1) {
      const group = await rollups.sumNext('details').catch((error: unknown) => error);
      groups.push(group instanceof Error ? group.message : group);
    }
    expect(groups).toEqual([
      TIMEOUT.message,
      expect.objectContaining({ span: 'detail_hour', starts: [light] }),
    ]);
    expect(sketches).toBe(1);
  });

  it('are made by several workers, of which each sums buckets of its own', async () => {
    const log = adversity(seededRandom(6), 6).flat();
    await storeBatch(clickhouse, log, [newKeeper()]);
    const summed: string[] = [];
    const work = async (place: number) => {
      const worker = newRollups(FOR_GOOD, clickhouse, { workers: 2, places: [place] });
      // Sums of the other's buckets come when those are done.
      while ((await dirtyBuckets()).length > 0) {
        const group = (await worker.sumNext('others')) ?? (await worker.sumNext('details'));
        for (const start of group?.starts ?? []) summed.push(`${place} ${group?.span} ${start}`);
      }
    };
    await Promise.all([work(0), work(1)]);
    expect(new Set(summed.map((each) => each.slice(0, 1)))).toEqual(new Set(['0', '1']));
    const buckets = new Set(summed.map((each) => each.slice(2)));
    expect(new Set(summed).size).toBe(buckets.size);
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it('have one key for sessions without a rule and with an empty one', async () => {
    await clickhouse.command({
      sql: `INSERT INTO sessions (session_id, started_at, ended_at, status, acl_rule_matched)
        SELECT generateUUIDv4(), toDateTime64('2026-03-01', 3, 'UTC') AS at, at, 'closed', if(number = 0, NULL, '')
        FROM numbers(2)`,
    });
    const hour = BASE_MS / 1_000;
    for (const isOneBucket of [false, true]) {
      const rows = await clickhouse.query({
        sql: `SELECT key, sessions_closed AS closed
          FROM (${TARGETS.hour.fresh(WHOLE, { areRowsKept: true, isOneBucket })}) WHERE dimension = 'acl_rule'`,
        params: { buckets: [hour], from: hour, to: hour + 3_600 },
        row: z.object({ key: z.string(), closed: int64 }),
        settings: { prefer_column_name_to_alias: 1 },
      });
      expect(rows).toEqual([{ key: '', closed: 2 }]);
    }
  });

  it('do not count a key that has disappeared', async () => {
    const log = sessionLog({
      random: seededRandom(9),
      startMs: BASE_MS,
      intervals: 0,
      closeReason: 'connect_failed',
      closed: true,
    });
    await storeBatch(clickhouse, log, [newKeeper()]);
    const rollups = newRollups();
    await settle(rollups);
    const last = log.at(-1);
    if (last?.type !== 'SessionClosed') throw new Error('the log must end');
    const later = {
      ...last,
      seq: last.seq + 1,
      status: 'closed',
      close_reason: 'idle_timeout',
    } as const;
    await storeBatch(clickhouse, [later], [newKeeper()]);
    await settle(rollups);
    expect(await storedSums()).toEqual(plainSums([...log, later]));
  });

  it('keep their finished version if it has not been merged with the drawn one for a week', async () => {
    const rows = [
      ['finished', "'2026-03-01 00:00:00'"],
      ['slices_finished', 'map(1, 5)'],
      ['summed_through', '5'],
    ] as const;
    for (const [column, value] of rows) {
      await clickhouse.command({
        sql: `INSERT INTO ingest_rollup_buckets (span, bucket, writer, ${column}, written_at)
          SELECT 'hour', {bucket:UInt32}, generateUUIDv4(), ${value}, now() - INTERVAL 8 DAY`,
        params: { bucket: BASE_MS / 1_000 },
      });
    }
    await clickhouse.command({
      sql: `INSERT INTO ingest_rollup_buckets (span, bucket, writer, changed_through, summed_through, written_at)
        SELECT 'hour', {bucket:UInt32}, generateUUIDv4(), 5, 5, now() - INTERVAL 8 DAY`,
      params: { bucket: BASE_MS / 1_000 },
    });
    await clickhouse.command({
      sql: 'ALTER TABLE ingest_rollup_buckets MATERIALIZE TTL',
      settings: { mutations_sync: 2 },
    });
    const kept = await clickhouse.query({
      sql: `SELECT multiIf(finished > 0, 'finished', length(slices_finished) > 0, 'slices_finished', changed_through > 0, 'settled mark', 'summed_through') AS name
        FROM ingest_rollup_buckets ORDER BY name`,
      row: z.object({ name: z.string() }),
    });
    expect(kept.map(({ name }) => name)).toEqual(rows.map(([name]) => name).toSorted());
  });

  it('keeps durations within one percent, and every user, destination and source, by hour and by day', async () => {
    const random = seededRandom(5);
    const logs = Array.from({ length: 300 }, (_, i) =>
      sessionLog({
        random,
        startMs: BASE_MS + int(random, HOUR_MS),
        closed: true,
        user: `user-${i % 70}`,
        destHost: `host-${i % 90}.example`,
      }),
    );
    // In halves, so that the hour is made twice.
    const keeper = newKeeper();
    for (const half of [logs.slice(0, 150), logs.slice(150)]) {
      await storeBatch(clickhouse, half.flat(), [keeper]);
      await settle(newRollups());
    }
    const rows = [...fold(logs.flat()).values()].flatMap(({ row }) => (row === null ? [] : [row]));
    const durations = rows.map((row) => row.duration_ms ?? 0).toSorted((a, b) => a - b);
    for (const table of ['rollup_sketches_1h', 'rollup_sketches_1d']) {
      const [read] = await clickhouse.query({
        sql: `SELECT sum(sessions) AS sessions, quantilesDDMerge(0.01, 0.5, 0.9)(duration_sketch) AS quantiles,
            uniqCombined64Merge(17)(users_sketch) AS users,
            uniqCombined64Merge(17)(destinations_sketch) AS destinations,
            uniqCombined64Merge(17)(sources_sketch) AS sources
          FROM ${table} FINAL`,
        row: z.object({
          sessions: int64,
          quantiles: z.array(z.number()),
          users: int64,
          destinations: int64,
          sources: int64,
        }),
      });
      expect(read).toMatchObject({
        sessions: 300,
        users: 70,
        destinations: 90,
        sources: new Set(rows.map((row) => row.source_ip)).size,
      });
      for (const [i, level] of [0.5, 0.9].entries()) {
        const exact = durations[Math.floor(level * (durations.length - 1))] ?? 0;
        expect(read?.quantiles[i]).toBeGreaterThan(exact * 0.97);
        expect(read?.quantiles[i]).toBeLessThan(exact * 1.03);
      }
    }
    const earliest = new Map<number, number>();
    for (const { ended_at, started_at } of rows) {
      const hour = Math.floor(Date.parse(ended_at ?? '') / HOUR_MS) * HOUR_MS;
      const startMs = Date.parse(started_at);
      earliest.set(hour, Math.min(earliest.get(hour) ?? startMs, startMs));
    }
    const known = await clickhouse.query({
      sql: `SELECT toUnixTimestamp(bucket) * 1000 AS hour, toUnixTimestamp64Milli(earliest_start) AS start
        FROM rollup_sketches_1h FINAL WHERE sessions > 0 ORDER BY hour`,
      row: z.object({ hour: int64, start: int64 }),
    });
    expect(known.map(({ hour, start }) => [hour, start])).toEqual(
      [...earliest].toSorted(([a], [b]) => a - b),
    );
  });

  it('leaves the sums of a day of which something has expired', async () => {
    const log = sessionLog({
      random: seededRandom(4),
      startMs: BASE_MS,
      intervals: 2,
      closed: true,
    });
    await storeBatch(clickhouse, log, [newKeeper()]);
    await settle(newRollups());
    await clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await storeBatch(clickhouse, log.slice(0, 1), [newKeeper()]);
    await settle(newRollups({ ...FOR_GOOD, session_traffic_1m: 30 * DAY_MS }));
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it('sum hours beyond the retention of traffic, and then only grow', async () => {
    const random = seededRandom(6);
    const logs = Array.from({ length: 12 }, () =>
      sessionLog({
        random,
        // Some hours of two days: each hour costs statements.
        startMs: BASE_MS + 20 * HOUR_MS + int(random, 8 * HOUR_MS),
        intervals: 2,
        closed: true,
      }),
    );
    const retention = {
      ...FOR_GOOD,
      session_traffic_1m: 30 * DAY_MS,
      rollup_pairs_1h: 30 * DAY_MS,
    };
    const keeper = newKeeper();
    const rollups = newRollups(retention);
    const [first, second] = [logs.slice(0, 6), logs.slice(6)];
    await storeBatch(clickhouse, first.flat(), [keeper]);
    await settle(rollups);
    expect(await storedSums()).toEqual(plainSums(first.flat()));
    // The sums per hour of pairs have expired, from which those per day are made elsewhere.
    await clickhouse.command({ sql: 'TRUNCATE TABLE rollup_pairs_1h' });
    await storeBatch(clickhouse, second.flat(), [keeper]);
    await settle(rollups);
    const { pairHours, ...kept } = await storedSums();
    const { pairHours: plainPairs, ...plain } = plainSums(logs.flat());
    expect(kept).toEqual(plain);
    expect([...plainPairs.keys()]).toEqual(expect.arrayContaining([...pairHours.keys()]));

    await clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await storeBatch(clickhouse, logs.flat(), [newKeeper()]);
    await clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await settle(rollups);
    const { days, weeks } = await storedSums();
    expect({ days, weeks }).toEqual({ days: plain.days, weeks: plain.weeks });
    const hours = [...Array(16).keys()].map((hour) => BASE_MS / 1_000 + (20 + hour) * 3_600);
    const compare = { ...COMPARE, retention: { ...NOTHING_EXPIRES, ...retention } };
    expect(await findRollupDifferences(clickhouse, hours, compare)).toEqual([]);
  });

  it('by rule and status keep the bytes of sessions that have expired before their traffic', async () => {
    const log = sessionLog({ random: seededRandom(4), startMs: BASE_MS, closed: true });
    await storeBatch(clickhouse, log, [newKeeper()]);
    await settle(newRollups());
    for (const table of ['sessions', 'ended_sessions']) {
      await clickhouse.command({ sql: `TRUNCATE TABLE ${table}` });
    }
    // As `forget` does for traffic of another session.
    const buckets = createBuckets(clickhouse, { timeoutMs: 120_000 });
    await buckets.mark(changedHours([BASE_MS / 1_000]));
    await settle(newRollups({ ...FOR_GOOD, sessions: 30 * DAY_MS }));
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it.each([
    ['while its day is made from its hours', {}],
    ['while its day is made from rows', { rollup_pairs_1h: 5 * DAY_MS }],
  ])(
    'of an hour keep the end of a long session whose row has expired before the hour, %s',
    async (_, shorter) => {
      // Not the first hour of its day.
      const hourMs = Date.now() - (Date.now() % DAY_MS) - 10 * DAY_MS + 15 * HOUR_MS;
      const random = seededRandom(4);
      const [long, short] = [hourMs - 29 * DAY_MS, hourMs + 60_000].map((startMs) =>
        sessionLog({
          random,
          startMs,
          silentMs: Math.max(0, hourMs - startMs),
          intervals: 3,
          closed: true,
        }),
      );
      if (!long || !short) throw new Error('two logs are needed');
      const retention = { ...FOR_GOOD, sessions: 35 * DAY_MS, ...shorter };
      await storeBatch(clickhouse, [...long, ...short], [newKeeper()]);
      await settle(newRollups(retention));
      const plain = plainSums([...long, ...short]);
      expect(await storedSums()).toEqual(plain);
      for (const table of ['sessions', 'ended_sessions', 'session_ends']) {
        await clickhouse.command({
          sql: `ALTER TABLE ${table} DELETE WHERE started_at < now() - INTERVAL 35 DAY`,
          settings: { mutations_sync: 2 },
        });
      }
      const compare = { ...COMPARE, retention: { ...NOTHING_EXPIRES, ...retention } };
      expect(await findRollupDifferences(clickhouse, [hourMs / 1_000], compare)).toEqual([]);
      await markAllHours(clickhouse, retention, 120_000);
      // As `forget` does it: `markAllHours` leaves days whose sources have expired.
      await createBuckets(clickhouse, { timeoutMs: 120_000 }).mark(changedHours([hourMs / 1_000]));
      await settle(newRollups(retention));
      expect(await storedSums()).toEqual(plain);
    },
  );

  it('of a day whose hours have expired have the sketches of all its hours', async () => {
    const logs = [1, 2, 3].map((hour) =>
      sessionLog({ random: seededRandom(hour), startMs: BASE_MS + hour * HOUR_MS, closed: true }),
    );
    const sketch = () =>
      clickhouse.query({
        sql: `SELECT sum(sessions) AS ends, uniqCombined64Merge(17)(destinations_sketch) AS destinations
          FROM rollup_sketches_1d FINAL WHERE ${countedSql('detail_day', 'true')}`,
        row: z.object({ ends: int64, destinations: int64 }),
      });
    await storeBatch(clickhouse, logs.slice(0, 2).flat(), [newKeeper()]);
    await settle(newRollups());
    expect(await sketch()).toMatchObject([{ ends: 2 }]);
    for (const table of ['rollup_1h', 'rollup_sketches_1h']) {
      await clickhouse.command({ sql: `TRUNCATE TABLE ${table}` });
    }
    await storeBatch(clickhouse, logs[2] ?? [], [newKeeper()]);
    await settle(newRollups({ ...FOR_GOOD, rollup_1h: 30 * DAY_MS }));
    const destinations = new Set(logs.flat().map((event) => event.dest_host)).size;
    expect(await sketch()).toEqual([{ ends: 3, destinations }]);
  });

  it('leaves the sums of a day of which something has expired under a shorter retention than now', async () => {
    const now = Date.now();
    const startMs = now - (now % DAY_MS) - 40 * DAY_MS;
    const [summed, imported] = [1, 2].map((seed) =>
      sessionLog({
        random: seededRandom(seed),
        startMs: startMs + seed * 5 * HOUR_MS,
        closed: true,
      }),
    );
    if (!summed || !imported) throw new Error('two logs are needed');
    const { database } = clickhouse;
    const admin = { ...clickhouse, database: 'default' };
    const tablesOf = (days: number) => ({
      ...loadConfig(tablesConfig, {}),
      retention: { ...NOTHING_EXPIRES, session_traffic_1m: days * DAY_MS },
    });
    const migrate = (days: number) => createMigrator(tablesOf(days), { admin, database }).migrate();
    const longer = { ...FOR_GOOD, session_traffic_1m: 90 * DAY_MS };
    const keeper = () => newKeeper();
    await storeBatch(clickhouse, summed, [keeper()]);
    await settle(newRollups(longer));
    const before = await storedSums();
    expect(before).toEqual(plainSums(summed));
    await migrate(30);
    await clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await migrate(90);
    // New events of the session, in hours that were summed; and a part of the same day for the first time.
    await storeBatch(clickhouse, summed.slice(0, 1), [keeper()]);
    await settle(newRollups(longer));
    expect(await storedSums()).toEqual(before);
    await storeBatch(clickhouse, imported, [keeper()]);
    await settle(newRollups(longer));
    const { hours, days, weeks } = await storedSums();
    const plain = plainSums([...summed, ...imported]);
    expect(hours).toEqual(plain.hours);
    expect([...days.keys()].toSorted()).toEqual([...plain.days.keys()].toSorted());
    expect([...weeks.keys()].toSorted()).toEqual([...plain.weeks.keys()].toSorted());
    const compare = { ...COMPARE, retention: { ...NOTHING_EXPIRES, ...longer } };
    const hoursOfDay = [...Array(24).keys()].map((hour) => startMs / 1_000 + hour * 3_600);
    expect(await findRollupDifferences(clickhouse, hoursOfDay, compare)).toEqual([]);
  });

  it('marks old hours without sums when all sums are requested again, and no others', async () => {
    const retention = { ...FOR_GOOD, session_traffic_1m: 30 * DAY_MS };
    const [summed, never] = [0, 2].map((day) =>
      sessionLog({ random: seededRandom(day), startMs: BASE_MS + day * DAY_MS, closed: true }),
    );
    if (summed === undefined || never === undefined) throw new Error('two logs are needed');
    await storeBatch(clickhouse, summed, [newKeeper()]);
    await settle(newRollups(retention));
    await storeBatch(clickhouse, never, []);
    await markAllHours(clickhouse, retention, 10_000);
    const days = (await dirtyBuckets()).map(({ bucket }) =>
      toTimestamp(bucket * 1_000).slice(0, 10),
    );
    expect([...new Set(days)]).toEqual(['2026-03-03']);
    await settle(newRollups(retention));
    expect(await storedSums()).toEqual(plainSums([...summed, ...never]));
  });

  it('of the present hour are made from slices also if all sums are requested again', async () => {
    // The next hour counts as present too, and stays so if an hour ends during the test.
    const startMs = Date.now() - (Date.now() % HOUR_MS) + HOUR_MS;
    const log = sessionLog({ random: seededRandom(4), startMs, closed: true });
    await storeBatch(clickhouse, log, [newKeeper()]);
    const rollups = newRollups();
    await rollups.sumNext('present');
    await markAllHours(clickhouse, FOR_GOOD, 10_000);
    const part = await rollups.sumNext('present');
    expect(part).toMatchObject({ starts: [startMs / 1_000], part: 'newest' });
    await settle(rollups);
    expect(await storedSums()).toEqual(plainSums(log));
    const buckets = createBuckets(clickhouse, { timeoutMs: 120_000 });
    expect(await buckets.slices(startMs / 1_000)).toEqual({ changes: [], isComplete: true });
  });

  it('reach day and week after the clock of the server was set back', async () => {
    // Friday, the same day hours later, and Saturday: a session in each.
    const [first, sameDay, sameWeek] = [-48, -43, -24].map((hour) =>
      sessionLog({
        random: seededRandom(-hour),
        startMs: BASE_MS + hour * HOUR_MS,
        intervals: 1,
        closed: true,
      }),
    );
    if (!first || !sameDay || !sameWeek) throw new Error('three logs are needed');
    const keeper = newKeeper();
    const ahead: ClickHouse = {
      ...clickhouse,
      command: (command) =>
        clickhouse.command({
          ...command,
          sql: command.sql.replace("now64(6, 'UTC')", "now64(6, 'UTC') + INTERVAL 2 HOUR"),
        }),
    };
    await storeBatch(clickhouse, first, [keeper]);
    await settle(newRollups(FOR_GOOD, ahead));
    await storeBatch(clickhouse, [...sameDay, ...sameWeek], [keeper]);
    await settle(newRollups());
    expect(await storedSums()).toEqual(plainSums([...first, ...sameDay, ...sameWeek]));
  });

  it('of days and weeks whose hours are right are made again when all is', async () => {
    const logs = [-48, -43, -24].map((hour) =>
      sessionLog({
        random: seededRandom(-hour),
        startMs: BASE_MS + hour * HOUR_MS,
        intervals: 1,
        closed: true,
      }),
    );
    const keeper = newKeeper();
    await storeBatch(clickhouse, logs.flat(), [keeper]);
    await settle(newRollups());
    const right = await storedSums();
    // Hours that never reached their day, a day that never reached its week, and both too much of a key.
    for (const [table, where] of [
      ['rollup_1d', "bucket = '2026-02-27 00:00:00'"],
      ['rollup_pairs_1d', '1'],
      ['rollup_1w', '1'],
    ]) {
      await clickhouse.command({
        sql: `INSERT INTO ${table} SELECT * REPLACE (sessions_started + 1 AS sessions_started, 0 AS bytes_sent, now64(6) AS computed_at)
          FROM ${table} FINAL WHERE ${where}`,
      });
    }
    const damaged = await storedSums();
    expect(damaged.days).not.toEqual(right.days);
    expect(damaged.weeks).not.toEqual(right.weeks);
    await markAllHours(clickhouse, FOR_GOOD, 10_000);
    // A running ingest continues meanwhile.
    const more = [-30, -47].map((hour) =>
      sessionLog({
        random: seededRandom(-hour),
        startMs: BASE_MS + hour * HOUR_MS,
        intervals: 1,
        closed: true,
      }),
    );
    await storeBatch(clickhouse, more.flat(), [keeper]);
    await Promise.all([newRollups().sumAll(), newRollups().sumAll()]);
    await settle(newRollups());
    expect(await storedSums()).toEqual(plainSums([...logs, ...more].flat()));
  });

  it('of a day that has begun to expire are not made from its remaining hours', async () => {
    const log = sessionLog({ random: seededRandom(4), startMs: BASE_MS, closed: true });
    await storeBatch(clickhouse, log, [newKeeper()]);
    await settle(newRollups());
    for (const table of ['rollup_1h', 'rollup_pairs_1h']) {
      await clickhouse.command({
        sql: `INSERT INTO ${table} SELECT * REPLACE (0 AS sessions_started, now64(6) + INTERVAL 1 SECOND AS computed_at) FROM ${table} FINAL`,
      });
    }
    const retention = { ...FOR_GOOD, rollup_1h: 30 * DAY_MS };
    await storeBatch(clickhouse, log, [newKeeper()]);
    await settle(newRollups(retention));
    const { days, weeks, pairDays } = plainSums(log);
    expect(await storedSums()).toMatchObject({ days, weeks, pairDays });
  });

  it('finds sums that differ from the tables', async () => {
    const log = sessionLog({
      random: seededRandom(4),
      startMs: BASE_MS,
      intervals: 1,
      closed: true,
    });
    await storeBatch(clickhouse, log, []);
    const hours = [BASE_MS / 1_000];
    const before = await findRollupDifferences(clickhouse, hours, COMPARE);
    expect(before.map(({ table }) => table)).toEqual(['rollup_1h', 'rollup_pairs_1h']);
    await storeBatch(clickhouse, log, [newKeeper()]);
    await settle(newRollups());
    expect(await findRollupDifferences(clickhouse, hours, COMPARE)).toEqual([]);
  });
});
