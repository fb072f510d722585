import { loadConfig } from '@sockscope/runtime';
import { int64, isoTime } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import '@sockscope/runtime/testing';
import { fold, toTimestamp } from '@sockscope/schemas';
import type { SessionEvent, SessionRow, SessionState } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import {
  createTestTables,
  storeBatch,
  testLogger,
  testRegistry,
} from '../testing/fold-into-tables.js';
import {
  createMarkKeeper,
  createRollupMetrics,
  createRollups,
  findRollupDifferences,
  rollupsConfig,
} from './index.js';
import type { Rollups } from './index.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
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

const FOR_GOOD = { sessions: 0, session_traffic_1m: 0, rollup_1h: 0, rollup_pairs_1h: 0 };

function newRollups(overrides: { hours_max?: number } = {}, retention = FOR_GOOD): Rollups {
  return createRollups(
    { ...loadConfig(rollupsConfig, {}), ...overrides },
    {
      clickhouse,
      retention,
      leads: () => true,
      logger: testLogger,
      metrics: createRollupMetrics(testRegistry()),
    },
  );
}

async function settle(rollups: Rollups): Promise<void> {
  for (let rounds = 0; rounds < 1_000; rounds += 1) {
    // oxlint-disable-next-line no-await-in-loop
    const { hours } = await rollups.round(true);
    if (hours === 0) return;
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
    const bucket = toTimestamp(ms - (ms % bucketMs));
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

async function stored(table: string, key: string): Promise<Map<string, Figures>> {
  const rows = await clickhouse.query({
    sql: `SELECT bucket, ${key} AS key, ${FIGURES.join(', ')} FROM ${table} FINAL`,
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

/** What the four tables hold. */
async function storedSums() {
  return {
    hours: await stored('rollup_1h', DIMENSION_KEY),
    days: await stored('rollup_1d', DIMENSION_KEY),
    pairHours: await stored('rollup_pairs_1h', PAIR_KEY),
    pairDays: await stored('rollup_pairs_1d', PAIR_KEY),
  };
}

function plainSums(events: readonly SessionEvent[]) {
  const states = [...fold(events).values()];
  return {
    hours: aggregate(states, HOUR_MS, false),
    days: aggregate(states, DAY_MS, false),
    pairHours: aggregate(states, HOUR_MS, true),
    pairDays: aggregate(states, DAY_MS, true),
  };
}

function int(random: Random, below: number): number {
  return Math.floor(random() * below);
}

/** A log of everything that makes sums go wrong: late, repeated, missing and contradicting events. */
function adversity(random: Random, sessions: number): SessionEvent[][] {
  return Array.from({ length: sessions }, () => {
    const log = sessionLog({
      random,
      startMs: BASE_MS + int(random, 3 * DAY_MS),
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
  it.each([1, 2, 3])(
    'equal the plain sums whatever was repeated, cut off or late, and however the rounds fell (seed %i)',
    async (seed) => {
      const random = seededRandom(seed);
      const logs = adversity(random, 40);
      const rollups = newRollups({ hours_max: 7 });
      let keeper = createMarkKeeper({ known_sessions_max: 20 });
      // In the order of the sessions' starts, each session's events in theirs; now and then from the beginning again.
      const queue = logs.flat().toSorted((a, b) => (a.occurred_at < b.occurred_at ? -1 : 1));
      let from = 0;
      let deaths = 0;
      /* oxlint-disable no-await-in-loop */
      while (from < queue.length) {
        const to = Math.min(queue.length, from + 1 + int(random, 40));
        const batch = queue.slice(from, to);
        const dies = deaths < 8 && random() < 0.3;
        if (dies) {
          deaths += 1;
          // The rows are stored, the marks may or may not be, the offsets are not; another process goes on.
          await storeBatch(clickhouse, batch, random() < 0.5 ? [] : [keeper]);
          keeper = createMarkKeeper({ known_sessions_max: 20 });
          from = Math.max(0, from - int(random, 30));
        } else {
          await storeBatch(clickhouse, batch, [keeper]);
          from = to;
        }
        if (random() < 0.3) await Promise.all([rollups.round(), newRollups().round()]);
      }
      /* oxlint-enable no-await-in-loop */
      await settle(rollups);
      expect(await storedSums()).toEqual(plainSums(logs.flat()));
    },
  );

  it('replaces a key that is gone by zeros', async () => {
    const log = sessionLog({
      random: seededRandom(9),
      startMs: BASE_MS,
      intervals: 0,
      closeReason: 'connect_failed',
      closed: true,
    });
    await storeBatch(clickhouse, log, [createMarkKeeper({ known_sessions_max: 10 })]);
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
    await storeBatch(clickhouse, [later], [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(rollups);
    expect(await storedSums()).toEqual(plainSums([...log, later]));
    const gone = await clickhouse.query({
      sql: "SELECT sessions_failed FROM rollup_1d FINAL WHERE dimension = 'status' AND key = 'failed'",
      row: z.object({ sessions_failed: int64 }),
    });
    expect(gone).toEqual([{ sessions_failed: 0 }]);
  });

  it('inserts nothing but durations where nothing changed', async () => {
    const log = sessionLog({ random: seededRandom(3), startMs: BASE_MS, intervals: 3 });
    const rollups = newRollups();
    await storeBatch(clickhouse, log, [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(rollups);
    await storeBatch(clickhouse, log, [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(rollups);
    const rows = await clickhouse.query({
      sql: 'SELECT uniqExact(computed_at) AS versions FROM rollup_1h',
      row: z.object({ versions: int64 }),
    });
    expect(rows).toEqual([{ versions: 1 }]);
  });

  it('keeps durations within one percent', async () => {
    const random = seededRandom(5);
    const logs = Array.from({ length: 300 }, () =>
      sessionLog({ random, startMs: BASE_MS + int(random, HOUR_MS), closed: true }),
    );
    await storeBatch(clickhouse, logs.flat(), [createMarkKeeper({ known_sessions_max: 1_000 })]);
    await settle(newRollups());
    const durations = [...fold(logs.flat()).values()]
      .map(({ row }) => row?.duration_ms ?? 0)
      .toSorted((a, b) => a - b);
    const [read] = await clickhouse.query({
      sql: `SELECT sum(sessions) AS sessions, quantilesDDMerge(0.01, 0.5, 0.9)(duration_sketch) AS quantiles FROM rollup_durations_1h FINAL`,
      row: z.object({ sessions: int64, quantiles: z.array(z.number()) }),
    });
    expect(read?.sessions).toBe(300);
    for (const [i, level] of [0.5, 0.9].entries()) {
      const exact = durations[Math.floor(level * (durations.length - 1))] ?? 0;
      expect(read?.quantiles[i]).toBeGreaterThan(exact * 0.97);
      expect(read?.quantiles[i]).toBeLessThan(exact * 1.03);
    }
  });

  it('leaves the sums of a day of which something has expired', async () => {
    const log = sessionLog({
      random: seededRandom(4),
      startMs: BASE_MS,
      intervals: 2,
      closed: true,
    });
    await storeBatch(clickhouse, log, [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(newRollups());
    await clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await storeBatch(clickhouse, log.slice(0, 1), [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(newRollups({}, { ...FOR_GOOD, session_traffic_1m: 30 * DAY_MS }));
    expect(await storedSums()).toEqual(plainSums(log));
  });

  it('tells which sums are not what the tables say', async () => {
    const log = sessionLog({
      random: seededRandom(4),
      startMs: BASE_MS,
      intervals: 1,
      closed: true,
    });
    await storeBatch(clickhouse, log, []);
    const hours = [BASE_MS / 1_000];
    const before = await findRollupDifferences(clickhouse, hours, 10_000);
    expect(before.map(({ table }) => table)).toEqual(['rollup_1h', 'rollup_pairs_1h']);
    await storeBatch(clickhouse, log, [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(newRollups());
    expect(await findRollupDifferences(clickhouse, hours, 10_000)).toEqual([]);
  });

  it('does not miss the sums of a day in a day of which an hour waits to be recomputed', async () => {
    const log = sessionLog({
      random: seededRandom(4),
      startMs: BASE_MS,
      intervals: 1,
      closed: true,
    });
    await storeBatch(clickhouse, log, [createMarkKeeper({ known_sessions_max: 10 })]);
    await settle(newRollups());
    // As it is in the middle of a round: the hours are new, and the day is not yet made of them.
    await clickhouse.command({ sql: 'TRUNCATE TABLE rollup_1d' });
    const hour = BASE_MS / 1_000;
    const found = await findRollupDifferences(clickhouse, [hour], 10_000);
    expect(found.map(({ table }) => table)).toEqual(['rollup_1d']);
    const marked = new Set([hour + 5 * 3_600]);
    expect(await findRollupDifferences(clickhouse, [hour], 10_000, marked)).toEqual([]);
  });
});
