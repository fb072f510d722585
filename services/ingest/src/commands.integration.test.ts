/** The commands as an operator runs them: the real program, its exit code and its output. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import '@sockscope/runtime/testing';
import { sessionLog, seededRandom } from '@sockscope/schemas/testing';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { z } from 'zod';
import { createBed, waitUntil } from './testing/bed.js';
import type { Bed } from './testing/bed.js';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const MINUTE_MS = 60_000;

let bed: Bed;

beforeAll(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
  });
});

afterAll(async () => {
  await bed.remove();
});

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      KAFKA_BROKERS: inject('kafkaBrokers').join(','),
      KAFKA_TOPIC: bed.topic,
      CLICKHOUSE_URL: inject('clickhouseUrl'),
      CLICKHOUSE_DATABASE: bed.clickhouse.database,
      INGEST_INSERT_TIMEOUT: '100ms',
      // As the tables of the tests are.
      RETENTION_TRAFFIC: '0',
      RETENTION_EVENTS: '0',
      RETENTION_PAIRS_HOURS: '0',
      LOG_LEVEL: 'fatal',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  return new Promise((resolve) => {
    child.once('close', (code) => {
      resolve({ code, ...text });
    });
  });
}

describe('the commands of ingest', () => {
  it('migrate: lists pending migrations, shows and applies them, and then reports none', async () => {
    const elsewhere = { CLICKHOUSE_DATABASE: `${bed.clickhouse.database}_new` };
    const [status, dry, still] = [
      await run(['migrate', '--status'], elsewhere),
      await run(['migrate', '--dry-run'], elsewhere),
      await run(['migrate', '--status'], elsewhere),
    ];
    expect([status.code, dry.code, still.code]).toEqual([1, 0, 1]);
    expect(status.out).toMatch(/^0001_sessions {2}pending$/m);
    expect(dry.out).toMatch(/^-- 0001_sessions\nCREATE TABLE IF NOT EXISTS .*`sessions`/m);
    expect(still.out).toBe(status.out);

    const done = await run(['migrate', '--status']);
    expect(done.code).toBe(0);
    expect(done.out).not.toMatch(/pending|changed|unknown/);
    expect(await run(['migrate'])).toMatchObject({ code: 0, out: 'nothing to do\n' });
  });

  it('verify, rebuild and rollups: find and repair differences, with matching exit codes', async () => {
    await bed.produce(20);
    const child = bed.start();
    await bed.committed();
    await child.stop();
    expect((await run(['rollups'])).code).toBe(0);
    const equal = await run(['verify']);
    expect(equal.out).toMatch(/^rollups: 0 rows differ, 0 hours not recomputed yet\nequal\n$/m);
    expect(equal.code).toBe(0);

    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE session_events' });
    await bed.clickhouse.command({ sql: 'TRUNCATE TABLE sessions_by_user' });
    const different = await run(['verify', '--json']);
    expect(different.code).toBe(1);
    expect(JSON.parse(different.out)).toMatchObject({ isEqual: false });

    const nothing = await run(['rebuild']);
    expect(nothing.code).toBe(1);
    expect(nothing.err).toContain('use --from topic');
    expect(await run(['rebuild', '--from', 'topic'])).toMatchObject({
      code: 0,
      out: 'rebuilt; the running ingest recomputes the sums, or run rollups\n',
    });
    expect((await run(['rollups'])).code).toBe(0);
    // A day that is wrong although its hours are right, and knows of all of them.
    await bed.clickhouse.command({
      sql: 'INSERT INTO rollup_1d SELECT * REPLACE (bytes_sent + 1 AS bytes_sent, now64(6) AS computed_at) FROM rollup_1d FINAL',
    });
    expect((await run(['verify'])).code).toBe(1);
    expect((await run(['rollups', '--all'])).code).toBe(0);
    await bed.expectExact();
  });

  it('dlq: there is nothing to show, and a wrong place is a plain sentence', async () => {
    expect(await run(['dlq', 'list'])).toMatchObject({ code: 0, out: '0 dead letters\n' });
    const wrong = await run(['dlq', 'show', '17']);
    expect([wrong.code, wrong.err]).toEqual([
      1,
      'sockscope-ingest: 17 is not partition:offset, such as 0:17\n',
    ]);
  });

  it('exit with 2 if the configuration is wrong, and name every problem', async () => {
    const wrong = await run(['verify'], { INGEST_ROLLUP_SHARE: '200', RETENTION_EVENTS: 'soon' });
    expect([wrong.code, wrong.out]).toEqual([2, '']);
    expect(wrong.err).toContain('RETENTION_EVENTS');
    expect(wrong.err).toContain('INGEST_ROLLUP_SHARE');
  });
});

describe('a running ingest', () => {
  it('finds lost the sessions of a proxy that fell silent, by the time of the events', async () => {
    const random = seededRandom(3);
    const startMs = Date.now() - 120 * MINUTE_MS;
    const silent = sessionLog({ random, startMs, intervals: 1, closed: false, proxyId: 'silent' });
    const later = sessionLog({ random, startMs: startMs + 60 * MINUTE_MS, closed: true });
    const produce = (log: typeof silent) =>
      bed.produceRecords(
        log.map((event) => ({
          key: event.session_id,
          value: JSON.stringify(event),
          headers: {},
        })),
      );
    await produce(silent);
    const child = bed.start({ env: { INGEST_LOST_INTERVAL: '100ms' } });
    await bed.committed();
    // As it would be had ingest run then.
    await bed.clickhouse.command({
      sql: `ALTER TABLE session_events UPDATE ingested_at = occurred_at WHERE proxy_id = 'silent' SETTINGS mutations_sync = 2`,
    });
    await produce(later);
    await waitUntil('the session is lost', async () => {
      const [row] = await bed.clickhouse.query({
        sql: `SELECT status, close_reason FROM sessions FINAL WHERE session_id = '${silent[0]?.session_id}'`,
        row: z.object({ status: z.string(), close_reason: z.string().nullable() }),
      });
      return row?.status === 'failed' && row.close_reason === 'lost';
    });
    expect(await child.stop()).toBe(0);
  });
});
