import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger } from '../log/logger.js';
import { kafkaConfig } from './config.js';
import type { PartitionFetcher } from './direct.js';
import { readTopic } from './topic-reader.js';

const MINUTE_MS = 60_000;
const FETCH_MS = 500;
/** The broker's answers. A real broker cannot be made silent for a minute. */
let batches = 0;
/** Every offset that was asked for, as `partition:offset`. */
let asked: string[] = [];

const batchAt = (offset: number) => ({
  damage: null,
  baseOffset: offset,
  lastOffset: offset,
  leaderEpoch: 0,
  attributes: 0,
  isTransactional: false,
  isControl: true,
  crc: 0,
  logStartOffset: 0,
  baseTimestampMs: 0,
  maxTimestampMs: 0,
  producerId: '-1',
  count: 0,
  payload: Buffer.alloc(0),
});

vi.mock(import('./admin.js'), () => ({
  createKafkaAdmin: () =>
    ({
      describeTopic: async () =>
        [0, 1].map((partition) => ({
          partition,
          earliestOffset: 0n,
          endOffset: partition === 0 ? 2n : 0n,
        })),
      stop: async () => undefined,
    }) as never,
}));
vi.mock(import('./direct.js'), async (original) => ({
  ...(await original()),
  createPartitionFetcher: () =>
    ({
      async fetchFrom(partition, offset) {
        asked.push(`${partition}:${offset}`);
        if (offset < batches) return { batches: [batchAt(offset)], highWatermark: 2 };
        await new Promise((resolve) => setTimeout(resolve, FETCH_MS));
        return { batches: [], highWatermark: 2 };
      },
      stop: async () => undefined,
    }) satisfies PartitionFetcher,
}));

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
});
afterEach(() => {
  vi.useRealTimers();
});

const read = (onBatch: () => Promise<void>, from?: ReadonlyMap<number, number>) =>
  readTopic(
    {
      kafka: kafkaConfig.parse({ brokers: ['127.0.0.1:1'] }),
      topic: 'topic',
      ...(from === undefined ? {} : { from }),
    },
    { onBatch },
    { logger: createLogger('test', { level: 'silent' }) },
  );

describe('reading a topic', () => {
  it('continues however long a batch is worked on', async () => {
    batches = 2;
    const reading = read(() => new Promise<void>((resolve) => setTimeout(resolve, 10 * MINUTE_MS)));
    await vi.advanceTimersByTimeAsync(20 * MINUTE_MS);
    expect([...(await reading)]).toEqual([
      [0, 2],
      [1, 0],
    ]);
  });

  it('begins at an offset without reading earlier records or other partitions', async () => {
    batches = 2;
    const ends = await read(() => Promise.resolve(), new Map([[0, 1]]));
    expect([...ends]).toEqual([[0, 2]]);
    expect(asked).toEqual(['0:1']);
    await read(() => Promise.resolve(), new Map([[0, 17]]));
    expect(asked).toEqual(['0:1']);
  });

  it('ends with an error if nothing arrives for a minute, after a batch too', async () => {
    batches = 1;
    let outcome: unknown = null;
    const reading = read(() => Promise.resolve()).catch((error: unknown) => {
      outcome = error;
    });
    await vi.advanceTimersByTimeAsync(MINUTE_MS - FETCH_MS);
    expect(outcome).toBeNull();
    await vi.advanceTimersByTimeAsync(2 * FETCH_MS);
    await reading;
    expect(outcome).toMatchObject({ code: 'kafka_timeout' });
  });
});
