/** A ClickHouse that answers late, not at all, or with errors. */
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import '@sockscope/runtime/testing';
import { createBed, waitUntil } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';
import { startCuttingProxy } from '../testing/cutting-proxy.js';
import type { CuttingProxy } from '../testing/cutting-proxy.js';
import { TABLES } from '../testing/steps.js';
import { countRows } from '../testing/table-state.js';

let bed: Bed;
let proxy: CuttingProxy;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
  });
  proxy = await startCuttingProxy(inject('clickhouseUrl'));
});

afterEach(async () => {
  await bed.remove();
  await proxy.close();
});

describe('with ClickHouse in trouble, ingest', () => {
  it('is exact if inserts are stored and their answers are lost, without any deduplication', async () => {
    for (const table of TABLES) {
      await bed.clickhouse.command({
        sql: `ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = 0`,
      });
      await bed.clickhouse.command({ sql: `SYSTEM STOP MERGES ${table}` });
    }
    await bed.produce(100);
    proxy.cutAnswers(12);
    // An insert that ingest gives up on a busy machine is not stored, and would not be there twice.
    const child = bed.start({
      env: {
        CLICKHOUSE_URL: proxy.url,
        KAFKA_SESSION_TIMEOUT: '60s',
        INGEST_INSERT_TIMEOUT: '45s',
      },
    });
    await bed.committed();
    expect(proxy.cuts).toBe(12);
    // The cut ones are there twice: nothing but the fold makes them one.
    const rows = await countRows(bed.clickhouse, 'session_events');
    expect(rows).toBeGreaterThan(bed.events.length);
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });

  it('keeps its partitions and its batches whole, and continues, if ClickHouse hangs for longer than the session', async () => {
    await bed.produce(50);
    const child = bed.start({
      env: { CLICKHOUSE_URL: proxy.url, INGEST_INSERT_TIMEOUT: '1s', KAFKA_SESSION_TIMEOUT: '8s' },
    });
    await bed.committed();
    proxy.stall();
    const stalledMs = Date.now();
    await bed.produce(300);
    await child.output('no answer in time');
    await waitUntil('a session of the group', async () => Date.now() - stalledMs > 10_000);
    proxy.resume();
    await bed.committed();
    await bed.expectExact();
    const log = child.log();
    // One assignment from beginning to end: heartbeats continued.
    expect(log.split('partitions assigned').length - 1).toBe(1);
    // A server that stands still is no reason to send it fewer rows at once.
    expect(log).not.toContain('halved');
    expect(await child.stop()).toBe(0);
  });

  it('waits for a table that is missing, at its start and later, and sends nothing to the dead letters', async () => {
    await bed.clickhouse.command({ sql: 'RENAME TABLE session_traffic_1m TO away' });
    await bed.produce(50);
    const child = bed.start();
    await child.output('session_traffic_1m: there is no such table');
    await bed.clickhouse.command({ sql: 'RENAME TABLE away TO session_traffic_1m' });
    await bed.committed();
    await bed.clickhouse.command({ sql: 'RENAME TABLE sessions_by_user TO away' });
    await bed.produce(50);
    await child.output('insert failed');
    await bed.clickhouse.command({ sql: 'RENAME TABLE away TO sessions_by_user' });
    await bed.committed();
    await bed.expectExact();
    const dead = await bed.admin.describeTopic(`${bed.topic}.dlq`);
    expect(dead?.every(({ endOffset }) => endOffset === 0n)).toBe(true);
    expect(await child.stop()).toBe(0);
  });

  it('ends within its deadline if ClickHouse hangs, and the next one continues', async () => {
    const env = { CLICKHOUSE_URL: proxy.url, INGEST_SHUTDOWN_DEADLINE: '3s' };
    const child = bed.start({ env });
    await bed.produce(50);
    await bed.committed();
    proxy.stall();
    await bed.produce(50);
    await child.output('insert failed');
    const began = Date.now();
    expect(await child.stop()).toBe(1);
    expect(Date.now() - began).toBeLessThan(60_000);
    proxy.resume();
    bed.start({ env });
    await bed.committed();
    await bed.expectExact();
  });

  it('survives many days in one batch', async () => {
    // Hundreds of parts at once, on a busy machine: the deadlines of a deployment, because with the
    // short ones of the other tests the insert is given up and halved, again and again.
    const child = bed.start({
      env: { KAFKA_SESSION_TIMEOUT: '30s', INGEST_INSERT_TIMEOUT: '20s' },
    });
    await bed.produce(20);
    await waitUntil(
      'the first ones',
      async () => (await countRows(bed.clickhouse, 'sessions')) > 0,
    );
    // More than the 100 partitions of one insert that ClickHouse takes by itself.
    await bed.produceDays(120);
    await bed.committed();
    await bed.expectExact();
    expect(await child.stop()).toBe(0);
  });
});
