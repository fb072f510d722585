import { createLogger, Registry } from '@sockscope/runtime';
import type { CommitPosition, ConsumedBatch, RecordCursor } from '@sockscope/runtime/kafka';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { TableBlock } from '../tables/block.js';
import { createPipelineMetrics } from './metrics.js';
import { createPipeline } from './pipeline.js';
import type { Pipeline } from './pipeline.js';

/** For what nobody promised to be quick: the machine may be busy with something else. */
const WAIT = { timeout: 20_000 };

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
let pipeline: Pipeline;

beforeEach(() => {
  steps = [];
  gates = [];
  commits = [];
  failures = [];
  letters = 0;
  pipeline = createPipeline(
    { batch_events: 10, batch_bytes: 1024 ** 2, batch_age_ms: 60_000 },
    {
      topic: 'events',
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
      dlq: {
        async publish(records) {
          letters += records.length;
        },
      },
      bookkeepers: [
        {
          plan: () => ({
            blocks: [{ table: 'books', columns: [], format: 'Native', bytes: [], rows: 1 }],
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
  ])('does not hold more poison than it may, whatever part of a record is large', async (rest) => {
    pipeline.accept(batchOf(0, ['poison'], 0, rest));
    await vi.waitFor(() => {
      expect(letters).toBe(1);
    }, WAIT);
  });

  it('writes and commits nothing any more once a batch cannot be finished', async () => {
    pipeline.accept(batchOf(0, events.slice(0, 10)));
    pipeline.accept(batchOf(10, events.slice(10, 20)));
    await settled();
    gates[0]?.fail(new Error('no such thing'));
    await settled();
    expect(failures).toHaveLength(1);
    await expect(pipeline.drain(new AbortController().signal)).rejects.toThrow(
      /before all was written/,
    );
    expect(commits).toEqual([]);
    expect(steps).toHaveLength(1);
    expect(pipeline.full()).not.toBeNull();
  });

  it('drains what is neither full nor old', async () => {
    pipeline.accept(batchOf(0, events.slice(0, 3)));
    const drained = pipeline.drain(new AbortController().signal);
    await openGate(0);
    await openGate(1);
    await drained;
    expect(commits[0]).toMatchObject([{ offset: 3 }]);
  });

  it('gives up draining at the signal, and commits nothing of it', async () => {
    const controller = new AbortController();
    pipeline.accept(batchOf(0, events.slice(0, 3)));
    const drained = pipeline.drain(controller.signal);
    await settled();
    controller.abort();
    gates[0]?.fail(new Error('aborted'));
    await expect(drained).rejects.toThrow(/before all was written/);
    expect(commits).toEqual([]);
    expect(failures).toEqual([]);
  });
});
