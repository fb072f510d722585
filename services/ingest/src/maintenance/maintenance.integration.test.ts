/** Longer than 400 lines: all commands work on one database, which takes seconds to make. */
import { hostname } from 'node:os';
import { createLogger, loadConfig } from '@sockscope/runtime';
import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import '@sockscope/runtime/testing';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { tablesConfig } from '../migrations/config.js';
import { createBed, waitUntil } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';
import { blocksOf, insertBlocks, storeBatch } from '../testing/fold-into-tables.js';
import { expectTablesEqualFold } from '../testing/table-state.js';
import { rebuild } from './rebuild.js';
import type { RebuildDeps } from './rebuild.js';
import { copyTopicEvents } from './topic-events.js';
import { verify } from './verify.js';
import type { VerifyConfig } from './verify-report.js';

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

const check = (clickhouse = bed.clickhouse, more: Partial<VerifyConfig> = {}) =>
  verify(
    { kafka: kafka(), retention: FOR_GOOD, timeoutMs: TIMEOUT_MS, recheckMs: 20, ...more },
    { clickhouse, logger, onProgress: ignore },
  );

const build = (more: Partial<RebuildDeps> = {}, insertTimeoutMs = 10) =>
  rebuild(
    { insertTimeoutMs, retention: FOR_GOOD, timeoutMs: TIMEOUT_MS },
    {
      clickhouse: bed.clickhouse,
      layout: { kind: 'single', database: bed.clickhouse.database },
      onProgress: ignore,
      ...more,
    },
  );

const addEvents = async () => {
  await copyTopicEvents(
    { kafka: kafka(), timeoutMs: TIMEOUT_MS },
    { clickhouse: bed.clickhouse, logger, onProgress: ignore },
  );
};

/** Counts the hours that wait to be recomputed, and the sessions whose hours must be looked up. */
async function marks(): Promise<number> {
  const [row] = await bed.clickhouse.query({
    sql: `SELECT count() AS n FROM (SELECT 1 FROM ingest_rollup_buckets
      GROUP BY span, bucket, writer HAVING max(changed_through) > max(summed_through))`,
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
  it('compares a range alone, ends at its signal, and leaves no table, nor one of a run that was killed', async () => {
    await fed(20);
    const tables = async () => {
      const rows = await bed.clickhouse.query({
        sql: "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, 'ingest_verify_')",
        params: { database: bed.clickhouse.database },
        row: z.object({ name: z.string() }),
      });
      return rows.map(({ name }) => name).toSorted();
    };
    const left = (name: string, pid: number) =>
      bed.clickhouse.command({
        sql: `CREATE TABLE ingest_verify_${name} (a UInt8) ENGINE = Memory COMMENT '${hostname()} ${pid}'`,
      });
    // No process has a number as high.
    await left('killed', 99_999_999);
    await left('running', process.pid);
    const ids = new Set(bed.events.map((event) => event.session_id));
    const starts = bed.events
      .map((event) => Date.parse(event.started_at))
      .toSorted((a, b) => a - b);
    const middle = starts[Math.floor(starts.length / 2)] ?? 0;
    const compared = async (range: { fromMs: number; toMs: number }) => {
      const result = await check(bed.clickhouse, { range });
      expect(result.isEqual).toBe(true);
      return result.tables.find(({ table }) => table === 'sessions')?.expected ?? 0;
    };
    const before = await compared({ fromMs: 0, toMs: middle });
    const after = await compared({ fromMs: middle, toMs: Number.POSITIVE_INFINITY });
    expect(before).toBeGreaterThan(0);
    expect(before + after).toBe(ids.size);
    await expect(check(bed.clickhouse, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: expect.stringMatching(/aborted/) as string,
    });
    expect(await tables()).toEqual(['ingest_verify_running']);
  });

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
      'ended_sessions',
      'long_sessions',
    ]);
    for (const { expected } of result.tables.slice(0, -2)) expect(expected).toBeGreaterThan(30);
  });

  it('names missing and different rows', async () => {
    await fed(40);
    const [first, second, third] = bed.events.filter(({ seq }) => seq === 0);
    const remove = (table: string, where: string) =>
      bed.clickhouse.command({ sql: `DELETE FROM ${table} WHERE ${where}` });
    await remove('session_events', `session_id = '${first?.session_id}' AND seq = 0`);
    await remove('sessions_by_user', `session_id = '${second?.session_id}'`);
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE long_sessions' });
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
      { missing: 0 },
      { missing: 8, different: 0 },
    ]);
    expect(result.tables[3]?.different).toBeGreaterThan(0);
    expect(result.rollupRows).toBeGreaterThan(0);

    // Counted too much: a minute with more than the topic has, and one that it does not know.
    await bed.clickhouse.command({
      sql: 'ALTER TABLE session_traffic_1m UPDATE bytes_sent = bytes_sent + 1 WHERE bytes_sent > 0 SETTINGS mutations_sync = 2',
    });
    expect((await check()).tables[3]).toMatchObject({ missing: 0, different: 0 });
    const [traffic] = bed.events.filter(({ bytes_sent }) => bytes_sent > 0);
    for (const change of [
      'bytes_sent + 1 AS bytes_sent',
      "toDateTime('2020-01-01 00:00:00', 'UTC') AS bucket",
    ]) {
      await bed.clickhouse.command({
        sql: `INSERT INTO session_traffic_1m SELECT * REPLACE (${change}) FROM session_traffic_1m FINAL
          WHERE session_id = '${traffic?.session_id}' ORDER BY bucket LIMIT 1`,
      });
    }
    expect((await check()).tables[3]).toMatchObject({
      missing: 0,
      different: 2,
      newer: 0,
      examples: [traffic?.session_id],
    });
  });

  it('compares the addresses of ends, but not of rows that a former version stored', async () => {
    await fed(40);
    const ends = async (set: string) => {
      await bed.clickhouse.command({
        sql: `ALTER TABLE ended_sessions UPDATE ${set} WHERE true SETTINGS mutations_sync = 2`,
      });
      return (await check()).tables.find(({ table }) => table === 'ended_sessions');
    };
    const changed = await ends('connect_ms = 98765');
    expect(changed?.different).toBeGreaterThan(0);
    expect(await ends('egress_port = 0')).toMatchObject({ missing: 0, different: 0 });
  });
});

