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
import { COUNTER_NAMES } from '@sockscope/schemas';
import type { Counters } from '@sockscope/schemas';
import { encodeEvent } from '../frame.js';
import type { Measurement } from '../measurement.js';
import { NO_PLACE } from '../sink.js';
import type { OpenSession } from '../sink.js';

/** Names from clients may be long, but nearly never are. */
export const TABLE_CLASSES = [
  { name: 'sessions', slotBytes: 1_280, chunkSlots: 128, maxSlots: 1_048_576 },
  { name: 'sessions-long', slotBytes: 12_288, chunkSlots: 16, maxSlots: 8_192 },
  // Sessions beyond these have no slot: each of their deltas goes to the log, and their crash is `lost`.
] as const;

const NUMBER_BYTES = 8;
const COUNTERS = COUNTER_NAMES.length;
const REPORT_NUMBER = 0;
const POSITION = 1;
const REPORT = 2;
const KEPT_AT = (REPORT + 4 + 3 * COUNTERS) * NUMBER_BYTES;
const MEASUREMENT = KEPT_AT / NUMBER_BYTES + 2;
const STARTED_AT = (MEASUREMENT + 4 + 3 * COUNTERS) * NUMBER_BYTES;
/** Places in the part that is kept on disk. */
const LENGTH_AT = 4;
const GENERATION_AT = 8;
const OPEN_AT = 12;
const EMPTY_LENGTH = STARTED_AT - KEPT_AT - GENERATION_AT;
const NONE = -1;

/** Slots of one class, one behind the other, behind the versions of all of them. */
export class TableChunk {
  readonly memory: SharedArrayBuffer;
  readonly tableClass: 0 | 1;
  /** Index of the first slot of its class. */
  readonly first: number;
  readonly slots: number;
  readonly #bytes: Buffer;
  readonly #versions: Int32Array;
  readonly #slotBytes: number;
  readonly #slotsAt: number;

  /** Numbers of all slots; `open` returns the index of a slot's first one. */
  readonly numbers: Float64Array;

