/** How far a partition has been folded, and how far it goes. */
export interface PartitionProgress {
  readonly partition: number;
  /** Latest time of its events that are stored, milliseconds since 1970; null if there is none. */
  readonly watermarkMs: number | null;
  /** Offset that ingest reads next; null before its start. */
  readonly nextOffset: number | null;
  readonly earliestOffset: bigint;
  readonly endOffset: bigint;
}

/**
 * The time by which the sessions of each partition are judged; a partition for which it is unknown
 * is left out.
 *
 * It comes from the events alone, never from the clock: if something is left to read, the time
 * is the time of the last record that was read, and so a lagging ingest declares nothing lost. A partition that
 * lags or waits holds back its own sessions only. If everything is read, the newest partition gives
 * the time, because a vanished proxy sends nothing.
 */
export function foldedUntilMs(
  partitions: readonly PartitionProgress[],
): ReadonlyMap<number, number> {
  const newestMs = Math.max(...partitions.map(({ watermarkMs }) => watermarkMs ?? 0));
  return new Map(
    partitions.flatMap((each): [number, number][] => {
      const untilMs = isAllRead(each) ? newestMs : each.watermarkMs;
      return untilMs === null || untilMs <= 0 ? [] : [[each.partition, untilMs]];
    }),
  );
}

function isAllRead({ nextOffset, earliestOffset, endOffset }: PartitionProgress): boolean {
  return BigInt(nextOffset ?? 0) >= endOffset || earliestOffset >= endOffset;
}
