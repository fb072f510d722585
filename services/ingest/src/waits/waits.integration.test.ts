/**
 * A waiting partition stops no other one: on the real Kafka and ClickHouse, a group of two
 * processes through all of it, and `verify` after each. With SOCKSCOPE_CHAOS=full the sizes and times
 * are those that were seen, and ClickHouse itself is stopped, so nothing else may run beside it.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { int64 } from '@sockscope/runtime/clickhouse';
import { abortForeignBatch, damageBatch, sendForeignBatch } from '@sockscope/runtime/testing';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { z } from 'zod';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { createBed, waitUntil } from '../testing/bed.js';
import type { Bed } from '../testing/bed.js';

const IS_FULL = process.env['SOCKSCOPE_CHAOS'] === 'full';
const MIB = 1024 ** 2;
/** The partition that is damaged. */
const PARTITION = 1;
const BOMB_BYTES = IS_FULL ? 280 * MIB : 8 * MIB;
/** The default in the full run. */
const BATCH_MAX_BYTES = IS_FULL ? 128 * MIB : 4 * MIB;
const POISON_PER_S = IS_FULL ? 1_000 : 20;
/** A partition's burst, half as much again, and the budget that it needs to continue. */
const FLOOD_RECORDS = POISON_PER_S * 15;
const HANG_MS = 45_000;
const HANG_SESSIONS = 500;
/** How soon everything that waited is folded once ClickHouse answers again. */
const AFTER_HANG_MS = 10_000;
/** Padding of each large event; together they exceed 1,052,688 bytes, which the decoder once refused. */
const PADDING_BYTES = 4_000;
const RESIDENT_MAX_BYTES = 512 * MIB;
const SERIES_TIMEOUT_MS = 600_000;

/** The defaults, which a hang of 45 s is longer than. */
const FULL_TIMES = {
  KAFKA_SESSION_TIMEOUT: '30s',
  KAFKA_HEARTBEAT_INTERVAL: '3s',
  INGEST_INSERT_TIMEOUT: '20s',
};

let bed: Bed;

