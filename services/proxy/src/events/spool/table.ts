/**
 * The table of open sessions in memory that both threads share. The thread that moves traffic overwrites a
 * session's slot in place; the publishing thread makes TrafficDeltas of it, and keeps it on disk
 * (table-file.ts) for the case that the process dies. So a delta that nobody has published yet takes no room:
 * the next one of its session is written over it.
 *
 * A slot has a version, which is odd while it is written. A reader copies it between two reads of
 * the version.
 */
import { COUNTER_NAMES, zeroCounters } from '@sockscope/schemas';
import type { Counters } from '@sockscope/schemas';
import { encodeEvent } from '../encode.generated.js';
import type { Measurement } from '../measurement.js';
import { NO_PLACE } from '../sink.js';
import type { OpenSession } from '../sink.js';

interface TableClass {
  /** Of the file. */
  readonly name: string;
  readonly slotBytes: number;
  /** Slots that are made at once. */
  readonly chunkSlots: number;
  /** Sessions beyond these have no slot: each of their deltas goes to the log, and their crash is `lost`. */
  readonly maxSlots: number;
}

/** Names from clients may be long, but nearly never are. */
export const TABLE_CLASSES: readonly [TableClass, TableClass] = [
  { name: 'sessions', slotBytes: 1_280, chunkSlots: 128, maxSlots: 1_048_576 },
  { name: 'sessions-long', slotBytes: 12_288, chunkSlots: 16, maxSlots: 8_192 },
];

const COUNTERS = COUNTER_NAMES.length;
export const MEASUREMENT_NUMBERS = 4 + 3 * COUNTERS;
const NUMBER_BYTES = 8;
/**
 * In a slot, in numbers: length of the header (0 in a free one), which of the sessions that had the slot it is,
 * position in the log, measurement, report.
 */
const HEADER_LENGTH = 0;
const TENANT = 1;
const POSITION = 2;
const MEASUREMENT = 3;
const REPORT = MEASUREMENT + MEASUREMENT_NUMBERS;
export const HEADER_AT = (REPORT + MEASUREMENT_NUMBERS) * NUMBER_BYTES;
const NONE = -1;

/** Slots of one class, one behind the other, behind the versions of all of them. */
export class TableChunk {
  readonly memory: SharedArrayBuffer;
  readonly tableClass: 0 | 1;
  /** Index of the first slot of its class. */
  readonly first: number;
  readonly bytes: Buffer;
  readonly #versions: Int32Array;
  readonly #numbers: Float64Array;
  readonly #slotBytes: number;
  readonly #slotsAt: number;

