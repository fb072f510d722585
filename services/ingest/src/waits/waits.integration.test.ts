/** What one partition waits for stops no other one: on the real Kafka and ClickHouse, two processes. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { int64 } from '@sockscope/runtime/clickhouse';
import { damageBatch } from '@sockscope/runtime/testing';
import { dlqTopicOf } from '@sockscope/schemas';
import { z } from 'zod';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createBed, waitUntil } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';

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

/** An ingest process and its operations port. */
async function startOne(env: Readonly<Record<string, string>> = {}) {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const child = bed.start({ env: { ...env, INGEST_OPS_LISTEN: `127.0.0.1:${port}` } });
  const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}/${path}`)).text();
  return { child, readyz: () => get('readyz'), metrics: () => get('metrics') };
}

type One = Awaited<ReturnType<typeof startOne>>;

/** Resolves when all partitions but one are committed to their ends. */
async function othersCommitted(waiting: number): Promise<void> {
  await waitUntil('the other partitions are committed', async () => {
    const offsets = await bed.admin.groupOffsets(bed.group, bed.topic);
    const ends = (await bed.admin.describeTopic(bed.topic)) ?? [];
    return ends.every(
      ({ partition, endOffset }) => partition === waiting || offsets.get(partition) === endOffset,
    );
  });
}

async function waitShown(): Promise<{ partition: number; offset: number; kind: string }> {
  const shown = () =>
    bed.clickhouse.query({
      sql: 'SELECT partition, offset, kind FROM ingest_waits FINAL WHERE is_waiting = 1',
      row: z.object({ partition: z.int(), offset: int64, kind: z.string() }),
    });
  await waitUntil('a partition waits', async () => (await shown()).length > 0);
  const [wait] = await shown();
  return wait ?? expect.unreachable();
}

async function nothingWaits(all: readonly One[]): Promise<void> {
  await waitUntil('nothing waits any more', async () => {
    const rows = await bed.clickhouse.query({
      sql: 'SELECT partition FROM ingest_waits FINAL WHERE is_waiting = 1',
      row: z.object({ partition: z.int() }),
    });
    return rows.length === 0;
  });
  for (const each of all) expect(await each.readyz()).not.toContain('waits at offset');
}

describe('a partition that cannot be read on', () => {
  it('waits if a stored byte has flipped, until an operator skips the batch', async () => {
    await bed.produce(60);
    const base = await damageBatch(join(inject('kafkaLogDir'), `${bed.topic}-1`), 5);
    const all = [await startOne(), await startOne()];
    const wait = await waitShown();
    expect(wait).toEqual({ partition: 1, offset: base, kind: 'damaged' });
    await bed.produce(60);
    await othersCommitted(1);
    const shown = await Promise.all(all.map((each) => each.readyz()));
    expect(
      shown.filter((text) => text.includes(`partition 1 waits at offset ${base}`)),
    ).toHaveLength(1);
    const failed = await bed.command('verify').catch((error: unknown) => error);
    expect(failed).toHaveProperty(
      'stdout',
      expect.stringMatching(/partition 1 was read up to offset \d+ only: .*checksum[^]*INCOMPLETE/),
    );
    await expect(bed.command('skip', '--partition', '1', '--offset', '7777')).rejects.toThrow(
      new RegExp(`partition 1 of ${bed.topic} waits at offset ${base}`),
    );

    await bed.command('skip', '--partition', '1', '--offset', String(base));
    await bed.committed();
    await bed.expectVerified();
    await nothingWaits(all);
    const letters = await bed.readTopic(dlqTopicOf(bed.topic));
    expect(letters.map(({ headers }) => headers.get('sockscope_dlq_reason'))).toEqual([
      'unreadable',
    ]);
    for (const { child } of all) {
      const sinceItRead = child.log().split('partition begins').at(-1);
      expect(sinceItRead).not.toContain('the consumer failed');
      expect(await child.stop()).toBe(0);
    }
  }, 180_000);

  it('waits at an event of a newer version, and reports the version that it needs', async () => {
    const one = await startOne();
    await bed.produce(30);
    await bed.committed();
    const newer = JSON.stringify({ ...bed.events[0], schema_version: 2 });
    await bed.produceRecords([{ key: 'newer', value: newer, headers: {} }]);
    const { partition, offset, kind } = await waitShown();
    expect(kind).toBe('unknown_version');
    await bed.produce(60);
    await othersCommitted(partition);
    expect(await one.readyz()).toContain('schema_version 2');
    const metrics = await one.metrics();
    expect(metrics).toContain(
      `sockscope_ingest_needed_schema_version{partition="${partition}",service="ingest"} 2`,
    );

    // From the brokers, and so also while nothing of it is read.
    await waitUntil('the lag is shown', async () =>
      new RegExp(
        `sockscope_ingest_lag_records{partition="${partition}",service="ingest"} [1-9]`,
      ).test(await one.metrics()),
    );

    await bed.command('skip', '--partition', String(partition), '--offset', String(offset));
    await bed.committed();
    await bed.expectExact();
    await nothingWaits([one]);
    expect(await bed.command('dlq', 'list')).toMatch(/newer_version/);
    expect(await one.child.stop()).toBe(0);
  }, 180_000);

  it('waits if its dead letters cannot be sent, and goes on once they can', async () => {
    const dlq = `${bed.topic}-letters`;
    // More replicas than there are brokers: the topic cannot be made.
    const one = await startOne({ INGEST_DLQ_TOPIC: dlq, INGEST_DLQ_REPLICATION: '99' });
    await bed.produce(30);
    await bed.committed();
    await bed.produceRecords([{ key: 'k', value: 'poison', headers: {} }]);
    const { partition, kind } = await waitShown();
    expect(kind).toBe('dead_letters');
    await bed.produce(60);
    await othersCommitted(partition);
    expect(await one.readyz()).toContain(`partition ${partition} waits`);

    await bed.admin.ensureTopic({ name: dlq, partitions: 1, replicationFactor: null });
    await bed.committed();
    await bed.expectExact();
    await nothingWaits([one]);
    expect(await bed.readTopic(dlq)).toHaveLength(1);
    await bed.admin.deleteTopic(dlq);
    expect(await one.child.stop()).toBe(0);
  }, 180_000);
});
