import { loadConfig } from '@sockscope/runtime';
import { isoTime } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { murmur2 } from '@sockscope/runtime/kafka';
import type { PartitionDescription } from '@sockscope/runtime/kafka';
import '@sockscope/runtime/testing';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createMarkKeeper } from '../rollups/marks.js';
import { createRollupMetrics } from '../rollups/metrics.js';
import { findRollupDifferences } from '../rollups/compare.js';
import { ALL } from '../rollups/choose.js';
import { createRollups } from '../rollups/rollups.js';
import { rollupsConfig } from '../rollups/config.js';
import {
  createTestTables,
  NOTHING_EXPIRES,
  storeBatch,
  testLogger,
  testRegistry,
} from '../testing/fold-into-tables.js';
import { createWatermarkKeeper } from '../watermarks/watermarks.js';
import { createLostMetrics } from './metrics.js';
import { createLongSessions } from './long-sessions.js';
import { createSharedIds } from './shared-ids.js';
import { createLostSessions } from './lost.js';
import { lostConfig } from './config.js';

const MINUTE_MS = 60_000;
const BASE_MS = Date.parse('2026-03-01T10:00:00.000Z');
const TOPIC = 'events';
const COMPARE = { retention: NOTHING_EXPIRES, timeoutMs: 120_000 };

let tables: Awaited<ReturnType<typeof createTestTables>>;
let clickhouse: ClickHouse;
/** The content of the partitions, according to Kafka. */
let ends: bigint[];
/** The present time by a correct clock: the newest event's time, or later. */
let nowMs: number;

beforeEach(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
  clickhouse = tables.clickhouse;
  ends = [0n, 0n];
  nowMs = BASE_MS;
});

afterEach(async () => {
  await tables.drop();
});

const lost = () =>
  createLostSessions(
    loadConfig(lostConfig, {}),
    {
      topic: TOPIC,
      clickhouse,
      admin: {
        describeTopic: () =>
          Promise.resolve(
            ends.map((endOffset, partition): PartitionDescription => {
              return {
                partition,
                leader: 1,
                replicas: [1],
                inSync: [1],
                earliestOffset: 0n,
                endOffset,
              };
            }),
          ),
      },
      leads: () => true,
      logger: testLogger,
      metrics: createLostMetrics(testRegistry()),
    },
    () => nowMs,
  );

/**
 * The events with ids that belong to a partition of two: the last digits of each are changed. Events
 * that belong there already stay as they are.
 */
function placed<E extends SessionEvent>(partition: number, events: readonly E[]): E[] {
  const ids = new Map<string, string>();
  const idIn = (id: string) => {
    for (let i = 0; ; i += 1) {
      const candidate = i === 0 ? id : id.slice(0, -4) + i.toString(16).padStart(4, '0');
      if ((murmur2(Buffer.from(candidate)) & 0x7fff_ffff) % 2 === partition) return candidate;
    }
  };
  for (const { session_id } of events) ids.set(session_id, ids.get(session_id) ?? idIn(session_id));
  return events.map((event) => ({ ...event, session_id: ids.get(event.session_id) ?? '' }));
}

/**
 * @param end offset at which the partition ends, if something is left to read.
 * @param slowMs how slow the clock is that the events are by; they are stored as soon as they occur.
 * @param storedMs when they are stored; default: at once.
 */
async function store(
  partition: number,
  anyEvents: readonly SessionEvent[],
  {
    end,
    slowMs = 0,
    storedMs,
  }: { readonly end?: bigint; readonly slowMs?: number; readonly storedMs?: number } = {},
): Promise<void> {
  const events = placed(partition, anyEvents);
  const nextOffset = events.length;
  ends[partition] = end ?? BigInt(nextOffset);
  const newestMs = Math.max(...events.map((event) => Date.parse(event.occurred_at)));
  nowMs = Math.max(nowMs, storedMs ?? newestMs + slowMs);
  // The database goes by a clock of its own, which is today's.
  const storedAt =
    storedMs === undefined
      ? `occurred_at + toIntervalMillisecond(${slowMs})`
      : `fromUnixTimestamp64Milli(toInt64(${storedMs}), 'UTC')`;
  await clickhouse.command({
    sql: `ALTER TABLE session_events MODIFY COLUMN ingested_at DEFAULT ${storedAt}`,
  });
  await storeBatch(
    clickhouse,
    events,
    [
      createMarkKeeper({ open_sessions_max: 10 }, { clickhouse, logger: testLogger }),
      createWatermarkKeeper({ topic: TOPIC }),
    ],
    { partition, firstOffset: 0, nextOffset },
  );
}

