/**
 * TrafficDeltas in the table of open sessions that wait to be published. One that waits gives way
 * to the next one of its session.
 */
import type { SessionStarted } from '@sockscope/schemas';
import { FrameWriter, scanFrames } from './frame.js';
import type { Frame } from './frame.js';
import { deltaOf } from './measurement.js';
import { SlotView, TABLE_CLASSES } from './spool/table.js';
import type { TableChunk } from './spool/table.js';

interface Waiting {
  readonly chunk: TableChunk;
  readonly index: number;
  /** Of the slot when it was looked at. */
  readonly version: number;
}

interface Published {
  tenant: number;
  seq: number;
}

export class ReportQueue {
  readonly #proxyId: string;
  readonly #waiting = new Map<number, Waiting>();
  /** By slot, of the session that has it. */
  readonly #published: Published[] = [];
  readonly #view = new SlotView();
  readonly #writer = new FrameWriter();
  #count = 0;

  constructor(proxyId: string) {
    this.#proxyId = proxyId;
  }

  /** Reports that were taken so far. */
  get published(): number {
    return this.#count;
  }

  /** Sessions with a report that waits. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Notes a slot that has changed and is on disk now. */
  note(chunk: TableChunk, index: number, slot: SlotView, version: number): void {
    const key = keyOf(chunk, index);
    if (slot.isFree || slot.reportSeq <= this.#publishedSeq(key, slot.tenant)) {
      this.#waiting.delete(key);
    } else {
      this.#waiting.set(key, { chunk, index, version });
    }
  }

  /**
   * Returns up to `count` reports as frames, of sessions whose earlier events all lie before a position of the log.
   * They count as published: the same ones are sent until they are acknowledged.
   */
  take(count: number, position: number): Frame[] {
    for (const [key, { chunk, index, version }] of this.#waiting) {
      if (this.#writer.frames >= count) break;
      // A later change is not on disk yet, and comes with its next note.
      if (chunk.copy(index, this.#view.bytes) !== version) continue;
      if (this.#view.position > position) continue;
      this.#waiting.delete(key);
      const { tenant, reportSeq: seq } = this.#view;
      this.#published[key] = { tenant, seq };
      this.#count += 1;
      // The proxy's thread encoded it from the same type.
      const started = JSON.parse(this.#view.started.toString('utf8')) as SessionStarted;
      this.#writer.add(deltaOf(started, this.#view.report));
    }
    return scanFrames(Buffer.from(this.#writer.take()), this.#proxyId).frames;
  }

  #publishedSeq(key: number, tenant: number): number {
    const published = this.#published[key];
    return published?.tenant === tenant ? published.seq : 0;
  }
}

function keyOf({ tableClass, first }: TableChunk, index: number): number {
  return (first + index) * TABLE_CLASSES.length + tableClass;
}
