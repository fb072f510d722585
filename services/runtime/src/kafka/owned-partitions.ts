/**
 * The books of a group's member: which partitions are its own, where each is read from, and which records are durable
 * but not committed. It names the next offset to fetch and moves nothing itself.
 */
import type { CommitPosition } from './consumer-types.js';
import type { RecordBatch } from './record-batch.js';
import { startOf } from './start-offset.js';
import type { Anchor, StartReason } from './start-offset.js';

/** A partition that is ours. */
export interface OwnedPartition {
  readonly epoch: number;
  /** The group's committed offset as far as we know; [committed, next) is held by us. */
  committed: number;
  next: number;
  /** Durable, but not yet committed. */
  durable: { offset: number; anchor: Anchor } | null;
  /** The batch that the record before `next` must belong to; checked with the first batch. */
  expected: Anchor | null;
  /** Whether a batch was read: `next` then lies between two batches. */
  begun: boolean;
  /** Names the batch before `next`, null before the first. */
  last: Anchor | null;
  /** Epoch of the leader that wrote the last batch. */
  leaderEpoch: number;
  hold: NodeJS.Timeout | null;
}

/** A partition starts, or restarts while it is read; `lost` counts deleted records. */
export interface PartitionStart {
  readonly partition: number;
  readonly offset: number;
  readonly reason: StartReason;
  readonly lost: number;
}

/** The offsets that may be committed. */
export interface DueCommit {
  readonly partition: number;
  readonly part: OwnedPartition;
  readonly durable: { readonly offset: number; readonly anchor: Anchor };
}

export class OwnedPartitions {
  readonly #parts = new Map<number, OwnedPartition>();
  readonly #onStart: (start: PartitionStart) => void;
  #lastEpoch = 0;

  constructor(onStart: (start: PartitionStart) => void) {
    this.#onStart = onStart;
  }

  get(partition: number): OwnedPartition | undefined {
    return this.#parts.get(partition);
  }

  get numbers(): number[] {
    return [...this.#parts.keys()];
  }

  disown(partition: number): void {
    const part = this.#parts.get(partition);
    clearTimeout(part?.hold ?? undefined);
    this.#parts.delete(partition);
  }

  /** The offset to fetch from, and the books for it. */
  begin(
    partition: number,
    committed: { offset: number; anchor: Anchor | null },
    range: { low: number; high: number },
  ): number {
    const held = this.#parts.get(partition);
    if (
      held !== undefined &&
      held.committed <= committed.offset &&
      committed.offset <= held.next &&
      held.next <= range.high
    ) {
      // Our position continues the group's offset: nothing needs to be read again.
      held.committed = committed.offset;
      return placeToFetch(held, range.low);
    }
    const start = startOf(committed.offset, range);
    const part = this.#own(partition, start.offset, committed.offset);
    this.#onStart({ partition, ...start });
    if (start.reason === 'committed') part.expected = committed.anchor;
    return placeToFetch(part, range.low);
  }

  #own(partition: number, next: number, committed: number): OwnedPartition {
    this.#lastEpoch += 1;
    const part: OwnedPartition = {
      epoch: this.#lastEpoch,
      committed,
      next,
      durable: null,
      expected: null,
      begun: false,
      last: null,
      leaderEpoch: -1,
      hold: null,
    };
    this.disown(partition);
    this.#parts.set(partition, part);
    return part;
  }

  /** Begins a partition again from its oldest record, under an epoch of its own. */
  #restart(partition: number, low: number, reason: StartReason): number {
    this.#own(partition, low, -1);
    this.#onStart({ partition, offset: low, reason, lost: 0 });
    return low;
  }

  /** Null if a batch continues the previous one, else the offset to fetch instead. */
  check(partition: number, part: OwnedPartition, batch: RecordBatch): number | null {
    const low = batch.logStartOffset;
    const { expected } = part;
    part.expected = null;
    // A batch that cannot be read proves nothing.
    if (batch.damage !== null) return null;
    const isOtherLeader = part.begun && batch.leaderEpoch > part.leaderEpoch;
    part.leaderEpoch = Math.max(part.leaderEpoch, batch.leaderEpoch);
    if (isOtherLeader && part.last !== null && part.next > low) {
      // An unclean election may have replaced the records that were read: the last batch is compared again.
      part.begun = false;
      part.expected = part.last;
      return part.next - 1;
    }
    if (batch.baseOffset < part.next) {
      // kafkajs went back to the oldest record because the offset was out of range.
      if (part.begun) return this.#restart(partition, low, 'beyond_end');
      const isOther =
        expected !== null &&
        (expected.baseOffset !== batch.baseOffset || expected.crc !== batch.crc);
      if (isOther) return this.#restart(partition, low, 'replaced');
    }
    part.begun = true;
    if (low > part.next) {
      this.#onStart({ partition, offset: low, reason: 'expired', lost: low - part.next });
      part.next = low;
    }
    return null;
  }

  /** Notes durable records, and returns the offsets that are not committed yet. */
  due(positions: readonly CommitPosition[]): DueCommit[] {
    for (const { partition, epoch, offset, anchor } of positions) {
      const part = this.#parts.get(partition);
      if (part?.epoch === epoch && offset > (part.durable?.offset ?? -1)) {
        part.durable = { offset, anchor };
      }
    }
    return [...this.#parts].flatMap(([partition, part]) =>
      part.durable === null ? [] : [{ partition, part, durable: part.durable }],
    );
  }
}

/** The broker has taken these commits. */
export function settle(commits: readonly DueCommit[]): void {
  for (const { part, durable } of commits) {
    part.committed = Math.max(part.committed, durable.offset);
    if (part.durable === durable) part.durable = null;
  }
}

/**
 * One record earlier, to recognise the batch that was read last: it comes again. That holds until
 * a batch has come, however often the assignment changes or the consumer is restarted before.
 */
export function placeToFetch(part: OwnedPartition, low: number): number {
  if (part.expected === null) return part.next;
  if (part.next > low) return part.next - 1;
  // That batch is gone.
  part.expected = null;
  return part.next;
}
