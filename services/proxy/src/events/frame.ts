/**
 * The format of the log: one frame for each event, one behind the other. A frame's header has all that
 * the way to Kafka needs, so that nobody parses JSON again.
 *
 * | bytes | content                                                   |
 * | ----- | --------------------------------------------------------- |
 * | 0     | length of the event                                       |
 * | 4     | CRC-32 of all that follows                                |
 * | 8     | version of this format, kind of the event, two zeros      |
 * | 12    | `seq`                                                     |
 * | 16    | `occurred_at`, as text                                    |
 * | 40    | `session_id`, as text                                     |
 * | 76    | the event, as JSON                                        |
 *
 * A write that was cut short leaves a tail that does not check out, and reading ends there.
 */
import { crc32 } from 'node:zlib';
import { EVENT_LIMITS, SESSION_EVENT_TYPES } from '@sockscope/schemas';
import type { SessionEventType } from '@sockscope/schemas';
import { putEvent } from './encode.generated.js';
import type { EventParts } from './event-parts.js';
import { put } from './json-bytes.js';

const CRC_AT = 4;
const CHECKED_FROM = 8;
const KIND_AT = 9;
const SEQ_AT = 12;
export const TIME_AT = 16;
export const ID_AT = 40;
export const FRAME_HEADER_BYTES = 76;
/** A longer one is garbage: ingest would refuse it. */
export const FRAME_MAX_BYTES = FRAME_HEADER_BYTES + EVENT_LIMITS.event_bytes;
const VERSION = 1;

const CHUNK_BYTES = 64 * 1024;

/** Gathers frames until they are taken. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #used = 0;

  /** Bytes that wait to be taken. */
  get bytes(): number {
    return this.#used;
  }

  /** True if enough has been gathered to be taken. */
  get isFull(): boolean {
    return this.#used >= CHUNK_BYTES - FRAME_MAX_BYTES;
  }

  add(event: EventParts): void {
    const { seq, occurred_at, session_id } = event.moment;
    const start = this.#used;
    if (start + FRAME_MAX_BYTES > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(2 * this.#buffer.length);
      this.#buffer.copy(larger, 0, 0, start);
      this.#buffer = larger;
    }
    const buffer = this.#buffer;
    const end = putEvent(buffer, start + FRAME_HEADER_BYTES, event);
    buffer.writeUInt32LE(end - start - FRAME_HEADER_BYTES, start);
    buffer[start + CHECKED_FROM] = VERSION;
    buffer[start + KIND_AT] = SESSION_EVENT_TYPES.indexOf(event.type);
    buffer.writeUInt16LE(0, start + KIND_AT + 1);
    buffer.writeUInt32LE(seq, start + SEQ_AT);
    put(buffer, start + TIME_AT, occurred_at);
    put(buffer, start + ID_AT, session_id);
    buffer.writeUInt32LE(crc32(buffer.subarray(start + CHECKED_FROM, end)), start + CRC_AT);
    this.#used = end;
  }

  /** All that has come together. Its memory is used again: read or copy it at once. */
  take(): Buffer {
    const chunk = this.#buffer.subarray(0, this.#used);
    this.#used = 0;
    return chunk;
  }
}

/** The event as JSON, in memory of its own. */
export function encodeEvent(event: EventParts): Buffer {
  return Buffer.from(scratch.subarray(0, putEvent(scratch, 0, event)));
}

const scratch = Buffer.allocUnsafeSlow(EVENT_LIMITS.event_bytes);

/** An event as it stands in the log: a view into the bytes that were read. */
export class Frame {
  readonly buffer: Buffer;
  readonly at: number;

  constructor(buffer: Buffer, at: number) {
    this.buffer = buffer;
    this.at = at;
  }

  get kind(): number {
    return this.buffer[this.at + KIND_AT] ?? 0;
  }

  get type(): SessionEventType {
    return SESSION_EVENT_TYPES[this.kind] ?? 'SessionStarted';
  }

  get seq(): number {
    return this.buffer.readUInt32LE(this.at + SEQ_AT);
  }

  get occurredAtMs(): number {
    return Date.parse(this.buffer.toString('latin1', this.at + TIME_AT, this.at + ID_AT));
  }

  get sessionId(): string {
    return this.buffer.toString('latin1', this.at + ID_AT, this.at + FRAME_HEADER_BYTES);
  }

  /** The event as JSON. */
  get payload(): Buffer {
    return this.buffer.subarray(this.at + FRAME_HEADER_BYTES, this.end);
  }

  /** Offset behind it. */
  get end(): number {
    return this.at + FRAME_HEADER_BYTES + this.buffer.readUInt32LE(this.at);
  }
}

/** Reads whole, sound frames from the start of a buffer, as many as `maxFrames`. */
export function scanFrames(buffer: Buffer, maxFrames = Number.POSITIVE_INFINITY): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; frames.length < maxFrames && at + FRAME_HEADER_BYTES <= buffer.length;) {
    const end = at + FRAME_HEADER_BYTES + buffer.readUInt32LE(at);
    const isSound =
      end <= buffer.length &&
      end - at <= FRAME_MAX_BYTES &&
      buffer[at + CHECKED_FROM] === VERSION &&
      (buffer[at + KIND_AT] ?? SESSION_EVENT_TYPES.length) < SESSION_EVENT_TYPES.length &&
      crc32(buffer.subarray(at + CHECKED_FROM, end)) === buffer.readUInt32LE(at + CRC_AT);
    if (!isSound) break;
    frames.push(new Frame(buffer, at));
    at = end;
  }
  return frames;
}
