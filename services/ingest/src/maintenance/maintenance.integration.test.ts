import { createLogger, loadConfig } from '@sockscope/runtime';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import '@sockscope/runtime/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { tablesConfig } from '../migrations/index.js';
import { createBed, waitUntil } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';
import { rebuild } from './rebuild.js';
import type { RebuildDeps } from './rebuild.js';
import { copyTopicEvents } from './topic-events.js';
import { verify } from './verify.js';

const TIMEOUT_MS = 60_000;
const logger = createLogger('test', { level: 'fatal' });
const ignore = () => undefined;
const FOR_GOOD = Object.fromEntries(
  Object.keys(loadConfig(tablesConfig, {}).retention).map((name) => [name, 0]),
) as ReturnType<typeof loadConfig<typeof tablesConfig>>['retention'];

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

const kafka = () => kafkaConfig.parse({ brokers: inject('kafkaBrokers'), topic: bed.topic });

const check = () =>
  verify(
    { kafka: kafka(), retention: FOR_GOOD, timeoutMs: TIMEOUT_MS },
    { clickhouse: bed.clickhouse, logger, onProgress: ignore },
  );

const build = (more: Partial<RebuildDeps> = {}) =>
  rebuild(
    { insertTimeoutMs: 2_500, eventsRetentionMs: 0, timeoutMs: TIMEOUT_MS },
    {
      clickhouse: bed.clickhouse,
      layout: { kind: 'single', database: bed.clickhouse.database },
      onProgress: ignore,
      ...more,
    },
  );

/** Of hours that wait to be recomputed, and of sessions whose hours are to be looked up. */
async function marks(): Promise<number> {
  const [row] = await bed.clickhouse.query({
    sql: `SELECT (SELECT count() FROM ingest_dirty_hours FINAL WHERE done = 0)
      + (SELECT count() FROM ingest_dirty_sessions FINAL WHERE done = 0) AS n`,
    row: z.object({ n: z.coerce.number() }),
  });
  return row?.n ?? 0;
}

async function fed(sessions: number): Promise<void> {
  await bed.produce(sessions);
  const child = bed.start({ env: { INGEST_ROLLUP_INTERVAL: '100ms', INGEST_ROLLUP_SHARE: '100' } });
  await bed.committed();
  await waitUntil('the sums are fresh', async () => (await marks()) === 0);
  await child.stop();
}

describe('verify', () => {
  it('finds the tables equal to the topic, poison and repetitions counted', async () => {
    await bed.produceRecords([
      { key: 'k', value: '{"type":"Nonsense"}', headers: {} },
      ...bed.events.map((event) => ({
        key: event.session_id,
        value: JSON.stringify(event),
        headers: {},
      })),
    ]);
    await fed(40);
    const [event] = bed.events;
    if (event === undefined) throw new Error('no events');
    await bed.produceRecords([
      { key: event.session_id, value: JSON.stringify(event), headers: {} },
    ]);
    const result = await check();
    expect(result).toMatchObject({ isEqual: true, rollupRows: 0, dirtyHours: 0 });
    const sum = (name: 'records' | 'poison' | 'events') =>
      result.partitions.reduce((total, partition) => total + partition[name], 0);
    expect([sum('records'), sum('poison'), sum('events')]).toEqual([
      bed.events.length + 2,
      1,
      bed.events.length,
    ]);
    expect(result.tables.map(({ table }) => table)).toEqual([
      'sessions',
      'sessions_by_user',
      'sessions_by_destination',
      'session_traffic_1m',
    ]);
    for (const { expected } of result.tables) expect(expected).toBeGreaterThan(30);
  }, 120_000);

  it('names what is missing and what is different', async () => {
    await fed(40);
    const [first, second, third] = bed.events.filter(({ seq }) => seq === 0);
    const remove = (table: string, where: string) =>
      bed.clickhouse.command({ sql: `DELETE FROM ${table} WHERE ${where}` });
    await remove('session_events', `session_id = '${first?.session_id}' AND seq = 0`);
    await remove('sessions_by_user', `session_id = '${second?.session_id}'`);
    await bed.clickhouse.command({
      sql: `ALTER TABLE sessions UPDATE dest_port = dest_port + 1 WHERE session_id = '${third?.session_id}' SETTINGS mutations_sync = 2`,
    });
    await bed.clickhouse.command({
      sql: 'ALTER TABLE session_traffic_1m UPDATE bytes_sent = bytes_sent - 1 WHERE bytes_sent > 0 SETTINGS mutations_sync = 2',
    });
    const result = await check();
    expect(result.isEqual).toBe(false);
    expect(result.partitions.reduce((sum, { missing }) => sum + missing, 0)).toBe(1);
    expect(result.tables).toMatchObject([
      { missing: 0, different: 1, examples: [third?.session_id] },
      { missing: 1, different: 0, examples: [second?.session_id] },
      { missing: 0, different: 0, examples: [] },
      { missing: 0 },
    ]);
    expect(result.tables[3]?.different).toBeGreaterThan(0);
    expect(result.rollupRows).toBeGreaterThan(0);
  }, 120_000);
});