describe('verify beside a running ingest', () => {
  /** The tables as they are, but that something happens before the sums per day are first compared. */
  const meanwhile = (happen: () => Promise<void>): Bed['clickhouse'] => {
    let has = false;
    return {
      ...bed.clickhouse,
      async query(query) {
        if (!has && query.sql.includes('FROM rollup_1d FINAL')) {
          has = true;
          await happen();
        }
        return bed.clickhouse.query(query);
      },
    };
  };

  it('sees no difference in a round that has replaced hours and not yet their day', async () => {
    await fed(20);
    const replaceHour = async () => {
      await bed.clickhouse.command({
        sql: `INSERT INTO rollup_1h SELECT * REPLACE (sessions_started + 1 AS sessions_started, now64(6) AS computed_at)
          FROM rollup_1h FINAL WHERE dimension = 'total' ORDER BY bucket LIMIT 1`,
      });
    };
    const round = meanwhile(async () => {
      await bed.clickhouse.command({
        sql: "INSERT INTO ingest_rollup_buckets (span, bucket, writer, changed_through) SELECT 'hour', min(bucket), generateUUIDv4(), 1 FROM rollup_1h WHERE dimension = 'total'",
      });
      await replaceHour();
    });
    expect(await check(round)).toMatchObject({ isEqual: true, rollupRows: 0, dirtyHours: 1 });
    // Nothing is marked any more, and the day still is not the sum of its hours.
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE ingest_rollup_buckets' });
    const result = await check();
    expect(result).toMatchObject({ isEqual: false, dirtyHours: 0 });
    expect(result.rollupRows).toBeGreaterThan(0);
  });
});

describe('a backup of the database', () => {
  it.skipIf(inject('clickhouseBackupDir') === '')(
    'is restored to the content of the topic, when the offsets are set back to before it',
    async () => {
      const { database } = bed.clickhouse;
      const server = createClickHouse(
        clickhouseConfig.parse({ url: inject('clickhouseUrl'), database: 'default' }),
      );
      const backup = `File('${inject('clickhouseBackupDir')}/${database}')`;
      try {
        const begunMs = Date.now();
        await bed.produce(30);
        const child = bed.start();
        await bed.committed();
        // Ingest continues meanwhile.
        await Promise.all([
          server.command({ sql: `BACKUP DATABASE ${database} TO ${backup}` }),
          bed.produce(30),
        ]);
        await bed.produce(30);
        await bed.committed();
        await bed.expectExact();
        await child.stop();

        await server.command({ sql: `DROP DATABASE ${database} SYNC` });
        await server.command({ sql: `RESTORE DATABASE ${database} FROM ${backup}` });
        // Nothing is unread, so no ingest would ever fold the events after the backup.
        expect((await check()).isEqual).toBe(false);
        // More than the clocks of this machine and of the records differ.
        const before = new Date(begunMs - 60_000).toISOString();
        expect(await bed.command('rewind', '--to', before)).toMatch(/back to 0/);
        await bed.command('migrate');
        bed.start();
        await bed.committed();
        await bed.command('rollups', '--all');
        await bed.expectExact();
      } finally {
        await server.close();
      }
    },
  );
});

