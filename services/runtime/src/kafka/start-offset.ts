/**
 * The offset at which reading a partition begins:
 * - `committed`: the offset that the group committed.
 * - `new`: the group has no offset; from the oldest record.
 * - `expired`: records after the group's offset were deleted before they were read; from the oldest one left.
 * - `beyond_end`: the partition ends before the group's offset, so it is another partition:
 *   truncated, or the topic was created again; from the oldest record.
 * - `replaced`: the record before the group's offset has changed: the topic was
 * created again and has grown past it; from the oldest record.
 */
export type StartReason = 'committed' | 'new' | 'expired' | 'beyond_end' | 'replaced';

export interface StartOffset {
  readonly offset: number;
  readonly reason: StartReason;
  /** Records that can no longer be read. */
  readonly lost: number;
}

/**
 * @param committed the group's offset, negative if there is none.
 * @param range [low, high) of the partition as it is.
 */
export function startOf(committed: number, range: { low: number; high: number }): StartOffset {
  if (committed < 0) return { offset: range.low, reason: 'new', lost: 0 };
  if (committed > range.high) return { offset: range.low, reason: 'beyond_end', lost: 0 };
  if (committed < range.low) {
    return { offset: range.low, reason: 'expired', lost: range.low - committed };
  }
  return { offset: committed, reason: 'committed', lost: 0 };
}

/**
 * Names the batch whose last record was read, and is committed beside the offset. An offset cannot
 * identify a topic that was deleted and created again; a batch's checksum can.
 */
export interface Anchor {
  readonly baseOffset: number;
  readonly crc: number;
}

const ANCHOR = /^sockscope:1:(\d{1,16}):(\d{1,10})$/;

export function formatAnchor(anchor: Anchor): string {
  return `sockscope:1:${anchor.baseOffset}:${anchor.crc}`;
}

/** Null if the commit carries none: made by a tool, or by another version. */
export function parseAnchor(metadata: string | null): Anchor | null {
  const match = ANCHOR.exec(metadata ?? '');
  return match === null ? null : { baseOffset: Number(match[1]), crc: Number(match[2]) };
}
