import { createLogger, createRegistry, loadConfig } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import '@sockscope/runtime/testing';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { ingestConfig } from '../config.js';
import { rebuild } from '../maintenance/rebuild.js';
import { copyTopicEvents } from '../maintenance/topic-events.js';
import { ALL } from '../rollups/choose.js';
import { createRollupMetrics } from '../rollups/metrics.js';
import { createRollups } from '../rollups/rollups.js';
import { createBed } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';
import { NOTHING_EXPIRES } from '../testing/fold-into-tables.js';
import { findPerson, forgetPerson } from './forget.js';
import type { Person } from './forgotten.js';

const TIMEOUT_MS = 60_000;
const TOPIC_RETENTION_MS = 3_600_000;
const SESSIONS = 60;
const logger = createLogger('test', { level: 'fatal' });
const limits = {
  insertTimeoutMs: 100,
  timeoutMs: TIMEOUT_MS,
  topicRetentionMs: TOPIC_RETENTION_MS,
};
const ignore = () => undefined;

let bed: Bed;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
  });
});

afterEach(async () => {
  await bed.remove();
});

const layout = () => ({ kind: 'single', database: bed.clickhouse.database }) as const;

async function sumAll(retention = NOTHING_EXPIRES): Promise<void> {
  await createRollups(loadConfig(ingestConfig, {}).rollups, {
    clickhouse: bed.clickhouse,
    retention,
    share: () => ALL,
    logger,
    metrics: createRollupMetrics(createRegistry('ingest')),
  }).sumAll();
}

const forget = (person: Person, more: Partial<Parameters<typeof forgetPerson>[2]> = {}) =>
  forgetPerson(person, limits, {
    clickhouse: bed.clickhouse,
    others: [],
    layout: layout(),
    onProgress: ignore,
    sumAll,
    ...more,
  });

/** Rows of any table in which a text stands alone in a column, except the decision to forget it. */
async function traces(value: string): Promise<Record<string, number>> {
  const columns = await bed.clickhouse.query({
    sql: `SELECT table, name FROM system.columns
      WHERE database = currentDatabase() AND table NOT IN ('ingest_forgotten')
        AND (type LIKE '%String%' OR type LIKE '%IPv6%') AND type NOT LIKE '%AggregateFunction(uniq%'`,
    params: {},
    row: z.object({ table: z.string(), name: z.string() }),
  });
  const counts = await bed.clickhouse.query({
    sql: columns
      .map(
        ({ table, name }) =>
          `SELECT '${table}.${name}' AS place, countIf(has([{value:String}, concat('::ffff:', {value:String})], toString(${name}))) AS n FROM ${table}`,
      )
      .join(' UNION ALL '),
    params: { value },
    row: z.object({ place: z.string(), n: z.coerce.number() }),
  });
  return Object.fromEntries(counts.filter(({ n }) => n > 0).map(({ place, n }) => [place, n]));
}

/** Sessions of a user, in every table that has some. */
async function sessionsOf(value: string): Promise<string[]> {
  const tables = [
    'sessions',
    'sessions_by_user',
    'sessions_by_destination',
    'long_sessions',
    'session_events',
  ];
  const rows = await bed.clickhouse.query({
    sql: `SELECT DISTINCT id FROM (${tables
      .map((table) => `SELECT toString(session_id) AS id FROM ${table} WHERE user = {value:String}`)
      .join(' UNION ALL ')})`,
    params: { value },
    row: z.object({ id: z.string() }),
  });
  return rows.map(({ id }) => id);
}

/** The user with the most sessions. */
function busiest(): string {
  const counts = new Map<string, number>();
  for (const { user } of bed.events) counts.set(user, (counts.get(user) ?? 0) + 1);
  const [first] = [...counts].toSorted((a, b) => b[1] - a[1]);
  return first?.[0] ?? '';
}

async function fed(): Promise<void> {
  await bed.produce(SESSIONS);
  const child = bed.start({ env: { INGEST_ROLLUP_INTERVAL: '100ms' } });
  await bed.committed();
  await child.stop();
  await sumAll();
}

