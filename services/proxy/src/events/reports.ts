/**
 * TrafficDeltas in the table of open sessions that wait to be published. The next delta of a session
 * replaces a waiting one.
 */
import { FrameWriter, scanChunks } from './frame.js';
import type { Frame } from './frame.js';
import { Slot } from './spool/table.js';
import type { TableMemory } from './spool/table.js';

export class ReportQueue {
  readonly #table: TableMemory;
  readonly #slot = new Slot();
  readonly #writer = new FrameWriter();
  /** Version of the slot of each waiting report by place, and the number of the last one that was taken. */
  readonly #waiting = new Map<number, number>();
  readonly #taken: number[] = [];
  #published = 0;

  constructor(table: TableMemory) {
    this.#table = table;
  }

  /** Reports that were taken so far. */
  get published(): number {
    return this.#published;
  }

  /** Sessions with a report that waits. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Notes a slot that has changed and is on disk now. */
  note(place: number, slot: Slot, version: number): void {
    const isNew = slot.isOpen && slot.reportNumber > (this.#taken[place] ?? 0);
    if (isNew) this.#waiting.set(place, version);
    else this.#waiting.delete(place);
  }

  /**
   * Returns up to `count` reports as frames, of sessions whose earlier events are all among the first `published`
   * bytes. They count as published. If Kafka accepts nothing, a later delta of their minute has all that they had.
   */
  take(count: number, published: number): Frame[] {
    let left = count;
    for (const [place, version] of this.#waiting) {
      if (left === 0) break;
      // A later change is not on disk yet, and comes with its next note.
      if (this.#table.copy(place, this.#slot) !== version || this.#slot.position > published)
        continue;
      left -= 1;
      this.#waiting.delete(place);
      this.#taken[place] = this.#slot.reportNumber;
      this.#published += 1;
      this.#writer.addDelta(this.#slot.started, this.#slot.report);
    }
    return scanChunks(Buffer.from(this.#writer.take())).frames;
  }
}
