import { createLogger, Registry } from '@sockscope/runtime';
import type { CommitPosition, ConsumedBatch, RecordCursor } from '@sockscope/runtime/kafka';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { PoisonBudget } from '../dlq/budget.js';
import type { TableBlock } from '../tables/block.js';
import type { Wait } from '../waits/waits.js';
import { createPipelineMetrics } from './metrics.js';
import { createPipeline } from './pipeline.js';
import type { Pipeline } from './pipeline.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

/** A promise that the test settles. */
interface Gate {
  readonly opened: Promise<void>;
  open(): void;
  fail(error: Error): void;
}

function createGate(): Gate {
  let open: () => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const opened = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { opened, open, fail };
}

const events = Array.from({ length: 40 }, (_, i) =>
  sessionLog({ random: seededRandom(i), startMs: Date.UTC(2026, 0, 1) + i }),
).flat();

function batchOf(
  from: number,
  records: readonly (SessionEvent | string)[],
  partition = 0,
  rest: { key?: Buffer; headers?: [string, Buffer][] } = {},
): ConsumedBatch {
  const values = records.map((each) =>
    Buffer.from(typeof each === 'string' ? each : JSON.stringify(each)),
  );
  let at = -1;
  const starts = values.map((_, i) => values.slice(0, i).reduce((sum, v) => sum + v.length, 0));
  const cursor = {
    bytes: Buffer.concat(values),
    next: () => ++at < values.length,
    get offset() {
      return from + at;
    },
    get valueStart() {
      return starts[at] ?? 0;
    },
    get valueLength() {
      return values[at]?.length ?? -1;
    },
    record: () => ({
      offset: from + at,
      timestampMs: 0,
      key: null,
      value: values[at] ?? null,
      headers: [],
      ...rest,
    }),
  };
  return {
    partition,
    epoch: 1,
    from,
    to: from + values.length,
    anchor: { baseOffset: from, crc: from },
    highWatermark: from + values.length,
    records: cursor as unknown as RecordCursor,
  };
}

let steps: string[];
let gates: Gate[];
let commits: (readonly CommitPosition[])[];
let failures: Error[];
let letters: number;
let waits: Wait[];
let skipped: Set<number>;
/** Partitions whose dead letters wait. */
let stuck: Set<number>;
let later: CommitPosition[];
let pipeline: Pipeline;

beforeEach(() => {
  waits = [];
  skipped = new Set();
  stuck = new Set();
  later = [];
  steps = [];
  gates = [];
  commits = [];
  failures = [];
  letters = 0;
  pipeline = createPipeline(
    {
      topic: 'events',
      batch_events: 10,
      batch_bytes: 1024 ** 2,
      batch_small_events: 1,
      batch_age_ms: 60_000,
    },
    {
      writer: {
        async write(blocks: readonly TableBlock[]) {
          if (blocks.length === 0) return;
          steps.push(`write ${blocks.map(({ table }) => table).join(' ')}`);
          const gate = createGate();
          gates.push(gate);
          await gate.opened;
        },
        trouble: () => null,
      },
      deadLetters: {
        async deliver(records) {
          letters += records.length;
        },
        waits: (partition) => stuck.has(partition),
        commitLater: (position) => later.push(position),
      },
      budget: new PoisonBudget({ records_per_s: 1, bytes_per_s: 1024 ** 2 }),
      waits: {
        set: (wait) => waits.push(wait),
        clear: () => undefined,
        has: (_partition, offset) => skipped.has(offset),
      },
      isForgotten: () => false,
      bookkeepers: [
        {
          plan: async () => ({
            blocks: () => [{ table: 'books', columns: [], format: 'Native', bytes: [], rows: 1 }],
            acknowledge: () => steps.push('acknowledge'),
          }),
        },
      ],
      async commit(positions) {
        steps.push('commit');
        commits.push(positions);
        return true;
      },
      metrics: createPipelineMetrics(new Registry()),
      logger: createLogger('test', { level: 'silent' }),
      fail: (error) => failures.push(error),
    },
  );
});

const settled = () => vi.waitFor(() => new Promise((resolve) => setImmediate(resolve)));

async function openGate(index: number): Promise<void> {
  await vi.waitFor(() => {
    expect(gates.length).toBeGreaterThan(index);
  }, WAIT);
  gates[index]?.open();
  await settled();
}