describe('rebuild', () => {
  const damage = async () => {
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE sessions' });
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE session_traffic_1m' });
    await bed.clickhouse.command({
      sql: 'ALTER TABLE sessions_by_user UPDATE bytes_sent = 1 WHERE 1 SETTINGS mutations_sync = 2',
    });
  };

  it('makes the tables anew from the stored events', async () => {
    await fed(60);
    await damage();
    expect((await check()).isEqual).toBe(false);
    await build();
    expect(await check()).toMatchObject({ isEqual: true });
    await bed.expectExact();
  }, 120_000);

  it('makes the tables anew from the topic, the stored events too', async () => {
    await fed(60);
    await damage();
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE session_events' });
    await build({
      fillEvents: async (table) => {
        await copyTopicEvents({ kafka: kafka(), timeoutMs: TIMEOUT_MS }, table, {
          clickhouse: bed.clickhouse,
          logger,
          onProgress: ignore,
        });
      },
    });
    expect(await check()).toMatchObject({ isEqual: true });
    await bed.expectExact();
  }, 120_000);

  it.each(['events', 'topic'])(
    'loses nothing that comes meanwhile (from %s)',
    async (source) => {
      await bed.produce(60);
      const child = bed.start();
      await bed.committed();
      const come: Promise<void>[] = [];
      const more = () => {
        // Once, in the middle of the building.
        if (come.length === 0) come.push(bed.produce(60));
      };
      await build({
        onProgress: more,
        ...(source === 'topic'
          ? {
              fillEvents: async (table: string) => {
                await copyTopicEvents({ kafka: kafka(), timeoutMs: TIMEOUT_MS }, table, {
                  clickhouse: bed.clickhouse,
                  logger,
                  onProgress: ignore,
                });
              },
            }
          : {}),
      });
      expect(come).toHaveLength(1);
      await Promise.all(come);
      await bed.committed();
      await bed.expectExact();
      expect(await child.stop()).toBe(0);
    },
    120_000,
  );

  it('keeps what is older than the stored events, and lost sessions', async () => {
    // Half of them on days of which the events will be gone.
    await bed.produceDays(10);
    await fed(30);
    const lost = bed.events[0]?.session_id ?? '';
    await bed.clickhouse.command({
      sql: `INSERT INTO sessions SELECT * REPLACE ('failed' AS status, 'lost' AS close_reason, updated_at AS ended_at, version + 1 AS version)
        FROM sessions FINAL WHERE session_id = '${lost}'`,
    });
    const contents = () =>
      bed.clickhouse.query({
        sql: 'SELECT session_id, status, close_reason, bytes_sent FROM sessions FINAL ORDER BY session_id',
        row: z.unknown(),
      });
    const before = await contents();
    await bed.clickhouse.command({
      sql: 'DELETE FROM session_events WHERE started_at < toStartOfDay(now()) - INTERVAL 3 DAY',
    });
    await rebuild(
      { insertTimeoutMs: 10, eventsRetentionMs: 3 * 86_400_000, timeoutMs: TIMEOUT_MS },
      {
        clickhouse: bed.clickhouse,
        layout: { kind: 'single', database: bed.clickhouse.database },
        onProgress: ignore,
      },
    );
    expect(await contents()).toEqual(before);
  }, 120_000);

  it('does not begin where nothing is stored, and leaves the live tables alone', async () => {
    await expect(build()).rejects.toMatchObject({ code: 'rebuild_unsafe' });
  });

  it('refuses tables that cannot be exchanged', async () => {
    const layout = {
      kind: 'cluster',
      database: bed.clickhouse.database,
      cluster: 'c',
      replicated: true,
      onCluster: true,
    } as const;
    await expect(build({ layout })).rejects.toMatchObject({ code: 'rebuild_unsafe' });
  });
});
