/** The progress of ingest in a partition, and the partition's end. */
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
 * Returns the present of each partition, by which its sessions are judged. Partitions with an unknown
 * present are left out.
 *
 * The present comes from events, never from the clock. In a partition with unread records it is the
 * time of the last record that was read, so a lagging ingest declares nothing lost, and other
 * partitions are not affected. In a partition that is read to its end it is the newest time of all
 * partitions, because a vanished proxy sends nothing.
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