  constructor(tableClass: 0 | 1, first: number, memory?: SharedArrayBuffer) {
    const { chunkSlots, slotBytes } = TABLE_CLASSES[tableClass];
    this.#slotsAt = chunkSlots * NUMBER_BYTES;
    this.#slotBytes = slotBytes;
    this.memory = memory ?? new SharedArrayBuffer(this.#slotsAt + chunkSlots * slotBytes);
    this.tableClass = tableClass;
    this.first = first;
    this.bytes = Buffer.from(this.memory);
    this.#versions = new Int32Array(this.memory, 0, chunkSlots);
    this.#numbers = new Float64Array(this.memory);
  }

  /** Overwrites a slot; `write` gets the index of its first number and the offset of its header. */
  update(
    index: number,
    write: (numbers: Float64Array, at: number, headerAt: number) => void,
  ): void {
    Atomics.add(this.#versions, index, 1);
    const at = this.#slotsAt + index * this.#slotBytes;
    write(this.#numbers, at / NUMBER_BYTES, at + HEADER_AT);
    Atomics.add(this.#versions, index, 1);
  }

  version(index: number): number {
    return Atomics.load(this.#versions, index);
  }

  /** Copies a slot that is whole. Returns its version; null while it is being written. */
  copy(index: number, target: Buffer): number | null {
    const version = this.version(index);
    const at = this.#slotsAt + index * this.#slotBytes;
    const headerBytes = this.#numbers[at / NUMBER_BYTES + HEADER_LENGTH] ?? 0;
    this.bytes.copy(
      target,
      0,
      at,
      at + HEADER_AT + Math.min(headerBytes, this.#slotBytes - HEADER_AT),
    );
    return version % 2 === 0 && this.version(index) === version ? version : null;
  }
}

/** A copy of a slot. */
export class SlotView {
  readonly bytes: Buffer;
  readonly #numbers: Float64Array;

  constructor() {
    const memory = new ArrayBuffer(TABLE_CLASSES[1].slotBytes);
    this.bytes = Buffer.from(memory);
    this.#numbers = new Float64Array(memory);
  }

  get isFree(): boolean {
    return this.#numbers[HEADER_LENGTH] === 0;
  }

  /** The session's first event, with its header as it was last; encoded. */
  get started(): Buffer {
    return this.bytes.subarray(HEADER_AT, HEADER_AT + (this.#numbers[HEADER_LENGTH] ?? 0));
  }

  /** Another number for each session that gets the slot. */
  get tenant(): number {
    return this.#numbers[TENANT] ?? 0;
  }

  /** Up to here, the log has all events of the session before its report. */
  get position(): number {
    return this.#numbers[POSITION] ?? 0;
  }

  /** `seq` of the report; 0 if there is none. */
  get reportSeq(): number {
    return this.#numbers[REPORT] ?? 0;
  }

  get report(): Measurement {
    return readMeasurement(this.#numbers, REPORT);
  }

  /** The measurement as it is stored. */
  get measurementBytes(): Buffer {
    const at = MEASUREMENT * NUMBER_BYTES;
    return this.bytes.subarray(at, at + MEASUREMENT_NUMBERS * NUMBER_BYTES);
  }
}

/** Used by the thread that moves traffic. */
export class SessionTable {
  readonly #chunks: [TableChunk[], TableChunk[]] = [[], []];
  readonly #free: [number[], number[]] = [[], []];
  readonly #used: [number, number] = [0, 0];
  /** By class and slot: the header that was written last. */
  readonly #headers: [(object | null)[], (object | null)[]] = [[], []];
  readonly #onChunk: (chunk: TableChunk) => void;
  #tenants = 0;

  constructor(onChunk: (chunk: TableChunk) => void) {
    this.#onChunk = onChunk;
  }

  /**
   * Writes what a session has counted; a report if it is one that may be published.
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
    let encoded: Buffer | null = null;
    if (session.place === NO_PLACE || this.#headerOf(session.place) !== session.header) {
      encoded = Buffer.from(encodeEvent(session.started()));
      if (!this.#place(session, encoded.length)) return false;
    }
    const { tableClass, index } = slotOf(session.place);
    const { chunkSlots } = TABLE_CLASSES[tableClass];
    const chunk = this.#chunks[tableClass][Math.floor(index / chunkSlots)];
    if (chunk === undefined) return false;
    chunk.update(index % chunkSlots, (numbers, at, headerAt) => {
      if (encoded !== null) {
        chunk.bytes.set(encoded, headerAt);
        if (numbers[at + HEADER_LENGTH] === 0) {
          this.#tenants += 1;
          numbers[at + TENANT] = this.#tenants;
          numbers[at + REPORT] = 0;
        }
        numbers[at + HEADER_LENGTH] = encoded.length;
        this.#headers[tableClass][index] = session.header;
      }
      if (isReport) numbers[at + POSITION] = position;
      // The log has a later event of it.
      else if ((numbers[at + REPORT] ?? 0) < measurement.seq) numbers[at + REPORT] = 0;
      writeMeasurement(numbers, at + (isReport ? REPORT : MEASUREMENT), measurement);
    });
    return true;
  }

  release(session: OpenSession): void {
    if (session.place === NO_PLACE) return;
    const { tableClass, index } = slotOf(session.place);
    session.place = NO_PLACE;
    const { chunkSlots } = TABLE_CLASSES[tableClass];
    this.#chunks[tableClass][Math.floor(index / chunkSlots)]?.update(
      index % chunkSlots,
      (numbers, at) => {
        numbers[at + HEADER_LENGTH] = 0;
      },
    );
    this.#headers[tableClass][index] = null;
    this.#free[tableClass].push(index);
  }

  #headerOf(place: number): object | null {
    const { tableClass, index } = slotOf(place);
    return this.#headers[tableClass][index] ?? null;
  }

  /** Finds a slot that takes so long a header; a session whose header has grown may move. */
  #place(session: OpenSession, headerBytes: number): boolean {
    const fits = (tableClass: 0 | 1): boolean =>
      headerBytes <= TABLE_CLASSES[tableClass].slotBytes - HEADER_AT;
    if (session.place !== NO_PLACE) {
      if (fits(slotOf(session.place).tableClass)) return true;
      this.release(session);
    }
    for (const tableClass of [0, 1] as const) {
      if (!fits(tableClass)) continue;
      const index = this.#free[tableClass].pop() ?? this.#extend(tableClass);
      if (index === null) return false;
      session.place = index * TABLE_CLASSES.length + tableClass;
      return true;
    }
    return false;
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

/** A session's place is one small number. */
function slotOf(place: number): { tableClass: 0 | 1; index: number } {
  const tableClass = place % TABLE_CLASSES.length === 0 ? 0 : 1;
  return { tableClass, index: (place - tableClass) / TABLE_CLASSES.length };
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

export function readMeasurement(numbers: Float64Array, at: number): Measurement {
  const connectMs = numbers[at + 3] ?? NONE;
  return {
    seq: numbers[at] ?? 0,
    interval_start_ms: numbers[at + 1] ?? 0,
    at_ms: numbers[at + 2] ?? 0,
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
  const counters = zeroCounters();
  COUNTER_NAMES.forEach((name, i) => {
    counters[name] = numbers[at + i] ?? 0;
  });
  return counters;
}
