/**
 * Where reading a partition begins:
 * - `committed`: where the group left off.
 * - `new`: the group has no offset; from the oldest record.
 * - `expired`: records after the group's offset were deleted before they were read; from the oldest one left.
 * - `beyond_end`: the partition ends before the group's offset, so it is not the one that was read:
 *   truncated, or the topic was made anew; from the oldest record.
 */
export type StartReason = 'committed' | 'new' | 'expired' | 'beyond_end';

export interface StartOffset {
  readonly offset: number;
  readonly reason: StartReason;
  /** Records that can no longer be read. */
  readonly lost: number;
}

/**
 * @param committed the group's offset, negative where there is none.
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
