/**
 * The format of the log: chunks, one behind the other, of one frame for each event. A frame has what the way to Kafka
 * needs in its header, and the event's other fields behind it. JSON is made when the event is published.
 *
 * | bytes of a chunk | content                                            |
 * | ---------------- | -------------------------------------------------- |
 * | 0                | length of its frames                               |
 * | 4                | CRC-32 of all that follows                         |
 * | 8                | version of this format, number of its frames       |
 * | 12               | the frames                                         |
 *
 * | bytes of a frame | content                                            |
 * | ---------------- | -------------------------------------------------- |
 * | 0                | length of the fields                               |
 * | 4                | kind of the event, three zeros                     |
 * | 8                | `seq`                                              |
 * | 12               | `occurred_at`, milliseconds since 1970             |
 * | 20               | `session_id`, as text                              |
 * | 56               | the fields (fields.generated.ts)                   |
 *
 * A write that was cut short leaves a chunk that does not check out, and reading ends there. One checksum for the
 * events of some milliseconds takes a fraction of the time of one for each.
 */
import { crc32 } from 'node:zlib';
import { COUNTER_NAMES, EVENT_LIMITS, SESSION_EVENT_TYPES } from '@sockscope/schemas';
import type { SessionEventType } from '@sockscope/schemas';
import type { EventParts } from './event-parts.js';
import { FieldWriter, NUMBER_BYTES, viewOf } from './field-writer.js';
import { putCounts, putSession } from './fields.generated.js';
import { ID_LENGTH, putEvent } from './json.js';
import { intervalOf } from './measurement.js';
import type { Measurement } from './measurement.js';

const CRC_AT = 4;
const CHECKED_FROM = 8;
const COUNT_AT = 10;
const CHUNK_HEADER_BYTES = 12;
const VERSION = 3;

const KIND_AT = 4;
const SEQ_AT = 8;
const TIME_AT = 12;
const ID_AT = 20;
const FRAME_HEADER_BYTES = ID_AT + ID_LENGTH;
/** More than any frame takes: it is shorter than the event's JSON. */
const FRAME_MAX_BYTES = EVENT_LIMITS.event_bytes;
/** All that a SessionStarted has behind the fields of its session: its totals. */
const STARTED_COUNTS_BYTES = COUNTER_NAMES.length * NUMBER_BYTES;
const DELTA = SESSION_EVENT_TYPES.indexOf('TrafficDelta');

/** The largest chunk of the log. */
export const CHUNK_MAX_BYTES = 64 * 1024;
export const CHUNK_MAX_FRAMES = 100;

/** Gathers frames until they are taken. */
export class FrameWriter {
  readonly #out = new FieldWriter(CHUNK_MAX_BYTES);
  #count = 0;

  /** Bytes that wait to be taken. */
  get bytes(): number {
    return this.#out.at;
  }

  /** True if enough has been gathered to be taken. */
  get isFull(): boolean {
    return this.#count >= CHUNK_MAX_FRAMES || this.#out.at >= CHUNK_MAX_BYTES - FRAME_MAX_BYTES;
  }

  add(event: EventParts): void {
    putFrame(this.#begin(), event);
  }

  /** Adds the TrafficDelta that a measurement is, of the session that a frame of a SessionStarted describes. */
  addDelta(started: Buffer, measurement: Measurement): void {
    const out = this.#begin();
    const start = out.at;
    out.bytes(started.subarray(0, started.length - STARTED_COUNTS_BYTES));
    putCounts(out, {
      totals: measurement.totals,
      interval: intervalOf(measurement),
      closing: null,
    });
    putHeader(out, start, DELTA, measurement.seq, measurement.at_ms);
  }

  #begin(): FieldWriter {
    this.#count += 1;
    this.#out.at ||= CHUNK_HEADER_BYTES;
    this.#out.room(FRAME_MAX_BYTES);
    return this.#out;
  }

