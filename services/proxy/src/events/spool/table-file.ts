/**
 * The table of open sessions on disk. Each slot has two places there, written in turn and
 * checksummed, so that a write that is cut short leaves the other one. The first slot is not a
 * session. It holds the acknowledged position of the log, the last sign of life, and whether the
 * process ended in order.
 *
 * Guarantee: what `save` returned for is found by `readTable` after the death of the process, and after the
 * death of the machine once `sync` has returned.
 */
import { closeSync, existsSync, fdatasync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import type { Measurement } from '../measurement.js';
import { readAll, SpoolError, syncDir, syncFile, writeAll } from './files.js';
import { MEASUREMENT_NUMBERS, readMeasurement, SlotView, TABLE_CLASSES } from './table.js';
import type { TableChunk } from './table.js';

const fdatasyncLater = promisify(fdatasync);

/** CRC-32 of all that follows, bytes that follow, generation, whether a session is open. */
const GENERATION_AT = 8;
const OPEN_AT = 12;
const MEASUREMENT_AT = 16;
const STARTED_AT = MEASUREMENT_AT + MEASUREMENT_NUMBERS * 8;
const CHECKED_FROM = 4;
const COPIES = 2;
const STATUS_SLOTS = 1;
const READ_BYTES = 1024 ** 2;
const [SMALL] = TABLE_CLASSES;

export interface TableStatus {
  /** How far Kafka has acknowledged the log. */
  readonly acknowledged: number;
  /** Milliseconds since 1970. */
  readonly aliveMs: number;
  /** The process ended all its sessions itself. */
  readonly isClean: boolean;
}

/** A session that a dead process left open. */
export interface LeftOpen {
  /** Its first event, with its header as it was last; encoded. */
  readonly started: Buffer;
  readonly measurement: Measurement;
}

/** Gets each slot that has changed. */
export interface SlotVisitor {
  note(chunk: TableChunk, index: number, slot: SlotView, version: number): void;
}

/** What one class of slots has on disk. */
class ClassFile {
  readonly chunks: TableChunk[] = [];
  readonly fd: number;
  /** By slot, the status slot first. */
  readonly generations: number[] = [];
  /** By slot: the version that is on disk. */
  readonly versions: number[] = [];
  isDirty = false;
  readonly #slotBytes: number;
  #bytes = 0;

  constructor(fd: number, slotBytes: number) {
    this.fd = fd;
    this.#slotBytes = slotBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param copy has its measurement and first event where they belong. */
  write(slot: number, copy: Buffer, isOpen: boolean): void {
    const generation = (this.generations[slot] ?? 0) + 1;
    copy.writeUInt32LE(copy.length - CHECKED_FROM - 4, CHECKED_FROM);
    copy.writeUInt32LE(generation, GENERATION_AT);
    copy.writeUInt32LE(isOpen ? 1 : 0, OPEN_AT);
    copy.writeUInt32LE(crc32(copy.subarray(CHECKED_FROM)), 0);
    const at = (slot * COPIES + (generation % COPIES)) * this.#slotBytes;
    writeAll(this.fd, copy, at);
    this.generations[slot] = generation;
    this.isDirty = true;
    this.#bytes = Math.max(this.#bytes, at + this.#slotBytes);
  }
}

/** Used by the thread that publishes. */
export class TableFile {
  readonly #dir: string;
  readonly #files: readonly ClassFile[];
  readonly #view = new SlotView();
  readonly #copy = Buffer.alloc(TABLE_CLASSES[1].slotBytes);
  #acknowledged = -1;

  /**
   * Replaces the present table with an empty one: read it first.
   *
   * @throws SpoolError if the disk refuses.
   */
  constructor(dir: string, status: TableStatus) {
    this.#dir = dir;
    try {
      this.#files = TABLE_CLASSES.map(
        ({ name, slotBytes }) =>
          new ClassFile(openSync(join(dir, `${name}.next`), 'w', 0o600), slotBytes),
      );
      this.#writeStatus(status);
      // The short names last: their file proves that there is a table.
      for (const { name } of TABLE_CLASSES.toReversed()) {
        syncFile(join(dir, `${name}.next`));
        renameSync(join(dir, `${name}.next`), join(dir, name));
      }
      syncDir(dir);
    } catch (error) {
      throw new SpoolError(`cannot write in ${dir}`, error);
    }
  }

  add(chunk: TableChunk): void {
    this.#files[chunk.tableClass]?.chunks.push(chunk);
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.#files.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Writes all slots that have changed.
   *
   * @param visitor gets views that are used again.
   * @throws SpoolError if the disk refuses: all have been visited, and those that are not on disk come again.
   */
  save(status: TableStatus, visitor: SlotVisitor): void {
    let trouble: unknown = null;
    for (const file of this.#files) {
      for (const chunk of file.chunks) {
        const { chunkSlots } = TABLE_CLASSES[chunk.tableClass];
        for (let index = 0; index < chunkSlots; index += 1) {
          const slot = STATUS_SLOTS + chunk.first + index;
          if (chunk.version(index) === (file.versions[slot] ?? 0)) continue;
          const version = chunk.copy(index, this.#view.bytes);
          // It is being written just now; that ends in time for the next one.
          if (version === null) continue;
          visitor.note(chunk, index, this.#view, version);
          try {
            this.#writeSlot(file, slot);
            file.versions[slot] = version;
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

  /** Forces to disk what `save` has written. */
  async sync(): Promise<void> {
    try {
      for (const file of this.#files) {
        if (!file.isDirty) continue;
        file.isDirty = false;
        await fdatasyncLater(file.fd);
      }
    } catch (error) {
      throw new SpoolError(`cannot sync in ${this.#dir}`, error);
    }
  }

  close(): void {
    for (const { fd } of this.#files) closeSync(fd);
  }

  #writeSlot(file: ClassFile, slot: number): void {
    const { started, isFree, measurementBytes } = this.#view;
    measurementBytes.copy(this.#copy, MEASUREMENT_AT);
    started.copy(this.#copy, STARTED_AT);
    file.write(slot, this.#copy.subarray(0, STARTED_AT + started.length), !isFree);
  }

  #writeStatus({ acknowledged, aliveMs, isClean }: TableStatus): void {
    const [file] = this.#files;
    if (file === undefined) return;
    const wasDirty = file.isDirty;
    this.#copy.fill(0, MEASUREMENT_AT, STARTED_AT);
    this.#copy.writeDoubleLE(acknowledged, MEASUREMENT_AT);
    this.#copy.writeDoubleLE(aliveMs, MEASUREMENT_AT + 8);
    file.write(0, this.#copy.subarray(0, STARTED_AT), isClean);
    // Of an older position more is published twice, and nothing is lost.
    file.isDirty = wasDirty || acknowledged < this.#acknowledged;
    this.#acknowledged = acknowledged;
  }
}

/**
 * The table that a dead process left.
 *
 * @throws SpoolError if the disk refuses.
 */
export function readTable(dir: string): { status: TableStatus; open: LeftOpen[] } {
  let status: TableStatus = { acknowledged: 0, aliveMs: 0, isClean: false };
  const open: LeftOpen[] = [];
  const numbers = new Float64Array(MEASUREMENT_NUMBERS);
  try {
    for (const { name, slotBytes } of TABLE_CLASSES) {
      for (const { index, slot } of slotsIn(join(dir, name), slotBytes)) {
        const isOpen = slot.readUInt32LE(OPEN_AT) === 1;
        if (index < STATUS_SLOTS) {
          if (name !== SMALL.name) continue;
          status = {
            acknowledged: slot.readDoubleLE(MEASUREMENT_AT),
            aliveMs: slot.readDoubleLE(MEASUREMENT_AT + 8),
            isClean: isOpen,
          };
        } else if (isOpen) {
          numbers.forEach((_, i) => {
            numbers[i] = slot.readDoubleLE(MEASUREMENT_AT + i * 8);
          });
          open.push({
            started: Buffer.from(slot.subarray(STARTED_AT)),
            measurement: readMeasurement(numbers, 0),
          });
        }
      }
    }
  } catch (error) {
    throw new SpoolError(`cannot read in ${dir}`, error);
  }
  return { status, open };
}

/** The newer intact copy of each slot, if there is one. */
function* slotsIn(
  file: string,
  slotBytes: number,
): Generator<{ index: number; slot: Buffer }, void, undefined> {
  if (!existsSync(file)) return;
  const fd = openSync(file, 'r');
  try {
    const pairBytes = slotBytes * COPIES;
    const perRead = Math.floor(READ_BYTES / pairBytes);
    const buffer = Buffer.alloc(perRead * pairBytes);
    for (let first = 0; ; first += perRead) {
      buffer.fill(0);
      if (readAll(fd, buffer, first * pairBytes) === 0) return;
      for (let i = 0; i < perRead; i += 1) {
        const pair = buffer.subarray(i * pairBytes, (i + 1) * pairBytes);
        const one = soundCopy(pair.subarray(0, slotBytes));
        const other = soundCopy(pair.subarray(slotBytes));
        const slot =
          one === null ||
          (other !== null && other.readUInt32LE(GENERATION_AT) > one.readUInt32LE(GENERATION_AT))
            ? other
            : one;
        if (slot !== null) yield { index: first + i, slot };
      }
    }
  } finally {
    closeSync(fd);
  }
}

function soundCopy(bytes: Buffer): Buffer | null {
  const length = bytes.readUInt32LE(CHECKED_FROM);
  const end = CHECKED_FROM + 4 + length;
  if (end < STARTED_AT || end > bytes.length) return null;
  const copy = bytes.subarray(0, end);
  return crc32(copy.subarray(CHECKED_FROM)) === copy.readUInt32LE(0) ? copy : null;
}
