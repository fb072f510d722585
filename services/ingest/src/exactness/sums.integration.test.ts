/**
 * Two processes that sum at once, killed in turn, and `rollups` and `rebuild` beside them. Set
 * INGEST_TEST_KILLS to kill for as long as you like; a kill takes about two seconds.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import '@sockscope/runtime/testing';
import { seededRandom } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createBuckets } from '../rollups/buckets.js';
import { createBed, waitUntil } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const KILLS = Number(process.env['INGEST_TEST_KILLS'] ?? 6);
/** A rebuild runs beside every kill of this number. */
const REBUILD_EVERY = 3;
const KILL_WITHIN_MS = 1_500;
const TIMEOUT_MS = 600_000 + KILLS * 10_000;

/** Summing all the time, so that a kill seldom finds it idle. */
const EAGER = { INGEST_ROLLUP_INTERVAL: '100ms', INGEST_ROLLUP_SHARE: '100' };

let bed: Bed;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
    partitions: 2,
  });
});

afterEach(async () => {
  await bed.remove();
});

/** A command of ingest. It ends by itself or is killed. */
function command(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      KAFKA_BROKERS: inject('kafkaBrokers').join(','),
      KAFKA_TOPIC: bed.topic,
      CLICKHOUSE_URL: inject('clickhouseUrl'),
      CLICKHOUSE_DATABASE: bed.clickhouse.database,
      INGEST_INSERT_TIMEOUT: '2500ms',
      RETENTION_TRAFFIC: '0',
      RETENTION_EVENTS: '0',
      RETENTION_PAIRS_HOURS: '0',
      LOG_LEVEL: 'fatal',
    },
    stdio: 'ignore',
  });
  return { child, exited: once(child, 'exit') };
}

describe('sums', () => {
  it(
    'equal the rows after two summing processes were killed in turn, beside rollups and rebuild',
    async () => {
      const random = seededRandom(1);
      let ingest = bed.start({ env: EAGER });
      for (let kill = 1; kill <= KILLS; kill += 1) {
        await bed.produce(25);
        const rollups = command('rollups', '--all');
        const rebuild = kill % REBUILD_EVERY === 0 ? command('rebuild') : null;
        // Not a condition: the kill is to fall anywhere.
        await delay(random() * KILL_WITHIN_MS);
        if (kill % 2 === 0) {
          rollups.child.kill('SIGKILL');
        } else {
          await ingest.end();
          ingest = bed.start({ env: EAGER });
        }
        await rollups.exited;
        await rebuild?.exited;
      }
      await bed.committed();
      expect(await ingest.stop()).toBe(0);
      const buckets = createBuckets(bed.clickhouse, { timeoutMs: 120_000 });
      await waitUntil('everything is summed', async () => {
        // The present hour too, which ingest would not be done with before it is over.
        await command('rollups').exited;
        return (await buckets.dirty()).buckets.length === 0;
      });
      await bed.expectExact();
    },
    TIMEOUT_MS,
  );
});