async function send(events: readonly SessionEvent[]): Promise<void> {
  await bed.produceRecords(
    events.map((event) => ({
      key: event.session_id,
      value: JSON.stringify(event),
      headers: {},
    })),
  );
}

describe('a forgotten user', () => {
  it('is in no table and no sum, all else equals the topic, and no event brings it back', async () => {
    await fed();
    const value = busiest();
    const others = bed.events.filter(({ user }) => user !== value);
    const sessions = new Set(
      bed.events.filter(({ user }) => user === value).map((event) => event.session_id),
    );
    const before = Object.keys(await traces(value)).toSorted();
    expect(before).toContain('rollup_1w.key');
    const dry = await findPerson({ kind: 'user', value }, limits, bed);
    expect(dry.rows['sessions']).toBeGreaterThanOrEqual(sessions.size);
    expect(Object.keys(await traces(value)).toSorted()).toEqual(before);

    const child = bed.start();
    await child.output('partitions assigned');
    const found = await forget({ kind: 'user', value });
    // Merges may have made rows fewer since.
    expect(found.rows['sessions']).toBeGreaterThanOrEqual(sessions.size);
    expect(found.topicUntilMs ?? 0).toBeGreaterThan(Date.now() + TOPIC_RETENTION_MS / 2);
    expect(await traces(value)).toEqual({});
    expect(new Set(others.map(({ user }) => user)).size).toBeGreaterThan(2);
    await bed.expectVerified();

    // Redelivered and late events of its sessions are passed over; a later session is not.
    await send(bed.events.filter(({ user }) => user === value));
    const later = sessionLog({
      random: seededRandom(9),
      startMs: Date.now(),
      user: value,
    });
    await send(later);
    await bed.committed();
    await child.stop();
    expect(await sessionsOf(value)).toEqual([later[0]?.session_id]);

    await rebuild(
      { insertTimeoutMs: 10, retention: NOTHING_EXPIRES, timeoutMs: TIMEOUT_MS },
      {
        clickhouse: bed.clickhouse,
        layout: layout(),
        onProgress: ignore,
        addEvents: async () => {
          await copyTopicEvents(
            {
              kafka: kafkaConfig.parse({ brokers: inject('kafkaBrokers'), topic: bed.topic }),
              timeoutMs: TIMEOUT_MS,
            },
            { clickhouse: bed.clickhouse, logger, onProgress: ignore },
          );
        },
      },
    );
    expect(await sessionsOf(value)).toEqual([later[0]?.session_id]);
    await sumAll();
    await bed.expectVerified();
  });

  it('is forgotten whole when a run that was ended anywhere is repeated', async () => {
    await fed();
    const value = busiest();
    const person = { kind: 'user', value } as const;
    let statements = 0;
    let endAt = Infinity;
    const ending: ClickHouse = {
      ...bed.clickhouse,
      async command(options) {
        statements += 1;
        if (statements === endAt) throw new Error('ended');
        await bed.clickhouse.command(options);
      },
    };
    // After the ends, between the copies of sessions, and after all sessions are gone but nothing is marked.
    for (endAt of [2, 5, 7]) {
      statements = 0;
      await expect(
        forget(person, { clickhouse: ending, settled: () => Promise.resolve() }),
      ).rejects.toThrow('ended');
    }
    await forget(person, { settled: () => Promise.resolve() });
    expect(await traces(value)).toEqual({});
    await bed.expectVerified();
  });
});

