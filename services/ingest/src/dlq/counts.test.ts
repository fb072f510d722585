import { createLogger } from '@sockscope/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PoisonReason } from '../decode/decode-event.js';
import { createDeadLetterCounts } from './counts.js';

const logger = createLogger('test', { level: 'silent' });

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
});

afterEach(() => {
  vi.useRealTimers();
});

const letter = (reason: PoisonReason, offset: number) => ({
  topic: 'events',
  partition: 3,
  record: { offset, timestampMs: 0, key: null, value: null, headers: {} } as never,
  poison: { reason, detail: `detail ${offset}` },
});

describe('counts of dead letters', () => {
  it('are written per reason with the newest letter, and lost by no refusal of ClickHouse', async () => {
    const inserts: unknown[][] = [];
    let isUp = false;
    const counts = createDeadLetterCounts({
      logger,
      clickhouse: {
        async insert({ bytes }) {
          if (!isUp) throw new Error('away');
          const lines = Buffer.concat([...(bytes as Buffer[])]).toString();
          inserts.push(...lines.split('\n').map((line) => JSON.parse(line) as unknown[]));
        },
      },
    });
    counts.start();
    counts.add(letter('invalid', 1));
    counts.add(letter('invalid', 2));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(inserts).toEqual([]);
    counts.add(letter('invalid', 3));
    counts.add(letter('not_json', 4));
    isUp = true;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(inserts.map((row) => row.slice(1))).toEqual([
      ['invalid', 3, 'events', 3, 3, 'detail 3'],
      ['not_json', 1, 'events', 3, 4, 'detail 4'],
    ]);
    counts.add(letter('invalid', 5));
    await counts.stop();
    expect(inserts).toHaveLength(3);
  });
});