beforeEach(async () => {
  bed = await createBed({
    brokers: inject('kafkaBrokers'),
    clickhouseUrl: inject('clickhouseUrl'),
    topicSettings: { 'max.message.bytes': String(4 * MIB) },
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

/** A group of two, and a topic for its dead letters that it cannot make itself. */
async function startGroup() {
  const dlq = `${bed.topic}-letters`;
  const makeDlq = () =>
    bed.admin.ensureTopic({ name: dlq, partitions: 1, replicationFactor: null });
  await makeDlq();
  const env = {
    INGEST_DLQ_TOPIC: dlq,
    // More than there are brokers.
    INGEST_DLQ_REPLICATION: '99',
    INGEST_DLQ_RECORDS_PER_S: String(POISON_PER_S),
    KAFKA_BATCH_MAX_BYTES: String(BATCH_MAX_BYTES),
    // The assignments must stay, also while a busy machine lets a member wait.
    KAFKA_SESSION_TIMEOUT: '20s',
    ...(IS_FULL ? FULL_TIMES : {}),
  };
  const all = [await startOne(env), await startOne(env)];
  for (const { child } of all) await child.output('partitions assigned');
  const assignments = () =>
    all.map(({ child }) => child.log().split('partitions assigned').length - 1);
  let first: readonly number[] | null = null;

  return {
    all,
    makeDlq,
    dropDlq: () => bed.admin.deleteTopic(dlq),
    reasons: async () =>
      (await bed.readTopic(dlq)).map(({ headers }) => headers.get('sockscope_dlq_reason')),
    /** The damaged partition waits there, and one process shows it; the others continue. */
    async waitsAt(offset: number, kind: string) {
      expect(await waitShown()).toEqual({ partition: PARTITION, offset, kind });
      await bed.produce(30);
      await othersCommitted(PARTITION);
      const shown = await Promise.all(all.map((each) => each.readyz()));
      const sentence = `partition ${PARTITION} waits at offset ${offset}`;
      expect(shown.filter((text) => text.includes(sentence))).toHaveLength(1);
    },
    /** Everything is read, nothing waits, the group is as it was, and the tables hold the topic. */
    async isWhole() {
      await bed.produce(30);
      await bed.committed();
      await nothingWaits(all);
      await bed.expectVerified();
      first ??= assignments();
      expect(assignments()).toEqual(first);
    },
    async stop() {
      for (const { child } of all) expect(await child.stop()).toBe(0);
      await bed.admin.deleteTopic(dlq);
    },
  };
}

const skip = (offset: number) =>
  bed.command('skip', '--partition', String(PARTITION), '--offset', String(offset));

/** The offset of the next record of the damaged partition. */
async function endOfPartition(): Promise<number> {
  const ends = await bed.admin.describeTopic(bed.topic);
  return Number(ends?.[PARTITION]?.endOffset ?? expect.unreachable());
}

/** Events of the contract, each with a field that it does not know, and that does not compress. */
function largeEvents(): string[] {
  const random = seededRandom(5);
  const logs = Array.from({ length: 40 }, () =>
    sessionLog({ random, startMs: Date.now() - 7_200_000, intervals: 8 }),
  );
  return logs
    .flat()
    .map((event) =>
      JSON.stringify({ ...event, padding: randomBytes(PADDING_BYTES).toString('base64') }),
    );
}

describe('a group of two', () => {
  it(
    'reads on through damage of every kind in one partition, and verify is equal after each',
    async () => {
      const brokers = inject('kafkaBrokers');
      const place = { topic: bed.topic, partition: PARTITION };
      await bed.produce(60);
      const damaged = await damageBatch(
        join(inject('kafkaLogDir'), `${bed.topic}-${PARTITION}`),
        5,
      );
      const group = await startGroup();

      // A stored byte has flipped.
      await group.waitsAt(damaged, 'damaged');
      const failed = await bed.command('verify').catch((error: unknown) => error);
      expect(failed).toHaveProperty(
        'stdout',
        expect.stringMatching(
          /partition 1 was read up to offset \d+ only: .*checksum[^]*INCOMPLETE/,
        ),
      );
      await expect(bed.command('skip', '--partition', '1', '--offset', '7777')).rejects.toThrow(
        new RegExp(`partition 1 of ${bed.topic} waits at offset ${damaged}`),
      );
      await skip(damaged);
      await group.isWhole();
      expect(await group.reasons()).toEqual(['unreadable']);

      // A record that a broker takes, and that is larger than the memory for batches.
      const bomb = await endOfPartition();
      await sendForeignBatch(brokers, {
        ...place,
        values: [Buffer.alloc(BOMB_BYTES)],
        codec: 'gzip',
      });
      await group.waitsAt(bomb, 'too_large');
      await skip(bomb);
      await group.isWhole();

      // lz4 without a content size, larger than its compressed bytes suggest: it is read.
      const large = largeEvents();
      await sendForeignBatch(brokers, { ...place, values: large, codec: 'lz4' });
      await group.isWhole();

      // A transaction that was aborted, at the end of the topic.
      await abortForeignBatch(brokers, { ...place, values: ['aborted'] });
      await bed.committed();
      await bed.expectVerified();
      await group.isWhole();

      // The topic for dead letters is missing.
      await group.dropDlq();
      const poison = await endOfPartition();
      await sendForeignBatch(brokers, { ...place, values: ['poison'] });
      await group.waitsAt(poison, 'dead_letters');
      await group.makeDlq();
      await group.isWhole();
      expect(await group.reasons()).toEqual(['not_json']);

      // More dead letters than their budget.
      const flood = Array.from({ length: FLOOD_RECORDS }, (_, i) => `poison ${i}`);
      await sendForeignBatch(brokers, { ...place, values: flood });
      await Promise.any(group.all.map(({ child }) => child.output('poison_flood')));
      await group.isWhole();
      expect(await group.reasons()).toHaveLength(1 + FLOOD_RECORDS);

      if (IS_FULL) {
        await hang(group.all);
        await group.isWhole();
      }
      for (const each of group.all) {
        const resident = /^sockscope_process_resident_memory_bytes\S* (\S+)$/m.exec(
          await each.metrics(),
        );
        expect(Number(resident?.[1])).toBeLessThan(RESIDENT_MAX_BYTES);
      }
      await group.stop();
    },
    SERIES_TIMEOUT_MS,
  );
});

/** ClickHouse itself stands still, with connections that stay open, while sessions arrive. */
async function hang(all: readonly One[]): Promise<void> {
  const pid = inject('clickhousePid');
  const inserts = all.map(({ child }) => child.log().length);
  process.kill(pid, 'SIGSTOP');
  try {
    await bed.produce(HANG_SESSIONS);
    await delay(HANG_MS);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  const returnedMs = Date.now();
  await bed.committed();
  const afterMs = Date.now() - returnedMs;
  console.info(`${HANG_SESSIONS} sessions were folded ${afterMs} ms after ClickHouse returned`);
  expect(afterMs).toBeLessThan(AFTER_HANG_MS);
  for (const [i, { child }] of all.entries()) {
    // A server that stands still is no reason to send it fewer rows at once.
    expect(child.log().slice(inserts[i])).not.toContain('halved');
  }
}

describe('a partition', () => {
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
    await waitUntil('readiness says until when somebody must act', async () =>
      /offset \d+: .*; Kafka may delete it from 20\d\d-/.test(await one.readyz()),
    );
    const metrics = await one.metrics();
    expect(metrics).toContain(
      `sockscope_ingest_needed_schema_version{partition="${partition}",service="ingest"} 2`,
    );

    // The number comes from the brokers, so it is there while no record is read.
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
  });
});
