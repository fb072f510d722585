/**
 * The table of open sessions in memory that both threads share. The thread that moves traffic overwrites a
 * session's slot in place; the publishing thread makes TrafficDeltas of it (reports.ts), and keeps it on disk
 * (table-file.ts) for the case that the process dies. So a delta that nobody has published yet takes no room:
 * the next one of its session is written over it.
 *
 * A slot has a version, which is odd while it is written. A reader copies it between two reads of
 * the version.
 *
 * | bytes | content of a slot                                                               |
 * | ----- | ------------------------------------------------------------------------------- |
 * | 0     | its version                                                                     |
 * | 8     | number of the report, 0 if there is none; bytes of all events given before it   |
 * | 24    | the report, a measurement of 16 numbers                                         |
 * |       | from here on as on disk:                                                        |
 * | 152   | CRC-32 of all that follows, bytes that follow, generation, whether it is open   |
 * | 168   | the measurement that is noted                                                   |
 * | 296   | the session's first event, with its header as it was last, as a frame           |
 */
import { crc32 } from 'node:zlib';
import { frameBytesOf } from '../frame.js';
import { MEASUREMENT_NUMBERS, readMeasurement, writeMeasurement } from '../measurement.js';
import type { Measurement } from '../measurement.js';
import { NO_PLACE } from '../sink.js';
import type { OpenSession } from '../sink.js';

/** A session whose first event is longer has no slot: each of its deltas goes to the log, and its crash is `lost`. */
export const SLOT_BYTES = 2_048;
const SLOTS_MAX = 1_048_576;
/** Slots by which the memory grows. */
const GROWTH = 128;

const NUMBER_BYTES = 8;
const SLOT_NUMBERS = SLOT_BYTES / NUMBER_BYTES;
const REPORT_NUMBER = 1;
const POSITION = 2;
const REPORT = 3;
const KEPT_AT = (REPORT + MEASUREMENT_NUMBERS) * NUMBER_BYTES;
const MEASUREMENT = KEPT_AT / NUMBER_BYTES + 2;
const STARTED_AT = (MEASUREMENT + MEASUREMENT_NUMBERS) * NUMBER_BYTES;
/** Places in the part that is kept on disk. */
const LENGTH_AT = 4;
const GENERATION_AT = 8;
const OPEN_AT = 12;
const EMPTY_LENGTH = STARTED_AT - KEPT_AT - GENERATION_AT;

/** Slots, one behind the other. The place of a session in the table is the index of its slot. */
export class TableMemory {
  readonly memory: SharedArrayBuffer;
  #bytes: Buffer = Buffer.alloc(0);
  #versions: Int32Array = new Int32Array(0);
  #numbers: Float64Array = new Float64Array(0);

  constructor(memory = new SharedArrayBuffer(0, { maxByteLength: SLOTS_MAX * SLOT_BYTES })) {
    this.memory = memory;
  }

  /** How many slots there are now. */
  get slots(): number {
    const bytes = this.memory.byteLength;
    if (bytes > this.#bytes.length) {
      this.#bytes = Buffer.from(this.memory, 0, bytes);
      this.#versions = new Int32Array(this.memory, 0, bytes / Int32Array.BYTES_PER_ELEMENT);
      this.#numbers = new Float64Array(this.memory, 0, bytes / NUMBER_BYTES);
    }
    return bytes / SLOT_BYTES;
  }

  /** Makes room for more slots; false if there is none. */
  grow(): boolean {
    const slots = this.slots + GROWTH;
    if (slots > SLOTS_MAX) return false;
    this.memory.grow(slots * SLOT_BYTES);
    return this.slots === slots;
  }