  constructor(tableClass: 0 | 1, first: number, memory?: SharedArrayBuffer) {
    const { chunkSlots, slotBytes } = TABLE_CLASSES[tableClass];
    this.slots = chunkSlots;
    this.#slotsAt = chunkSlots * NUMBER_BYTES;
    this.#slotBytes = slotBytes;
    this.memory = memory ?? new SharedArrayBuffer(this.#slotsAt + chunkSlots * slotBytes);
    this.tableClass = tableClass;
    this.first = first;
    this.#bytes = Buffer.from(this.memory);
    this.#versions = new Int32Array(this.memory, 0, chunkSlots);
    this.numbers = new Float64Array(this.memory);
  }

  placeOf(index: number): number {
    return (this.first + index) * TABLE_CLASSES.length + this.tableClass;
  }

  version(index: number): number {
    return Atomics.load(this.#versions, index);
  }

  /** Begins to overwrite a slot. Returns the index of its first number. */
  open(index: number): number {
    Atomics.add(this.#versions, index, 1);
    return (this.#slotsAt + index * this.#slotBytes) / NUMBER_BYTES;
  }

  /** The slot is whole again. */
  close(index: number): void {
    Atomics.add(this.#versions, index, 1);
  }

  /** Puts a session's first event into a slot that `open` has returned; null makes it a free one. */
  setStarted(at: number, started: Buffer | null): void {
    const slotAt = at * NUMBER_BYTES;
    if (started !== null) this.#bytes.set(started, slotAt + STARTED_AT);
    const length = EMPTY_LENGTH + (started?.length ?? 0);
    this.#bytes.writeUInt32LE(length, slotAt + KEPT_AT + LENGTH_AT);
    this.#bytes.writeUInt32LE(started === null ? 0 : 1, slotAt + KEPT_AT + OPEN_AT);
  }

  /** Copies a slot that is whole. Returns its version; null while it is being written. */
  copy(index: number, slot: Slot): number | null {
    const version = this.version(index);
    const at = this.#slotsAt + index * this.#slotBytes;
    slot.take(this.#bytes.subarray(at, at + this.#slotBytes));
    return version % 2 === 0 && this.version(index) === version ? version : null;
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
    const memory = new ArrayBuffer(TABLE_CLASSES[1].slotBytes);
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

/** Used by the thread that moves traffic. A session's place is its slot's index and its class in one number. */
export class SessionTable {
  readonly #chunks: [TableChunk[], TableChunk[]] = [[], []];
  readonly #free: [number[], number[]] = [[], []];
  readonly #used: [number, number] = [0, 0];
  /** The header that was written last, by place. */
  readonly #headers: (object | null)[] = [];
  readonly #onChunk: (chunk: TableChunk) => void;
  #reports = 0;

  constructor(onChunk: (chunk: TableChunk) => void) {
    this.#onChunk = onChunk;
  }

  /**
   * Writes the counters of a session; as a report if they may be published.
   *
   * @param position of the log, behind all earlier events of the session.
   * @returns false if the table is full.
   */
  write(
    session: OpenSession,
    measurement: Measurement,
    isReport: boolean,
    position: number,
  ): boolean {
    const before = session.place;
    let started: Buffer | null = null;
    if (before === NO_PLACE || this.#headers[before] !== session.header) {
      started = encodeEvent(session.started());
      if (!this.#place(session, started.length)) return false;
      this.#headers[session.place] = session.header;
    }
    const chunk = this.#chunkOf(session.place);
    const index = slotOf(session.place) - chunk.first;
    const at = chunk.open(index);
    const { numbers } = chunk;
    if (started !== null) chunk.setStarted(at, started);
    if (session.place !== before) {
      // The slot keeps nothing from the session that had it before.
      numbers[at + REPORT_NUMBER] = 0;
      writeMeasurement(numbers, at + MEASUREMENT, measurement);
    }
    if (isReport) {
      this.#reports += 1;
      numbers[at + REPORT_NUMBER] = this.#reports;
      numbers[at + POSITION] = position;
      writeMeasurement(numbers, at + REPORT, measurement);
    } else {
      // The log has a later event of it than the report.
      if ((numbers[at + REPORT] ?? 0) < measurement.seq) numbers[at + REPORT_NUMBER] = 0;
      writeMeasurement(numbers, at + MEASUREMENT, measurement);
    }
    chunk.close(index);
    return true;
  }

  release(session: OpenSession): void {
    const { place } = session;
    if (place === NO_PLACE) return;
    session.place = NO_PLACE;
    const chunk = this.#chunkOf(place);
    const index = slotOf(place) - chunk.first;
    chunk.setStarted(chunk.open(index), null);
    chunk.close(index);
    this.#headers[place] = null;
    this.#free[chunk.tableClass].push(slotOf(place));
  }

  #chunkOf(place: number): TableChunk {
    const tableClass = classOf(place);
    const { chunkSlots } = TABLE_CLASSES[tableClass];
    return this.#chunks[tableClass][Math.floor(slotOf(place) / chunkSlots)] as TableChunk;
  }

  /** Finds a slot that takes so long an event; a session whose header has grown may move. */
  #place(session: OpenSession, startedBytes: number): boolean {
    const tableClass = startedBytes <= TABLE_CLASSES[0].slotBytes - STARTED_AT ? 0 : 1;
    if (session.place !== NO_PLACE && classOf(session.place) >= tableClass) return true;
    this.release(session);
    if (startedBytes > TABLE_CLASSES[tableClass].slotBytes - STARTED_AT) return false;
    const index = this.#free[tableClass].pop() ?? this.#extend(tableClass);
    if (index === null) return false;
    session.place = index * TABLE_CLASSES.length + tableClass;
    return true;
  }

  #extend(tableClass: 0 | 1): number | null {
    const { chunkSlots, maxSlots } = TABLE_CLASSES[tableClass];
    const index = this.#used[tableClass];
    if (index >= maxSlots) return null;
    const chunks = this.#chunks[tableClass];
    if (index === chunks.length * chunkSlots) {
      const chunk = new TableChunk(tableClass, index);
      chunks.push(chunk);
      this.#onChunk(chunk);
    }
    this.#used[tableClass] = index + 1;
    return index;
  }
}

function classOf(place: number): 0 | 1 {
  return place % TABLE_CLASSES.length === 0 ? 0 : 1;
}

function slotOf(place: number): number {
  return Math.floor(place / TABLE_CLASSES.length);
}

function writeMeasurement(numbers: Float64Array, at: number, measurement: Measurement): void {
  numbers[at] = measurement.seq;
  numbers[at + 1] = measurement.interval_start_ms;
  numbers[at + 2] = measurement.at_ms;
  numbers[at + 3] = measurement.connect_ms ?? NONE;
  writeCounters(numbers, at + 4, measurement.totals);
  writeCounters(numbers, at + 4 + COUNTERS, measurement.delta);
  writeCounters(numbers, at + 4 + 2 * COUNTERS, measurement.minute);
}

function readMeasurement(numbers: Float64Array, at: number): Measurement {
  const [seq = 0, interval_start_ms = 0, at_ms = 0, connectMs = NONE] = numbers.subarray(at);
  return {
    seq,
    interval_start_ms,
    at_ms,
    connect_ms: connectMs === NONE ? null : connectMs,
    totals: readCounters(numbers, at + 4),
    delta: readCounters(numbers, at + 4 + COUNTERS),
    minute: readCounters(numbers, at + 4 + 2 * COUNTERS),
  };
}

function writeCounters(numbers: Float64Array, at: number, counters: Counters): void {
  numbers[at] = counters.bytes_sent;
  numbers[at + 1] = counters.bytes_received;
  numbers[at + 2] = counters.packets_sent;
  numbers[at + 3] = counters.packets_received;
}

function readCounters(numbers: Float64Array, at: number): Counters {
  const [bytes_sent = 0, bytes_received = 0, packets_sent = 0, packets_received = 0] =
    numbers.subarray(at, at + COUNTERS);
  return { bytes_sent, bytes_received, packets_sent, packets_received };
}
