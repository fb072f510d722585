/** How far a partition has been folded, and how far it goes. */
export interface PartitionProgress {
  readonly partition: number;
  /** Latest time of its events that are stored, milliseconds since 1970; null where none is. */
  readonly watermarkMs: number | null;
  /** Offset that ingest reads next, null where it has not begun. */
  readonly nextOffset: number | null;
  readonly earliestOffset: bigint;
  readonly endOffset: bigint;
}

/**
 * The time up to which everything has been folded, or null where that cannot be said.
 *
 * It comes from the events alone, never from the clock: while a partition lags, the time stands where
 * that partition stands, and so a lagging ingest declares nothing lost. A partition without anything
 * left to read does not hold the others back, because a proxy that is gone sends nothing there.
 */
export function foldedUntilMs(partitions: readonly PartitionProgress[]): number | null {
  const lagging = partitions.filter(
    ({ nextOffset, earliestOffset, endOffset }) =>
      BigInt(nextOffset ?? 0) < endOffset && earliestOffset < endOffset,
  );
  if (lagging.some(({ watermarkMs }) => watermarkMs === null)) return null;
  const limiting = lagging.length > 0 ? lagging : partitions;
  const times = limiting.map(({ watermarkMs }) => watermarkMs).filter((ms) => ms !== null);
  if (times.length === 0) return null;
  return lagging.length > 0 ? Math.min(...times) : Math.max(...times);
}
