/**
 * The table of open sessions on disk. Each slot has two places there, written in turn and
 * checksummed, so that a write that is cut short leaves the other one. The first slot is not a
 * session. It holds the acknowledged position of the log, the last sign of life, and whether the
 * process ended in order.
 *
 * Guarantee: once `save` has returned, `readTable` finds its data after the death of the process; once
 * `sync` has returned, also after the death of the machine.
 */
import { closeSync, existsSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Frame } from '../frame.js';
import { eventIn } from '../measurement.js';
import type { OpenSessions } from '../measurement.js';
import { onDisk, readAll, SpoolError, syncLater, syncPath, writeAll } from './files.js';
import { Slot, SLOT_BYTES } from './table.js';
import type { TableMemory, TableStatus } from './table.js';

const NAME = 'open-sessions';
const COPIES = 2;
const STATUS_SLOTS = 1;
const SLOTS_PER_READ = 64;

/** Used by the thread that publishes. */
export class TableFile {
  readonly #dir: string;
  readonly #fd: number;
  /** Version on disk of each session's slot. */
  readonly #versions: number[] = [];
  /** Generation of each slot, the status slot first. */
  readonly #generations: number[] = [];
  readonly #slot = new Slot();
  readonly #status = new Slot();
  #isDirty = false;

  /**
   * Replaces the present table with an empty one: read it first.
   *
   * @throws SpoolError if the disk refuses.
   */
  constructor(dir: string, status: TableStatus) {
    const file = join(dir, NAME);
    const next = `${file}.next`;
    this.#dir = dir;
    this.#fd = onDisk(`write in ${dir}`, () => openSync(next, 'w', 0o600));
    try {
      this.#writeStatus(status);
      syncPath(next);
      renameSync(next, file);
      syncPath(dir);
    } catch (error) {
      this.close();
      throw new SpoolError(`cannot write in ${dir}`, error);
    }
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.#generations.length * COPIES * SLOT_BYTES;
  }

  /**
   * Writes all slots that have changed.
   *
   * @param onChange gets each of them, in memory that is used again.
   * @throws SpoolError if the disk refuses: all have been seen, and slots that are not on disk come again.
   */
  save(
    status: TableStatus,
    table: TableMemory,
    onChange: (place: number, slot: Slot, version: number) => void,
  ): void {
    let trouble: unknown = null;
    const { slots } = table;
    for (let place = 0; place < slots; place += 1) {
      if (table.version(place) === (this.#versions[place] ?? 0)) continue;
      const version = table.copy(place, this.#slot);
      // It is being written just now; that ends in time for the next one.
      if (version === null) continue;
      onChange(place, this.#slot, version);
      try {
        this.#write(STATUS_SLOTS + place, this.#slot);
        this.#versions[place] = version;
        this.#isDirty = true;
      } catch (error) {
        trouble ??= error;
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
    if (!this.#isDirty) return;
    this.#isDirty = false;
    await syncLater(join(this.#dir, NAME)).catch((error: unknown) => {
      this.#isDirty = true;
      throw error;
    });
  }

  close(): void {
    closeSync(this.#fd);
  }

  #writeStatus(status: TableStatus): void {
    // After a power loss with an older position, more events are published twice and none is lost.
    if (status.acknowledged < this.#status.status.acknowledged) this.#isDirty = true;
    this.#status.status = status;
    this.#write(0, this.#status);
  }

  #write(index: number, slot: Slot): void {
    const generation = (this.#generations[index] ?? 0) + 1;
    const at = (index * COPIES + (generation % COPIES)) * SLOT_BYTES;
    writeAll(this.#fd, slot.seal(generation), at);
    this.#generations[index] = generation;
  }
}

export function hasTable(dir: string): boolean {
  return existsSync(join(dir, NAME));
}

export function removeTable(dir: string): void {
  rmSync(join(dir, NAME), { force: true });
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
    for (const { index, slot } of slotsIn(join(dir, NAME))) {
      if (index < STATUS_SLOTS) ({ status } = slot);
      const isSession = index >= STATUS_SLOTS && slot.isOpen;
      const header = isSession ? eventIn(new Frame(slot.started)) : null;
      if (header?.type === 'SessionStarted') {
        open.set(header.session_id, { header, measurement: slot.measurement });
      }
    }
  });
  return { status, open };
}

/** The newer intact copy of each slot, if there is one; a view that is used again. */
function* slotsIn(file: string): Generator<{ index: number; slot: Slot }, void, undefined> {
  if (!existsSync(file)) return;
  const fd = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(SLOTS_PER_READ * COPIES * SLOT_BYTES);
    const [one, other] = [new Slot(), new Slot()];
    for (let first = 0; ; first += SLOTS_PER_READ) {
      buffer.fill(0);
      if (readAll(fd, buffer, first * COPIES * SLOT_BYTES) === 0) return;
      for (let i = 0; i < SLOTS_PER_READ; i += 1) {
        const at = i * COPIES * SLOT_BYTES;
        const isSound = one.unseal(buffer.subarray(at, at + SLOT_BYTES));
        if (other.unseal(buffer.subarray(at + SLOT_BYTES, at + 2 * SLOT_BYTES))) {
          const isNewer = !isSound || other.generation > one.generation;
          yield { index: first + i, slot: isNewer ? other : one };
        } else if (isSound) yield { index: first + i, slot: one };
      }
    }
  } finally {
    closeSync(fd);
  }
}