  version(place: number): number {
    return Atomics.load(this.#versions, place * 2 * SLOT_NUMBERS);
  }

  /** Overwrites a part of a slot. The step gets all numbers, and the index of the slot's first one. */
  write(place: number, step: (numbers: Float64Array, at: number) => void): void {
    Atomics.add(this.#versions, place * 2 * SLOT_NUMBERS, 1);
    step(this.#numbers, place * SLOT_NUMBERS);
    Atomics.add(this.#versions, place * 2 * SLOT_NUMBERS, 1);
  }

  /** Puts a session's first event into a slot that is being overwritten; null makes it a free one. */
  setStarted(place: number, started: Buffer | null): void {
    const at = place * SLOT_BYTES;
    if (started !== null) this.#bytes.set(started, at + STARTED_AT);
    const length = EMPTY_LENGTH + (started?.length ?? 0);
    this.#bytes.writeUInt32LE(length, at + KEPT_AT + LENGTH_AT);
    this.#bytes.writeUInt32LE(started === null ? 0 : 1, at + KEPT_AT + OPEN_AT);
  }

  /** Copies a slot that is whole. Returns its version; null while it is being written. */
  copy(place: number, slot: Slot): number | null {
    const version = this.version(place);
    slot.take(this.#bytes.subarray(place * SLOT_BYTES, (place + 1) * SLOT_BYTES));
    return version % 2 === 0 && this.version(place) === version ? version : null;
  }
}

export interface TableStatus {
  /** How far Kafka has acknowledged the log. */
  readonly acknowledged: number;
  /** Milliseconds since 1970. */
  readonly aliveMs: number;
  /** The process ended all its sessions itself. */
  readonly isClean: boolean;
}

/** A copy of a slot. */
export class Slot {
  readonly #bytes: Buffer;
  readonly #numbers: Float64Array;

  constructor() {
    const memory = new ArrayBuffer(SLOT_BYTES);
    this.#bytes = Buffer.from(memory);
    this.#numbers = new Float64Array(memory);
    this.#bytes.writeUInt32LE(EMPTY_LENGTH, KEPT_AT + LENGTH_AT);
  }

  get isOpen(): boolean {
    return this.#bytes.readUInt32LE(KEPT_AT + OPEN_AT) === 1;
  }

  /** The session's first event, with its header as it was last, as a frame. */
  get started(): Buffer {
    return this.#bytes.subarray(STARTED_AT, this.#end);
  }

  /** Larger than the numbers of all earlier reports, of any session; 0 if there is no report. */
  get reportNumber(): number {
    return this.#numbers[REPORT_NUMBER] ?? 0;
  }

  /** All events of the session before its report are among this many bytes of given events. */
  get position(): number {
    return this.#numbers[POSITION] ?? 0;
  }

  get report(): Measurement {
    return readMeasurement(this.#numbers, REPORT);
  }

  get measurement(): Measurement {
    return readMeasurement(this.#numbers, MEASUREMENT);
  }

  get generation(): number {
    return this.#bytes.readUInt32LE(KEPT_AT + GENERATION_AT);
  }

  /** The first slot on disk has no session, but this. */
  get status(): TableStatus {
    const [acknowledged = 0, aliveMs = 0] = this.#numbers.subarray(MEASUREMENT);
    return { acknowledged, aliveMs, isClean: this.isOpen };
  }

  set status({ acknowledged, aliveMs, isClean }: TableStatus) {
    this.#numbers[MEASUREMENT] = acknowledged;
    this.#numbers[MEASUREMENT + 1] = aliveMs;
    this.#bytes.writeUInt32LE(isClean ? 1 : 0, KEPT_AT + OPEN_AT);
  }

  /** Takes the bytes of a slot in memory. */
  take(bytes: Buffer): void {
    bytes.copy(this.#bytes);
  }

  /** Takes the result of `seal`. False if the bytes are damaged. */
  unseal(bytes: Buffer): boolean {
    const end = GENERATION_AT + bytes.readUInt32LE(LENGTH_AT);
    const isSound =
      end >= GENERATION_AT + EMPTY_LENGTH &&
      end <= bytes.length &&
      crc32(bytes.subarray(LENGTH_AT, end)) === bytes.readUInt32LE(0);
    if (isSound) bytes.copy(this.#bytes, KEPT_AT, 0, end);
    return isSound;
  }

  /** Returns the bytes for the disk, with their checksum. */
  seal(generation: number): Buffer {
    const kept = this.#bytes.subarray(KEPT_AT, this.#end);
    kept.writeUInt32LE(generation, GENERATION_AT);
    kept.writeUInt32LE(crc32(kept.subarray(LENGTH_AT)), 0);
    return kept;
  }

  get #end(): number {
    return KEPT_AT + GENERATION_AT + this.#bytes.readUInt32LE(KEPT_AT + LENGTH_AT);
  }
}

/** Used by the thread that moves traffic. */
export class SessionTable {
  readonly #table: TableMemory;
  readonly #free: number[] = [];
  #used = 0;
  /** Part of the header that may change, as it was written last, by place. */
  readonly #written: (object | null)[] = [];
  #reports = 0;

  constructor(table: TableMemory) {
    this.#table = table;
  }

  /**
   * Writes the counters of a session; as a report if they may be published.
   *
   * @param position how many bytes of events were given before.
   * @returns false if the session has no slot.
   */
  write(
    session: OpenSession,
    measurement: Measurement,
    isReport: boolean,
    position: number,
  ): boolean {
    const isNew = session.place === NO_PLACE;
    const hasChanged = isNew || this.#written[session.place] !== session.late;
    const started = hasChanged ? frameBytesOf(session.started()) : null;
    if (started !== null && started.length > SLOT_BYTES - STARTED_AT) {
      this.release(session);
      return false;
    }
    if (isNew) session.place = this.#free.pop() ?? this.#extend();
    const { place } = session;
    if (place === NO_PLACE) return false;
    this.#written[place] = session.late;
    this.#table.write(place, (numbers, at) => {
      if (started !== null) this.#table.setStarted(place, started);
      if (isReport) {
        this.#reports += 1;
        numbers[at + REPORT_NUMBER] = this.#reports;
        numbers[at + POSITION] = position;
        writeMeasurement(numbers, at + REPORT, measurement);
      } else if (isNew || (numbers[at + REPORT] ?? 0) < measurement.seq) {
        // The report is of the session before, or the log has a later event of this one.
        numbers[at + REPORT_NUMBER] = 0;
      }
      if (isNew || !isReport) writeMeasurement(numbers, at + MEASUREMENT, measurement);
    });
    return true;
  }

  release(session: OpenSession): void {
    const { place } = session;
    if (place === NO_PLACE) return;
    session.place = NO_PLACE;
    this.#table.write(place, () => {
      this.#table.setStarted(place, null);
    });
    this.#written[place] = null;
    this.#free.push(place);
  }

  /** Returns the place of a slot that was never used; NO_PLACE if the table is full. */
  #extend(): number {
    const place = this.#used;
    if (place === this.#table.slots && !this.#table.grow()) return NO_PLACE;
    this.#used += 1;
    return place;
  }
}