async function rows(table: string) {
  return clickhouse.query({
    sql: `SELECT session_id, status, close_reason, version, ended_at FROM ${table} FINAL ORDER BY started_at`,
    row: z.object({
      session_id: z.string(),
      status: z.string(),
      close_reason: z.string().nullable(),
      version: z.int(),
      ended_at: isoTime.nullable(),
    }),
  });
}

const open = (
  startMs: number,
  more: { proxyId?: string; proxyEpoch?: number; silentMs?: number } = {},
) =>
  sessionLog({
    random: seededRandom(startMs),
    startMs,
    intervals: 1,
    closed: false,
    proxyEpoch: 1_700_000_000_000,
    ...more,
  });

describe('proxies', () => {
  it('that share one proxy_id are named, and those that were restarted or have ids of their own are not', async () => {
    const startMs = Date.now() - 10 * MINUTE_MS;
    // A start of its own for each session: its id comes from that.
    const shared = { proxyId: 'twin' };
    const restarted = { proxyId: 'restarted' };
    await store(0, [
      ...open(startMs + 8 * MINUTE_MS, { ...shared, proxyEpoch: startMs }),
      ...open(startMs + 9 * MINUTE_MS, { ...shared, proxyEpoch: startMs + 5 * MINUTE_MS }),
      ...open(startMs + 5 * MINUTE_MS, { ...restarted, proxyEpoch: startMs }),
      ...open(startMs + 9 * MINUTE_MS + 1, { ...restarted, proxyEpoch: startMs + 5 * MINUTE_MS }),
      ...open(startMs + 9 * MINUTE_MS + 2, { proxyId: 'alone', proxyEpoch: startMs }),
    ]);
    const look = createSharedIds({
      clickhouse,
      logger: testLogger,
      metrics: createLostMetrics(testRegistry()),
    });
    expect(await look(AbortSignal.timeout(120_000))).toEqual([
      { proxyId: 'twin', olderStartMs: startMs, newerStartMs: startMs + 5 * MINUTE_MS },
    ]);
  });
});

