/**
 * The table of open sessions on disk. Each slot has two places there, written in turn and
 * checksummed, so that a write that is cut short leaves the other one. The first slot is not a
 * session. It holds the acknowledged position of the log, the last sign of life, and whether the
 * process ended in order.
 *
 * Guarantee: once `save` has returned, `readTable` finds its data after the death of the process; once
 * `sync` has returned, also after the death of the machine.
 */
import { closeSync, existsSync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { eventIn } from '../measurement.js';
import type { OpenSessions } from '../measurement.js';
import { fdatasyncLater, onDisk, readAll, SpoolError, syncPath, writeAll } from './files.js';
import { Slot, TABLE_CLASSES } from './table.js';
import type { TableChunk, TableStatus } from './table.js';

const COPIES = 2;
const STATUS_SLOTS = 1;
const READ_BYTES = 256 * 1024;
const NEXT = '.next';

/** Gets each slot that has changed. */
export interface SlotVisitor {
  note(chunk: TableChunk, index: number, slot: Slot, version: number): void;
}

/** The slots of one class on disk. */
class ClassFile {
  readonly chunks: TableChunk[] = [];
  readonly file: string;
  readonly fd: number;
  /** Version on disk of each slot. */
  readonly versions: number[] = [];
  isDirty = false;
  /** Generation of each slot, the status slot first. */
  readonly #generations: number[] = [];
  readonly #slotBytes: number;

  /** Begins an empty one, which has its name only after a renaming. */
  constructor(dir: string, { name, slotBytes }: (typeof TABLE_CLASSES)[number]) {
    this.file = join(dir, name);
    this.fd = onDisk(`write in ${dir}`, () => openSync(`${this.file}${NEXT}`, 'w', 0o600));
    this.#slotBytes = slotBytes;
  }

  get bytes(): number {
    return this.#generations.length * COPIES * this.#slotBytes;
  }

  write(index: number, slot: Slot): void {
    const generation = (this.#generations[index] ?? 0) + 1;
    const at = (index * COPIES + (generation % COPIES)) * this.#slotBytes;
    writeAll(this.fd, slot.seal(generation), at);
    this.#generations[index] = generation;
    this.isDirty = true;
  }
}

/** Used by the thread that publishes. */
export class TableFile {
  readonly #dir: string;
  readonly #files: readonly [ClassFile, ClassFile];
  readonly #slot = new Slot();
  readonly #status = new Slot();

  /**
   * Replaces the present table with an empty one: read it first.
   *
   * @throws SpoolError if the disk refuses.
   */
  constructor(dir: string, status: TableStatus) {
    this.#dir = dir;
    const [short, long] = TABLE_CLASSES;
    this.#files = [new ClassFile(dir, short), new ClassFile(dir, long)];
    onDisk(`write in ${dir}`, () => {
      this.#writeStatus(status);
      // The short names last: their file proves that there is a table.
      for (const { file } of this.#files.toReversed()) {
        syncPath(`${file}${NEXT}`);
        renameSync(`${file}${NEXT}`, file);
      }
      syncPath(dir);
    });
  }

  add(chunk: TableChunk): void {
    this.#files[chunk.tableClass].chunks.push(chunk);
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.#files[0].bytes + this.#files[1].bytes;
  }

  /**
   * Writes all slots that have changed.
   *
   * @param visitor gets views that are used again.
   * @throws SpoolError if the disk refuses: all have been visited, and slots that are not on disk come again.
   */
  save(status: TableStatus, visitor: SlotVisitor): void {
    let trouble: unknown = null;
    for (const file of this.#files) {
      for (const chunk of file.chunks) {
        for (let i = 0; i < chunk.slots; i += 1) {
          const index = STATUS_SLOTS + chunk.first + i;
          if (chunk.version(i) === (file.versions[index] ?? 0)) continue;
          const version = chunk.copy(i, this.#slot);
          // It is being written just now; that ends in time for the next one.
          if (version === null) continue;
          visitor.note(chunk, i, this.#slot, version);
          try {
            file.write(index, this.#slot);
            file.versions[index] = version;
          } catch (error) {
            trouble ??= error;
          }
        }
      }
    }
    try {
      this.#writeStatus(status);
    } catch (error) {
      trouble ??= error;
    }
    if (trouble !== null) throw new SpoolError(`cannot write in ${this.#dir}`, trouble);
  }

  /** Syncs the writes of `save` to disk. */
  async sync(): Promise<void> {
    for (const each of this.#files) {
      if (!each.isDirty) continue;
      each.isDirty = false;
      try {
        await fdatasyncLater(each.fd);
      } catch (error) {
        each.isDirty = true;
        throw new SpoolError(`cannot sync ${each.file}`, error);
      }
    }
  }

  close(): void {
    for (const { fd } of this.#files) closeSync(fd);
  }

  #writeStatus(status: TableStatus): void {
    const [file] = this.#files;
    const wasDirty = file.isDirty;
    const hasGoneBack = status.acknowledged < this.#status.status.acknowledged;
    this.#status.status = status;
    file.write(0, this.#status);
    // With an older position, more events are published twice and none is lost.
    file.isDirty = wasDirty || hasGoneBack;
  }
}

/**
 * The table that a dead process left.
 *
 * @throws SpoolError if the disk refuses.
 */
export function readTable(dir: string): { status: TableStatus; open: OpenSessions } {
  let status: TableStatus = { acknowledged: 0, aliveMs: 0, isClean: false };
  const open: OpenSessions = new Map();
  onDisk(`read in ${dir}`, () => {
    for (const { name, slotBytes } of TABLE_CLASSES) {
      for (const { index, slot } of slotsIn(join(dir, name), slotBytes)) {
        if (index < STATUS_SLOTS) ({ status } = slot);
        const header = index >= STATUS_SLOTS && slot.isOpen ? eventIn(slot.started) : null;
        if (header?.type === 'SessionStarted') {
          open.set(header.session_id, { header, measurement: slot.measurement });
        }
      }
    }
  });
  return { status, open };
}

/** The newer intact copy of each slot, if there is one; a view that is used again. */
function* slotsIn(
  file: string,
  slotBytes: number,
): Generator<{ index: number; slot: Slot }, void, undefined> {
  if (!existsSync(file)) return;
  const fd = openSync(file, 'r');
  try {
    const pairBytes = slotBytes * COPIES;
    const perRead = Math.floor(READ_BYTES / pairBytes);
    const buffer = Buffer.alloc(perRead * pairBytes);
    const [one, other] = [new Slot(), new Slot()];
    for (let first = 0; ; first += perRead) {
      buffer.fill(0);
      if (readAll(fd, buffer, first * pairBytes) === 0) return;
      for (let i = 0; i < perRead; i += 1) {
        const pair = buffer.subarray(i * pairBytes, (i + 1) * pairBytes);
        const isSound = one.unseal(pair.subarray(0, slotBytes));
        if (other.unseal(pair.subarray(slotBytes))) {
          const isNewer = !isSound || other.generation > one.generation;
          yield { index: first + i, slot: isNewer ? other : one };
        } else if (isSound) yield { index: first + i, slot: one };
      }
    }
  } finally {
    closeSync(fd);
  }
}