describe('beside forget', () => {
  it('a search for lost sessions brings nothing back that it has read before', async () => {
    await fed();
    const value = busiest();
    const { clickhouse } = bed;
    /** The tables of sessions, as a search stores into them. */
    const stored = ['sessions_by_user', 'sessions_by_destination', 'sessions'];
    let searches = 0;
    const beside: ClickHouse = {
      ...clickhouse,
      async command(options) {
        const isDeletion = options.sql.includes('`sessions` DELETE');
        if (isDeletion && searches === 0) {
          await clickhouse.command({
            sql: `CREATE TABLE read ENGINE = Memory AS
              SELECT * REPLACE ('failed' AS status, 'lost' AS close_reason, updated_at AS ended_at, version + 1 AS version)
              FROM sessions FINAL WHERE user = {value:String}`,
            params: { value },
          });
        }
        await clickhouse.command(options);
        if (!isDeletion || searches > 0) return;
        searches += 1;
        for (const table of stored)
          await clickhouse.command({ sql: `INSERT INTO ${table} SELECT * FROM read` });
        await clickhouse.command({ sql: 'DROP TABLE read SYNC' });
      },
    };
    await forget({ kind: 'user', value }, { clickhouse: beside, settled: () => Promise.resolve() });
    expect(searches).toBe(1);
    expect(await traces(value)).toEqual({});
    await bed.expectVerified();
  });

  it('a round leaves no sums of the person in hours whose sessions have expired', async () => {
    await fed();
    const value = busiest();
    const { clickhouse } = bed;
    const expired = { ...NOTHING_EXPIRES, sessions: 1_000, session_traffic_1m: 1_000 };
    await clickhouse.command({
      sql: `CREATE TABLE read ENGINE = Memory AS SELECT * REPLACE (now64(6) AS computed_at) FROM rollup_1h FINAL`,
    });
    await forget(
      { kind: 'user', value },
      {
        settled: () => Promise.resolve(),
        async sumAll() {
          // It has read the former sums of its hours, and finishes now.
          await clickhouse.command({ sql: 'INSERT INTO rollup_1h SELECT * FROM read' });
          await clickhouse.command({
            sql: `INSERT INTO ingest_rollup_buckets (span, bucket, writer, finished)
              SELECT 'hour', bucket, generateUUIDv4(), max(computed_at) FROM read GROUP BY bucket`,
          });
          await clickhouse.command({ sql: 'DROP TABLE read SYNC' });
          await sumAll(expired);
        },
      },
    );
    expect(await traces(value)).toEqual({});
  });
});

describe('a rebuild beside forget', () => {
  const rebuildEvents = () =>
    rebuild(
      { insertTimeoutMs: 10, retention: NOTHING_EXPIRES, timeoutMs: TIMEOUT_MS },
      { clickhouse: bed.clickhouse, layout: layout(), onProgress: ignore },
    );

  it('is refused, and so is forget beside a rebuild that began first', async () => {
    await fed();
    const value = busiest();
    const person = { kind: 'user', value } as const;
    const copy = 'CREATE TABLE sessions_rebuild AS sessions';
    await expect(
      forget(person, { settled: () => bed.clickhouse.command({ sql: copy }) }),
    ).rejects.toThrow(/a rebuild runs/);
    await bed.clickhouse.command({ sql: 'DROP TABLE sessions_rebuild SYNC' });
    await forget(person, {
      settled: () => expect(rebuildEvents()).rejects.toThrow(/forget runs/),
    });
    expect(await traces(value)).toEqual({});
    await rebuildEvents();
    await sumAll();
    expect(await traces(value)).toEqual({});
    await bed.expectVerified();
  });
});

describe('a forgotten source address', () => {
  it('is in no table and no sum, and the command counts it first', async () => {
    await fed();
    const value = bed.events[0]?.source_ip ?? '';
    const dry = await bed.command('forget', '--source-ip', value, '--dry-run');
    expect(dry).toMatch(/^session_traffic_1m: \d+ rows$/m);
    expect(dry).toContain('nothing was changed');
    await expect(bed.command('forget')).rejects.toThrow(/--user or --source-ip/);
    expect(await traces(value)).not.toEqual({});
    await forget({ kind: 'source_ip', value }, { settled: () => Promise.resolve() });
    expect(await traces(value)).toEqual({});
    await bed.expectVerified();
  });
});
