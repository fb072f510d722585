import type { BatchSessions } from '../fold/batch-fold.js';
import { IdMap } from './id-map.js';
import type { Id } from './id-map.js';

/** The memory of one partition. */
interface Remembered {
  /** Each with a hash of the fields of its header that never change. */
  readonly sessions: IdMap;
  /** The offset at which the next batch has to begin. */
  nextOffset: number;
}

/**
 * The sessions that are open and whose start has been marked, per partition. The memory of a
 * partition is valid as long as this process reads it without a gap: if the next batch does not begin where
 * the last one ended, another process may have read in between, and it is forgotten.
 */
export class OpenSessions {
  readonly #partitions = new Map<number, Remembered>();
  readonly #max: number;
  #size = 0;

  /** @param max sessions of all partitions together; more are not remembered. */
  constructor(max: number) {
    this.#max = max;
  }

  begin(partition: number, firstOffset: number): void {
    const known = this.#partitions.get(partition);
    if (known?.nextOffset === firstOffset) return;
    this.#size -= known?.sessions.size ?? 0;
    this.#partitions.set(partition, { sessions: new IdMap(), nextOffset: firstOffset });
  }

  end(partition: number, nextOffset: number): void {
    const known = this.#partitions.get(partition);
    if (known !== undefined) known.nextOffset = nextOffset;
  }

  /** Gives up partitions that are not among these. */
  keep(partitions: readonly number[]): void {
    for (const [partition, { sessions }] of this.#partitions) {
      if (partitions.includes(partition)) continue;
      this.#size -= sessions.size;
      this.#partitions.delete(partition);
    }
  }

  has(batch: BatchSessions, i: number): boolean {
    const known = this.#partitions.get(batch.partition[i] as number);
    return known?.sessions.get(idOf(batch, i)) !== undefined;
  }

  /** Returns whether the session's header differs from an earlier batch. */
  set(batch: BatchSessions, i: number, isOpen: boolean): boolean {
    const known = this.#partitions.get(batch.partition[i] as number);
    if (known === undefined) return false;
    const { sessions } = known;
    const id = idOf(batch, i);
    const former = sessions.get(id);
    if (former === undefined && !isOpen) return false;
    const header = batch.headerHash(i);
    const before = sessions.size;
    if (!isOpen) sessions.delete(id);
    else if (former !== undefined || this.#size < this.#max) sessions.set(id, header);
    this.#size += sessions.size - before;
    return former !== undefined && former !== header;
  }
}

function idOf(batch: BatchSessions, i: number): Id {
  return [
    batch.id0[i] as number,
    batch.id1[i] as number,
    batch.id2[i] as number,
    batch.id3[i] as number,
  ];
}
