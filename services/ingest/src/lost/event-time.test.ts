import { describe, expect, it } from 'vitest';
import { foldedUntilMs } from './event-time.js';
import type { PartitionProgress } from './event-time.js';

function at(
  watermarkMs: number | null,
  nextOffset: number | null,
  endOffset: bigint,
): PartitionProgress {
  return { partition: 0, watermarkMs, nextOffset, earliestOffset: 0n, endOffset };
}

describe('foldedUntilMs', () => {
  it('is where the newest partition stands when nothing is left to read', () => {
    expect(foldedUntilMs([at(100, 5, 5n), at(900, 7, 7n), at(null, null, 0n)])).toBe(900);
  });

  it('is where the slowest partition stands while one lags', () => {
    expect(foldedUntilMs([at(100, 4, 5n), at(900, 7, 7n), at(500, 1, 9n)])).toBe(100);
  });

  it('cannot be said while a partition with records has not been begun', () => {
    expect(foldedUntilMs([at(900, 7, 7n), at(null, null, 3n)])).toBeNull();
  });

  it('is not held back by a partition whose records Kafka has deleted', () => {
    expect(foldedUntilMs([at(900, 7, 7n), { ...at(null, null, 3n), earliestOffset: 3n }])).toBe(
      900,
    );
  });

  it('cannot be said before the first event', () => {
    expect(foldedUntilMs([])).toBeNull();
  });
});
