import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger } from '../log/logger.js';
import { kafkaConfig } from './config.js';
import { KafkaError } from './errors.js';
import type { BatchSink, ConsumedBatch } from './group-consumer.js';
import { readTopic } from './topic-reader.js';

/** What the reader gives its batches to. A broker that falls silent for a minute is not to be had. */
let sink: BatchSink | null = null;

vi.mock(import('./admin.js'), () => ({
  createKafkaAdmin: () =>
    ({
      describeTopic: () =>
        Promise.resolve([
          {
            partition: 0,
            leader: 1,
            replicas: [1],
            inSync: [1],
            earliestOffset: 0n,
            endOffset: 2n,
          },
        ]),
      deleteGroup: () => Promise.resolve(),
      stop: () => Promise.resolve(),
    }) as never,
}));
vi.mock(import('./group-consumer.js'), () => ({
  createGroupConsumer: ((_config: unknown, deps: { readonly sink: BatchSink }) => {
    ({ sink } = deps);
    return { start: () => undefined, stop: () => Promise.resolve() };
  }) as never,
}));

const MINUTE_MS = 60_000;

function read(onBatch: () => Promise<void>): { readonly outcome: () => string } {
  let outcome = 'pending';
  readTopic(
    { kafka: kafkaConfig.parse({ brokers: ['127.0.0.1:1'] }), topic: 'topic' },
    { onBatch },
    { logger: createLogger('test', { level: 'fatal' }) },
  ).then(
    () => (outcome = 'done'),
    (error: unknown) => (outcome = error instanceof KafkaError ? error.code : 'failed'),
  );
  return { outcome: () => outcome };
}

const give = (to: number) => sink?.accept({ partition: 0, to } as ConsumedBatch);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  sink = null;
});

afterEach(() => {
  vi.useRealTimers();
});

describe('reading a topic', () => {
  it('goes on however long a batch is worked on', async () => {
    const slow: (() => void)[] = [];
    const reading = read(() => new Promise<void>((resolve) => slow.push(resolve)));
    await vi.waitFor(() => expect(sink).not.toBeNull());
    give(1);
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS);
    expect(reading.outcome()).toBe('pending');
    slow[0]?.();
    await vi.advanceTimersByTimeAsync(MINUTE_MS / 2);
    give(2);
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS);
    slow[1]?.();
    await vi.advanceTimersByTimeAsync(1);
    expect(reading.outcome()).toBe('done');
  });

  it('ends with an error where nothing comes for a minute, at the beginning or after a batch', async () => {
    const never = read(() => Promise.resolve());
    await vi.waitFor(() => expect(sink).not.toBeNull());
    await vi.advanceTimersByTimeAsync(MINUTE_MS + 1);
    expect(never.outcome()).toBe('kafka_timeout');

    sink = null;
    const once = read(() => Promise.resolve());
    await vi.waitFor(() => expect(sink).not.toBeNull());
    give(1);
    await vi.advanceTimersByTimeAsync(MINUTE_MS - 1_000);
    expect(once.outcome()).toBe('pending');
    await vi.advanceTimersByTimeAsync(2_000);
    expect(once.outcome()).toBe('kafka_timeout');
  });
});
