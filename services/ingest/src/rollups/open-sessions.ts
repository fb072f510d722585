import type { BatchSessions } from '../fold/batch-fold.js';
import { seqOf } from '../fold/rank.js';
import { LEARNED_BITS, LEARNED_FIELDS } from '../tables/columns.generated.js';
import type { ComparedField } from '../tables/columns.generated.js';
import { IdMap } from './id-map.js';
import type { Id, Value } from './id-map.js';

/** A field that changed between two batches; `unknown` is one of those that never change. */
export type ChangedField = ComparedField | 'unknown';

/** The memory of one partition. */
interface Remembered {
  /** Each with `headerOf` its newest event. */
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
    return known?.sessions.has(idOf(batch, i)) === true;
  }

  /** Returns a field that differs from an earlier batch, though it must not change; null if none. */
  set(batch: BatchSessions, i: number, isOpen: boolean): ChangedField | null {
    const known = this.#partitions.get(batch.partition[i] as number);
    if (known === undefined) return null;
    const { sessions } = known;
    const id = idOf(batch, i);
    const former = sessions.get(id);
    if (former === undefined && !isOpen) return null;
    const header = headerOf(batch, i);
    const before = sessions.size;
    if (!isOpen) sessions.delete(id);
    else if (former === undefined ? this.#size < this.#max : former[SEQ] <= header[SEQ]) {
      sessions.set(id, header);
    }
    this.#size += sessions.size - before;
    return former === undefined ? null : changeBetween(former, header);
  }
}

const CONSTANT = 0;
const LEARNED = 1;
const SEQ = 2;

/** The header of a session by the newest event of a batch, as hashes. */
function headerOf(batch: BatchSessions, i: number): Value {
  const [constant, learned] = batch.hashHeader(i);
  return [constant, learned, seqOf(batch.rank[i] as number)];
}

function changeBetween(former: Value, header: Value): ChangedField | null {
  if (former[CONSTANT] !== header[CONSTANT]) return 'unknown';
  if (former[LEARNED] === header[LEARNED]) return null;
  // The earlier batch may hold the newer event.
  const [older, newer] = former[SEQ] < header[SEQ] ? [former, header] : [header, former];
  const mask = (1 << LEARNED_BITS) - 1;
  const changed = LEARNED_FIELDS.find((_, field) => {
    const shift = field * LEARNED_BITS;
    const before = (older[LEARNED] >>> shift) & mask;
    return before !== 0 && before !== ((newer[LEARNED] >>> shift) & mask);
  });
  return changed ?? null;
}

function idOf(batch: BatchSessions, i: number): Id {
  return [
    batch.id0[i] as number,
    batch.id1[i] as number,
    batch.id2[i] as number,
    batch.id3[i] as number,
  ];
}