describe('the pipeline', () => {
  it('commits after every table and the books have acknowledged, in this order', async () => {
    pipeline.accept(batchOf(0, events.slice(0, 10)));
    await settled();
    expect(commits).toEqual([]);
    await openGate(0);
    expect(commits).toEqual([]);
    await openGate(1);
    expect(steps).toEqual([
      'write sessions sessions_by_user sessions_by_destination session_traffic_1m session_events',
      'write books',
      'acknowledge',
      'commit',
    ]);
    expect(commits[0]).toMatchObject([{ partition: 0, epoch: 1, offset: 10 }]);
  });

  it('fills one batch while another is written, and then has no room until that is done', async () => {
    pipeline.accept(batchOf(0, events.slice(0, 10)));
    expect(pipeline.full()).toBeNull();
    pipeline.accept(batchOf(10, events.slice(10, 20)));
    const full = pipeline.full();
    expect(full).not.toBeNull();
    await settled();
    expect(steps).toHaveLength(1);
    await openGate(0);
    await openGate(1);
    await full;
    expect(pipeline.full()).toBeNull();
    expect(steps.filter((step) => step.startsWith('write sessions'))).toHaveLength(2);
  });

  it('commits the end of each partition, poison included', async () => {
    pipeline.accept(batchOf(0, ['not json'], 3));
    pipeline.accept(batchOf(0, events.slice(0, 4), 1));
    pipeline.accept(batchOf(4, [...events.slice(4, 8), '{}'], 1));
    const drained = pipeline.drain(new AbortController().signal);
    await openGate(0);
    await openGate(1);
    await drained;
    expect(letters).toBe(2);
    expect(commits[0]).toMatchObject([
      { partition: 3, offset: 1, anchor: { baseOffset: 0 } },
      { partition: 1, offset: 9, anchor: { baseOffset: 4 } },
    ]);
  });

  it.each([
    { key: Buffer.alloc(9 * 1024 ** 2) },
    { headers: [['large', Buffer.alloc(9 * 1024 ** 2)]] as [string, Buffer][] },
    { headers: Array.from({ length: 40_000 }, () => ['', Buffer.alloc(0)] as [string, Buffer]) },
  ])(
    'does not hold more poison than its limit, whichever part of a record is large',
    async (rest) => {
      pipeline.accept(batchOf(0, ['poison'], 0, rest));
      await vi.waitFor(() => {
        expect(letters).toBe(1);
      }, WAIT);
    },
  );

  const newer = JSON.stringify({ ...events[0], schema_version: 2 });

  it('stops a partition before an event of a newer version, and commits the earlier records', async () => {
    const held = pipeline.accept(batchOf(0, [...events.slice(0, 3), newer, ...events.slice(3, 5)]));
    expect(held).toMatchObject({ offset: 3 });
    expect(waits).toMatchObject([
      { partition: 0, offset: 3, kind: 'unknown_version', neededVersion: 2 },
    ]);
    expect(pipeline.accept(batchOf(0, events.slice(5, 8), 1))).toBeNull();
    const drained = pipeline.drain(new AbortController().signal);
    await openGate(0);
    await openGate(1);
    await drained;
    expect(commits[0]).toMatchObject([
      { partition: 0, offset: 3 },
      { partition: 1, offset: 3 },
    ]);
    expect(letters).toBe(0);
  });

  it('skips an event of a newer version after a decision, as a dead letter', async () => {
    skipped.add(3);
    expect(pipeline.accept(batchOf(0, [...events.slice(0, 3), newer, ...events.slice(3, 4)]))).toBe(
      null,
    );
    const drained = pipeline.drain(new AbortController().signal);
    await openGate(0);
    await openGate(1);
    await drained;
    expect(commits[0]).toMatchObject([{ offset: 5 }]);
    expect(letters).toBe(1);
  });

  it('treats an event of an impossible version as poison', () => {
    const absurd = JSON.stringify({ ...events[0], schema_version: 18 });
    expect(pipeline.accept(batchOf(0, [absurd]))).toBeNull();
    expect(waits).toEqual([]);
  });

  it('holds a partition whose dead letters exceed their budget, and no other one', () => {
    const flood = Array.from({ length: 30 }, () => 'not json');
    const held = pipeline.accept(batchOf(0, flood));
    expect(held).toMatchObject({ offset: 10 });
    expect(held?.retryMs).toBeGreaterThan(0);
    expect(waits).toMatchObject([{ partition: 0, kind: 'poison_flood' }]);
    expect(pipeline.accept(batchOf(0, ['not json'], 1))).toBeNull();
  });

  it('commits the other partitions while the dead letters of one wait, and takes no more of it', async () => {
    pipeline.accept(batchOf(0, [...events.slice(0, 3), 'not json'], 0));
    pipeline.accept(batchOf(0, events.slice(4, 7), 1));
    stuck.add(0);
    const drained = pipeline.drain(new AbortController().signal);
    await openGate(0);
    await openGate(1);
    await drained;
    expect(commits[0]).toMatchObject([{ partition: 1, offset: 3 }]);
    expect(later).toMatchObject([{ partition: 0, offset: 4 }]);
    expect(pipeline.accept(batchOf(4, events.slice(7, 9), 0))).toMatchObject({ offset: 4 });
  });

  it('writes and commits nothing any more once a batch cannot be finished', async () => {
    pipeline.accept(batchOf(0, events.slice(0, 10)));
    pipeline.accept(batchOf(10, events.slice(10, 20)));
    await settled();
    gates[0]?.fail(new Error('no such thing'));
    await settled();
    expect(failures).toHaveLength(1);
    await expect(pipeline.drain(new AbortController().signal)).rejects.toThrow(
      /before everything was written/,
    );
    expect(commits).toEqual([]);
    expect(steps).toHaveLength(1);
    expect(pipeline.full()).not.toBeNull();
  });

  it('drains a batch that is neither full nor old', async () => {
    pipeline.accept(batchOf(0, events.slice(0, 3)));
    const drained = pipeline.drain(new AbortController().signal);
    await openGate(0);
    await openGate(1);
    await drained;
    expect(commits[0]).toMatchObject([{ offset: 3 }]);
  });

  it('gives up draining at the signal, and commits no drained record', async () => {
    const controller = new AbortController();
    pipeline.accept(batchOf(0, events.slice(0, 3)));
    const drained = pipeline.drain(controller.signal);
    await settled();
    controller.abort();
    gates[0]?.fail(new Error('aborted'));
    await expect(drained).rejects.toThrow(/before everything was written/);
    expect(commits).toEqual([]);
    expect(failures).toEqual([]);
  });
});
