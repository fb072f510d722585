import { describe, expect, it } from 'vitest';
import { foldedUntilMs } from './event-time.js';
import type { PartitionProgress } from './event-time.js';

function at(
  watermarkMs: number | null,
  nextOffset: number | null,
  endOffset: bigint,
): Omit<PartitionProgress, 'partition'> {
  return { watermarkMs, nextOffset, earliestOffset: 0n, endOffset };
}

function until(...partitions: Omit<PartitionProgress, 'partition'>[]): (number | undefined)[] {
  const times = foldedUntilMs(partitions.map((each, partition) => ({ partition, ...each })));
  return partitions.map((_, partition) => times.get(partition));
}

describe('foldedUntilMs', () => {
  it('is the time of the newest partition if everything is read', () => {
    expect(until(at(100, 5, 5n), at(900, 7, 7n), at(null, null, 0n))).toEqual([900, 900, 900]);
  });

  it('is the own time of a partition that lags or waits, and holds no other one back', () => {
    expect(until(at(100, 4, 5n), at(900, 7, 7n), at(500, 1, 9n))).toEqual([100, 900, 500]);
  });

  it('is unknown for a partition with records that has not been begun', () => {
    expect(until(at(900, 7, 7n), at(null, null, 3n))).toEqual([900, undefined]);
  });

  it('is not held back by records that Kafka has deleted', () => {
    const deleted = { ...at(null, null, 3n), earliestOffset: 3n };
    expect(until(at(900, 7, 7n), deleted)).toEqual([900, 900]);
  });

  it('is unknown before the first event', () => {
    expect(until(at(null, null, 0n))).toEqual([undefined]);
    expect(until()).toEqual([]);
  });
});
