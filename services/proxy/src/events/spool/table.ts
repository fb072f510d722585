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
 * | 0     | number of the report, 0 if there is none; position of the log before it         |
 * | 16    | the report, a measurement of 16 numbers                                         |
 * |       | from here on as on disk:                                                        |
 * | 144   | CRC-32 of all that follows, bytes that follow, generation, whether it is open   |
 * | 160   | the measurement that is noted                                                   |
 * | 288   | the session's first event, with its header as it was last, as JSON              |
 */
import { crc32 } from 'node:zlib';
import { encodeEvent } from '../frame.js';
import { MEASUREMENT_NUMBERS, readMeasurement, writeMeasurement } from '../measurement.js';
import type { Measurement } from '../measurement.js';
import { NO_PLACE } from '../sink.js';
import type { OpenSession } from '../sink.js';

/** A session whose first event is longer has no slot: each of its deltas goes to the log, and its crash is `lost`. */
export const SLOT_BYTES = 2_048;
const CHUNK_SLOTS = 128;
const SLOTS_MAX = 1_048_576;

const NUMBER_BYTES = 8;
const REPORT_NUMBER = 0;
const POSITION = 1;
const REPORT = 2;
const KEPT_AT = (REPORT + MEASUREMENT_NUMBERS) * NUMBER_BYTES;
const MEASUREMENT = KEPT_AT / NUMBER_BYTES + 2;
const STARTED_AT = (MEASUREMENT + MEASUREMENT_NUMBERS) * NUMBER_BYTES;
/** Places in the part that is kept on disk. */
const LENGTH_AT = 4;
const GENERATION_AT = 8;
const OPEN_AT = 12;
const EMPTY_LENGTH = STARTED_AT - KEPT_AT - GENERATION_AT;

/** Slots, one behind the other, behind the versions of all of them. */
export class TableChunk {
  readonly memory: SharedArrayBuffer;
  /** Place of its first slot in the table. */
  readonly first: number;
  readonly slots = CHUNK_SLOTS;
  readonly #bytes: Buffer;
  readonly #versions: Int32Array;

  /** Numbers of all slots; `open` returns the index of a slot's first one. */
  readonly numbers: Float64Array;

  constructor(first: number, memory?: SharedArrayBuffer) {
    this.first = first;
    this.memory = memory ?? new SharedArrayBuffer(CHUNK_SLOTS * (NUMBER_BYTES + SLOT_BYTES));
    this.#bytes = Buffer.from(this.memory);
    this.#versions = new Int32Array(this.memory, 0, CHUNK_SLOTS);
    this.numbers = new Float64Array(this.memory);
  }

  version(index: number): number {
    return Atomics.load(this.#versions, index);
  }

  /** Begins to overwrite a slot. Returns the index of its first number. */
  open(index: number): number {
    Atomics.add(this.#versions, index, 1);
    return startOf(index) / NUMBER_BYTES;
  }

  /** The slot is whole again. */
  close(index: number): void {
    Atomics.add(this.#versions, index, 1);
  }

  /** Puts a session's first event into a slot that is being overwritten; null makes it a free one. */
  setStarted(index: number, started: Buffer | null): void {
    const at = startOf(index);
    if (started !== null) this.#bytes.set(started, at + STARTED_AT);
    const length = EMPTY_LENGTH + (started?.length ?? 0);
    this.#bytes.writeUInt32LE(length, at + KEPT_AT + LENGTH_AT);
    this.#bytes.writeUInt32LE(started === null ? 0 : 1, at + KEPT_AT + OPEN_AT);
  }

  /** Copies a slot that is whole. Returns its version; null while it is being written. */
  copy(index: number, slot: Slot): number | null {
    const version = this.version(index);
    const at = startOf(index);
    slot.take(this.#bytes.subarray(at, at + SLOT_BYTES));
    return version % 2 === 0 && this.version(index) === version ? version : null;
  }
}

/** Offset of a slot in its chunk. */
function startOf(index: number): number {
  return CHUNK_SLOTS * NUMBER_BYTES + index * SLOT_BYTES;
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

  /** The session's first event, with its header as it was last; encoded. */
  get started(): Buffer {
    return this.#bytes.subarray(STARTED_AT, this.#end);
  }

  /** Larger than the numbers of all earlier reports, of any session; 0 if there is no report. */
  get reportNumber(): number {
    return this.#numbers[REPORT_NUMBER] ?? 0;
  }

  /** Up to here, the log has all events of the session before its report. */
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
  readonly #chunks: TableChunk[] = [];
  readonly #free: number[] = [];
  #used = 0;
  /** The header that was written last, by place. */
  readonly #headers: (object | null)[] = [];
  readonly #onChunk: (memory: SharedArrayBuffer) => void;
  #reports = 0;

  /** @param onChunk gets memory for more slots, one piece behind the other. */
  constructor(onChunk: (memory: SharedArrayBuffer) => void) {
    this.#onChunk = onChunk;
  }

  /**
   * Writes the counters of a session; as a report if they may be published.
   *
   * @param position of the log, behind all earlier events of the session.
   * @returns false if the session has no slot.
   */
  write(
    session: OpenSession,
    measurement: Measurement,
    isReport: boolean,
    position: number,
  ): boolean {
    const isNew = session.place === NO_PLACE;
    const hasChanged = isNew || this.#headers[session.place] !== session.header;
    const started = hasChanged ? encodeEvent(session.started()) : null;
    if (started !== null && started.length > SLOT_BYTES - STARTED_AT) {
      this.release(session);
      return false;
    }
    if (isNew) session.place = this.#free.pop() ?? this.#extend();
    const { place } = session;
    if (place === NO_PLACE) return false;
    this.#headers[place] = session.header;
    const { chunk, index } = this.#slotAt(place);
    const at = chunk.open(index);
    const { numbers } = chunk;
    if (started !== null) chunk.setStarted(index, started);
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
    chunk.close(index);
    return true;
  }

  release(session: OpenSession): void {
    const { place } = session;
    if (place === NO_PLACE) return;
    session.place = NO_PLACE;
    const { chunk, index } = this.#slotAt(place);
    chunk.open(index);
    chunk.setStarted(index, null);
    chunk.close(index);
    this.#headers[place] = null;
    this.#free.push(place);
  }

  #slotAt(place: number): { chunk: TableChunk; index: number } {
    const chunk = this.#chunks[Math.floor(place / CHUNK_SLOTS)] as TableChunk;
    return { chunk, index: place - chunk.first };
  }

  /** Returns the place of a slot that was never used; NO_PLACE if the table is full. */
  #extend(): number {
    const place = this.#used;
    if (place === SLOTS_MAX) return NO_PLACE;
    if (place % CHUNK_SLOTS === 0) {
      const chunk = new TableChunk(place);
      this.#chunks.push(chunk);
      this.#onChunk(chunk.memory);
    }
    this.#used += 1;
    return place;
  }
}