  /** All that has come together, as a chunk. Its memory is used again: read or copy it at once. */
  take(): Buffer {
    const chunk = this.#out.buffer.subarray(0, this.#out.at);
    if (this.#count > 0) {
      chunk.writeUInt32LE(chunk.length - CHUNK_HEADER_BYTES, 0);
      chunk.writeUInt16LE(VERSION, CHECKED_FROM);
      chunk.writeUInt16LE(this.#count, COUNT_AT);
      chunk.writeUInt32LE(crc32(chunk.subarray(CHECKED_FROM)), CRC_AT);
    }
    this.#out.at = 0;
    this.#count = 0;
    return chunk;
  }
}

function putFrame(out: FieldWriter, event: EventParts): void {
  const { type, moment } = event;
  const start = out.at;
  out.at = start + ID_AT;
  out.ascii(moment.session_id);
  putSession(out, event);
  putCounts(out, event);
  putHeader(out, start, SESSION_EVENT_TYPES.indexOf(type), moment.seq, moment.occurred_at);
}

/** Fills in the header of the frame that ends here, without the id. */
// oxlint-disable-next-line max-params -- An object for each frame would be garbage to collect.
function putHeader(out: FieldWriter, start: number, kind: number, seq: number, ms: number): void {
  const end = out.at;
  out.word(start, end - start - FRAME_HEADER_BYTES);
  out.word(start + KIND_AT, kind);
  out.word(start + SEQ_AT, seq);
  out.at = start + TIME_AT;
  out.number(ms);
  out.at = end;
}

const single = new FieldWriter(FRAME_MAX_BYTES);

/** The frame of one event. Its memory is used again: read or copy it at once. */
export function frameBytesOf(event: EventParts): Buffer {
  single.at = 0;
  putFrame(single, event);
  return single.buffer.subarray(0, single.at);
}

const json = Buffer.allocUnsafeSlow(EVENT_LIMITS.event_bytes);

/** An event as it stands in the log: a view into the bytes that were read. */
export class Frame {
  readonly buffer: Buffer;
  readonly view: DataView;
  readonly at: number;

  constructor(buffer: Buffer, view = viewOf(buffer), at = 0) {
    this.buffer = buffer;
    this.view = view;
    this.at = at;
  }

  get kind(): number {
    return this.buffer[this.at + KIND_AT] ?? 0;
  }

  get type(): SessionEventType {
    return SESSION_EVENT_TYPES[this.kind] ?? 'SessionStarted';
  }

  get seq(): number {
    return this.view.getUint32(this.at + SEQ_AT, true);
  }

  get occurredAtMs(): number {
    return this.view.getFloat64(this.at + TIME_AT, true);
  }

  /** Offset of `session_id`, as text. */
  get idAt(): number {
    return this.at + ID_AT;
  }

  get sessionId(): string {
    return this.buffer.toString('latin1', this.idAt, this.fieldsAt);
  }

  /** Offset of the other fields. */
  get fieldsAt(): number {
    return this.at + FRAME_HEADER_BYTES;
  }

  /** Offset behind it. */
  get end(): number {
    return this.fieldsAt + this.view.getUint32(this.at, true);
  }

  /** The same event in memory of its own. */
  copy(): Frame {
    return new Frame(Buffer.from(this.buffer.subarray(this.at, this.end)));
  }

  /** The event as Kafka gets it. */
  get json(): string {
    return json.toString('utf8', 0, putEvent(json, 0, this));
  }
}

/**
 * Reads whole, sound chunks from the start of a buffer: as many as fit into `maxFrames`, at least one. Their frames
 * are appended to others, which count too. `end` is the offset behind the chunks.
 */
export function scanChunks(
  buffer: Buffer,
  maxFrames = Number.POSITIVE_INFINITY,
  frames: Frame[] = [],
): { frames: Frame[]; end: number } {
  const view = viewOf(buffer);
  let at = 0;
  while (at + CHUNK_HEADER_BYTES <= buffer.length) {
    const end = at + CHUNK_HEADER_BYTES + buffer.readUInt32LE(at);
    const isSound =
      end <= buffer.length &&
      buffer.readUInt16LE(at + CHECKED_FROM) === VERSION &&
      crc32(buffer.subarray(at + CHECKED_FROM, end)) === buffer.readUInt32LE(at + CRC_AT);
    const count = frames.length + buffer.readUInt16LE(at + COUNT_AT);
    if (!isSound || (count > maxFrames && frames.length > 0)) break;
    for (let frameAt = at + CHUNK_HEADER_BYTES; frameAt < end;) {
      const frame = new Frame(buffer, view, frameAt);
      frames.push(frame);
      frameAt = frame.end;
    }
    at = end;
  }
  return { frames, end: at };
}