describe('rebuild', () => {
  const damage = async () => {
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE long_sessions' });
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE sessions' });
    await bed.clickhouse.command({
      sql: 'DELETE FROM session_traffic_1m WHERE cityHash64(session_id) % 2 = 0',
    });
    // Minutes that never were, of sessions whose events are complete.
    await bed.clickhouse.command({
      sql: 'INSERT INTO session_traffic_1m SELECT * REPLACE (bucket - 60 AS bucket) FROM session_traffic_1m FINAL',
    });
    await bed.clickhouse.command({
      sql: 'ALTER TABLE sessions_by_user UPDATE bytes_sent = 1 WHERE 1 SETTINGS mutations_sync = 2',
    });
  };

  it('rebuilds the tables from the stored events', async () => {
    await fed(60);
    await damage();
    await build();
    await expect(bed.expectExact()).resolves.toBeUndefined();
  });

  it('rebuilds the tables from the topic, the stored events too', async () => {
    await fed(60);
    await damage();
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE session_events' });
    await build({ addEvents });
    await expect(bed.expectExact()).resolves.toBeUndefined();
  });

  it.each(['events', 'topic'])('loses nothing that comes meanwhile (from %s)', async (source) => {
    await bed.produce(60);
    const child = bed.start();
    await bed.committed();
    const come: Promise<void>[] = [];
    const more = () => {
      // Once, in the middle of the building.
      if (come.length === 0) come.push(bed.produce(60));
    };
    await build({ onProgress: more, ...(source === 'topic' ? { addEvents } : {}) }, 2_500);
    expect(come).toHaveLength(1);
    await Promise.all(come);
    await bed.committed();
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });

  it('loses no part of a batch whose events are stored long after its other rows', async () => {
    await fed(20);
    const [open, fresh] = [1, 2].map((seed) =>
      sessionLog({
        random: seededRandom(seed),
        startMs: Date.now() - 3_600_000,
        intervals: 4,
        closed: true,
      }),
    );
    if (!open || !fresh) throw new Error('two logs are needed');
    await storeBatch(bed.clickhouse, open.slice(0, 2), []);
    const batch = blocksOf([...open.slice(2), ...fresh]);
    const isEvents = ({ table }: (typeof batch)[number]) => table === 'session_events';
    const clickhouse: Bed['clickhouse'] = {
      ...bed.clickhouse,
      async command(statement) {
        if (statement.sql.startsWith('EXCHANGE')) {
          await insertBlocks(
            bed.clickhouse,
            batch.filter((block) => !isEvents(block)),
          );
        }
        await bed.clickhouse.command(statement);
      },
    };
    await build({ clickhouse });
    await insertBlocks(bed.clickhouse, batch.filter(isEvents));
    await expect(
      expectTablesEqualFold(bed.clickhouse, [...bed.events, ...open, ...fresh]),
    ).resolves.toBeUndefined();
  });

  it('keeps rows without stored events: expired days, half-expired and lost sessions', async () => {
    // Half of them on days whose events will be gone, with any present retention.
    await bed.produceDays(6);
    await fed(20);
    const lost = bed.events.find(({ type }) => type !== 'SessionClosed')?.session_id ?? '';
    await bed.clickhouse.command({
      sql: `INSERT INTO sessions SELECT * REPLACE ('failed' AS status, 'lost' AS close_reason, updated_at AS ended_at, seq * 2 + 1 AS version)
        FROM sessions FINAL WHERE session_id = '${lost}'`,
    });
    const contents = () =>
      Promise.all(
        ['sessions', 'sessions_by_user', 'session_traffic_1m'].map((table) =>
          bed.clickhouse.query({
            sql: `SELECT * FROM ${table} FINAL ORDER BY ALL`,
            row: z.unknown(),
          }),
        ),
      );
    const before = await contents();
    await bed.clickhouse.command({
      sql: 'DELETE FROM session_events WHERE started_at < toStartOfDay(now()) - INTERVAL 3 DAY',
    });
    // Each of the others has lost one event, some their last.
    await bed.clickhouse.command({ sql: 'DELETE FROM session_events WHERE seq = 2' });
    await build();
    expect(await contents()).toEqual(before);
    // A topic that was created again begins at offset 0 and lacks the earlier events.
    await bed.recreateTopic();
    await build({ addEvents });
    expect(await contents()).toEqual(before);
  });

  it('exchanges nothing if the new tables would hold less', async () => {
    await fed(30);
    const sessions = async () => {
      const [row] = await bed.clickhouse.query({
        sql: 'SELECT count() AS sessions FROM sessions FINAL',
        row: z.object({ sessions: z.coerce.number() }),
      });
      return row?.sessions;
    };
    // The one step that should prevent it does nothing.
    const clickhouse: Bed['clickhouse'] = {
      ...bed.clickhouse,
      async command(statement) {
        if (!/^INSERT INTO sessions_rebuild[^]*JOIN/.test(statement.sql)) {
          await bed.clickhouse.command(statement);
        }
      },
    };
    await bed.clickhouse.command({
      sql: 'ALTER TABLE session_events DELETE WHERE cityHash64(session_id) % 3 = 0 SETTINGS mutations_sync = 2',
    });
    await bed.clickhouse.command({
      sql: "ALTER TABLE session_events UPDATE ingested_at = '2020-01-01 00:00:00' WHERE 1 SETTINGS mutations_sync = 2",
    });
    await expect(build({ clickhouse })).rejects.toThrow(/nothing was exchanged/);
    expect(await sessions()).toBe(30);
  });

  it('does not start if no events are stored, and leaves the live tables unchanged', async () => {
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