describe('lost sessions', () => {
  it('fail in every table if they send nothing for longer than a heartbeat', async () => {
    const silent = placed(0, open(BASE_MS));
    await store(0, silent);
    await store(1, open(BASE_MS + 15 * MINUTE_MS, { proxyId: 'proxy-2' }));
    expect(await lost().search()).toBe(1);
    const last = silent.at(-1);
    const expected = {
      session_id: last?.session_id,
      status: 'failed',
      close_reason: 'lost',
      version: (last?.seq ?? 0) * 2 + 1,
      ended_at: last?.occurred_at,
    };
    for (const table of ['sessions', 'sessions_by_user', 'sessions_by_destination']) {
      expect(await rows(table)).toContainEqual(expected);
    }
    expect(await rows('long_sessions')).toEqual([]);
    expect(await lost().search()).toBe(0);
  });

  it('and others are not open for ever in the table of long ones, if it lacks their ends', async () => {
    await store(0, open(BASE_MS, { silentMs: 60 * MINUTE_MS }));
    await clickhouse.command({
      sql: `INSERT INTO sessions SELECT * REPLACE ('closed' AS status, version + 2 AS version) FROM sessions FINAL`,
    });
    await createLongSessions(clickhouse)(AbortSignal.timeout(120_000));
    expect(await rows('long_sessions')).toMatchObject([{ status: 'closed' }]);
  });

  it('fail in the table of long ones too', async () => {
    await store(0, open(BASE_MS, { silentMs: 60 * MINUTE_MS }));
    await store(1, open(BASE_MS + 90 * MINUTE_MS, { proxyId: 'proxy-2' }));
    expect(await lost().search()).toBe(1);
    expect(await rows('long_sessions')).toMatchObject([{ status: 'failed', close_reason: 'lost' }]);
  });

  it('fail for any number of days on which they began', async () => {
    const days = Array.from({ length: 102 }, (_, day) => open(BASE_MS + day * 24 * 60 * MINUTE_MS));
    await store(0, days.flat());
    await store(1, open(BASE_MS + 103 * 24 * 60 * MINUTE_MS, { proxyId: 'proxy-2' }));
    expect(await lost().search()).toBe(102);
    expect(await lost().search()).toBe(0);
    const failed = (await rows('sessions')).filter(({ status }) => status === 'failed');
    expect(failed).toHaveLength(102);
  });

  it('stay open while a partition lags, even if they look old', async () => {
    await store(0, open(BASE_MS), { end: 500n });
    await store(1, open(BASE_MS + 24 * 60 * MINUTE_MS, { proxyId: 'proxy-2' }));
    expect(await lost().search()).toBe(0);
  });

  it('fail in the other partitions while one of them waits', async () => {
    await store(0, open(BASE_MS), { end: 500n });
    await store(1, open(BASE_MS + 1));
    await store(1, open(BASE_MS + 60 * MINUTE_MS, { proxyId: 'proxy-2' }));
    expect(await lost().search()).toBe(1);
    const failed = (await rows('sessions')).filter(({ status }) => status === 'failed');
    expect(failed.map(({ session_id }) => session_id)).toEqual([
      placed(1, open(BASE_MS + 1))[0]?.session_id,
    ]);
  });

  it('stay open if no later event shows that time has passed', async () => {
    await store(0, open(BASE_MS));
    expect(await lost().search()).toBe(0);
  });

  it('fail sooner if a newer process of their proxy has sent events', async () => {
    await store(0, open(BASE_MS));
    const newer = { proxyEpoch: 1_700_000_000_001 };
    await store(1, open(BASE_MS + 4 * MINUTE_MS, newer));
    expect(await lost().search()).toBe(1);
  });

  it('do not fail because another proxy was restarted', async () => {
    await store(0, open(BASE_MS));
    const other = { proxyId: 'proxy-2', proxyEpoch: 1_700_000_000_001 };
    await store(1, open(BASE_MS + 4 * MINUTE_MS, other));
    expect(await lost().search()).toBe(0);
  });

  /** A session with an event every half minute, by the clock of its proxy. */
  const live = (startMs: number, minutes: number, proxyId: string): SessionEvent[] => {
    const [first] = open(startMs, { proxyId });
    if (first?.type !== 'SessionStarted') throw new Error('the log must begin');
    const zero = { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 };
    return [
      first,
      ...Array.from({ length: minutes * 2 }, (_, beat): SessionEvent => {
        const at = new Date(startMs + (beat + 1) * 30_000).toISOString();
        return {
          ...first,
          type: 'TrafficDelta',
          seq: beat + 1,
          occurred_at: at,
          interval_start: at,
          interval_end: at,
          delta: zero,
          minute: zero,
        };
      }),
    ];
  };
  const SLOW_MS = 15 * MINUTE_MS;

  it('stay open while their proxy sends events, even if its clock is slow', async () => {
    const slow = live(BASE_MS - SLOW_MS, 40, 'slow');
    await store(0, slow, { slowMs: SLOW_MS });
    await store(1, live(BASE_MS, 40, 'right'));
    expect(await lost().search()).toBe(0);
    // One of its sessions falls silent, the others do not.
    await store(0, live(BASE_MS + 1 - SLOW_MS, 29, 'slow'), { slowMs: SLOW_MS });
    expect(await lost().search()).toBe(1);
    expect(await lost().search()).toBe(0);
  });

  it('fail some time after the last event of their proxy, even if its clock was slow', async () => {
    await store(0, live(BASE_MS - SLOW_MS, 20, 'slow'), { slowMs: SLOW_MS });
    await store(1, live(BASE_MS, 29, 'right'));
    expect(await lost().search()).toBe(0);
    await store(1, live(BASE_MS + 1, 31, 'right'));
    expect(await lost().search()).toBe(1);
  });

  it('stay open on a slow clock while a partition lags, though others are read further', async () => {
    // It is open in both partitions; the last quarter of an hour of one has not been read.
    await store(1, live(BASE_MS - SLOW_MS, 25, 'slow'), { slowMs: SLOW_MS });
    await store(1, live(BASE_MS, 25, 'right'), { end: 500n });
    await store(0, live(BASE_MS + 1 - SLOW_MS, 40, 'slow'), { slowMs: SLOW_MS });
    expect(await lost().search()).toBe(0);
  });

  it('stay open on a slow clock when an ingest that was stopped begins to read the events that came meanwhile', async () => {
    await store(0, live(BASE_MS - SLOW_MS, 20, 'slow'), { slowMs: SLOW_MS });
    await store(0, live(BASE_MS, 20, 'right'), { end: 500n });
    nowMs = BASE_MS + 8 * 60 * MINUTE_MS;
    expect(await lost().search()).toBe(0);
    // It reads events of the other proxy first.
    await store(1, live(BASE_MS + 1, 60, 'right'), { end: 500n, storedMs: nowMs });
    expect(await lost().search()).toBe(0);
  });

  it('are not searched for while a topic of long ago is read', async () => {
    await store(0, open(BASE_MS));
    await store(1, open(BASE_MS + 15 * MINUTE_MS, { proxyId: 'proxy-2' }));
    nowMs += 25 * 60 * MINUTE_MS;
    expect(await lost().search()).toBe(0);
    nowMs -= 2 * 60 * MINUTE_MS;
    expect(await lost().search()).toBe(1);
  });

  it('are as before when they send events again, in the sums too', async () => {
    const log = placed(
      0,
      sessionLog({ random: seededRandom(1), startMs: BASE_MS, intervals: 3, closed: true }),
    );
    await store(0, log.slice(0, 2));
    await store(1, open(BASE_MS + 70 * MINUTE_MS, { proxyId: 'proxy-2' }));
    const rollups = createRollups(loadConfig(rollupsConfig, {}), {
      clickhouse,
      retention: {
        sessions: 0,
        session_traffic_1m: 0,
        rollup_1h: 0,
        rollup_1d: 0,
        rollup_pairs_1h: 0,
      },
      share: () => ALL,
      logger: testLogger,
      metrics: createRollupMetrics(testRegistry()),
    });
    expect(await lost().search()).toBe(1);
    await rollups.sumAll();
    const hours = [0, 1, 2].map((hour) => BASE_MS / 1_000 + hour * 3_600);
    expect(await findRollupDifferences(clickhouse, hours, COMPARE)).toEqual([]);
    // It was only cut off: the rest of its events comes late.
    const last = log.at(-1);
    if (last?.type !== 'SessionClosed') throw new Error('the log must end');
    await store(0, [...log.slice(2, -1), last]);
    expect(await rows('sessions')).toContainEqual({
      session_id: last.session_id,
      status: 'closed',
      close_reason: 'client_eof',
      version: last.seq * 2,
      ended_at: last.ended_at,
    });
    await rollups.sumAll();
    expect(await findRollupDifferences(clickhouse, hours, COMPARE)).toEqual([]);
  });

  it('are declared again by the next search after a crash in the middle', async () => {
    await store(0, open(BASE_MS));
    await store(1, open(BASE_MS + 15 * MINUTE_MS, { proxyId: 'proxy-2' }));
    // Died before the last of the three tables: in the other two the session has failed already.
    await clickhouse.command({
      sql: `INSERT INTO sessions_by_user SELECT * REPLACE ('failed' AS status, 'lost' AS close_reason, updated_at AS ended_at, seq * 2 + 1 AS version)
        FROM sessions FINAL WHERE proxy_id = 'proxy-1'`,
    });
    expect(await lost().search()).toBe(1);
    expect(await rows('sessions_by_user')).toEqual(await rows('sessions'));
  });
});
