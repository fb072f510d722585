/** The interface of a group's member: its methods, the batches that it hands over, and its callbacks. */
import type { PartitionStart } from './owned-partitions.js';
import type { RecordCursor } from './record-batch.js';
import type { Anchor } from './start-offset.js';

/** Records of one partition, [from, to), which begin where those before them ended. */
export interface ConsumedBatch {
  readonly partition: number;
  /** Names one stretch of owning the partition; a commit for another stretch is dropped. */
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** Names the batch that ends at `to`; committed beside it. */
  readonly anchor: Anchor;
  /** End of the partition when it was fetched. */
  readonly highWatermark: number;
  /** Records, to be read at once: their bytes are not kept. */
  readonly records: RecordCursor;
}

/** A stretch of a partition that cannot be read. */
export type UnreadableBatch = Omit<ConsumedBatch, 'records'> & {
  /** `too_large`: it could be read with a higher `batch_max_bytes`. */
  readonly kind: 'damaged' | 'too_large';
  readonly reason: string;
  /** The stored batch without its header. */
  readonly bytes: Buffer;
  readonly timestampMs: number;
};

/** A partition goes no further for now; the others do. */
export interface Hold {
  /** Everything before it was taken. */
  readonly offset: number;
  /** Milliseconds until it is read again from there. */
  readonly retryMs: number;
}

/** The receiver of batches. */
export interface BatchSink {
  /** Null if there is room for another batch, else a promise that resolves when there may be. */
  full(): Promise<void> | null;
  /**
   * Takes a batch at once, up to the offset of a hold; null: all of it. Taken records come again
   * only if the process or the assignment ends.
   */
  accept(batch: ConsumedBatch): Hold | null;
  /** Decides about unreadable records: null passes over them. */
  unreadable(batch: UnreadableBatch): Hold | null;
}

/** Everything below `offset` is durable. */
export type CommitPosition = Pick<ConsumedBatch, 'partition' | 'epoch' | 'anchor'> & {
  readonly offset: number;
};

export type ConsumerState = 'stopped' | 'joining' | 'running' | 'restarting';

export interface ConsumerEvents {
  onStart?(start: PartitionStart): void;
  onAssignment?(partitions: readonly number[]): void;
  /** kafkajs ended; it is started again after `backoffMs`. */
  onCrash?(error: Error, backoffMs: number): void;
  onCommit?(error: Error | null): void;
  /** This process cannot recover: it should end and be started again. */
  onHopeless?(error: Error): void;
}

export interface GroupConsumer {
  /** Begins to join; that is repeated until `stop`. */
  start(): void;
  /** Commits the given offsets; false if the broker refused: they are committed later. */
  commit(positions: readonly CommitPosition[]): Promise<boolean>;
  /** Takes no more batches; the member stays in the group, so that held records can still be committed. */
  quiesce(): void;
  /** Leaves the group and closes its connections. */
  stop(): Promise<void>;
  state(): ConsumerState;
  /** Problems of the group or of our partitions; null if there are none. */
  problem(): string | null;
}
