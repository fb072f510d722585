/**
 * Finds partitions that stand still: records arrive at the broker, and none of them reaches us. The
 * time counts from the first check that finds a later end than at the last batch, because records that
 * arrived then cannot have been read before.
 */
export class Progress {
  readonly #limitMs: number;
  readonly #parts = new Map<number, { end: number | null; sinceMs: number | null }>();
  readonly #still = new Set<number>();

  /** @param limitMs how long a partition may stand still. */
  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** These partitions are ours now, and no others. */
  assign(partitions: readonly number[]): void {
    this.#parts.clear();
    for (const partition of partitions) this.#parts.set(partition, { end: null, sinceMs: null });
    for (const partition of this.#still) {
      if (!this.#parts.has(partition)) this.#still.delete(partition);
    }
  }

  /** A batch of the partition came. */
  passed(partition: number): void {
    this.#still.delete(partition);
    if (this.#parts.has(partition)) this.#parts.set(partition, { end: null, sinceMs: null });
  }

  /** No partition could move, because there was no room for another batch. */
  blocked(): void {
    for (const partition of this.#parts.keys()) {
      this.#parts.set(partition, { end: null, sinceMs: null });
    }
  }

  /** @returns the partitions that have stood still for longer than the limit. */
  look(ends: ReadonlyMap<number, number>, nowMs: number): readonly number[] {
    const tooLong: number[] = [];
    for (const [partition, part] of this.#parts) {
      const end = ends.get(partition);
      if (end === undefined) continue;
      part.end ??= end;
      if (end > part.end) part.sinceMs ??= nowMs;
      if (part.sinceMs !== null && nowMs - part.sinceMs > this.#limitMs) tooLong.push(partition);
    }
    for (const partition of tooLong) this.#still.add(partition);
    return tooLong;
  }

  /** Partitions that stand still, until a batch of them arrives or another process gets them. */
  still(): readonly number[] {
    return [...this.#still];
  }
}
