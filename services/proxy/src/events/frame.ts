/**
 * The format of the log: chunks, one behind the other, of one frame for each event. Its header, and the places that
 * its time and its id always have, are all that the way to Kafka needs, so that nobody parses JSON again.
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
 * | 0                | length of the event                                |
 * | 4                | kind of the event, three zeros                     |
 * | 8                | `seq`                                              |
 * | 12               | the event, as JSON                                 |
 *
 * A write that was cut short leaves a chunk that does not check out, and reading ends there. One checksum for the
 * events of some milliseconds takes a fraction of the time of one for each.
 */
import { crc32 } from 'node:zlib';
import { EVENT_LIMITS, SCHEMA_VERSION, SESSION_EVENT_TYPES } from '@sockscope/schemas';
import type { SessionEventType } from '@sockscope/schemas';
import { putEvent } from './encode.generated.js';
import type { EventParts } from './event-parts.js';

const CRC_AT = 4;
const CHECKED_FROM = 8;
const COUNT_AT = 10;
const CHUNK_HEADER_BYTES = 12;
const VERSION = 2;

const KIND_AT = 4;
const SEQ_AT = 8;
export const FRAME_HEADER_BYTES = 12;
const FRAME_MAX_BYTES = FRAME_HEADER_BYTES + EVENT_LIMITS.event_bytes;

/** The place of `occurred_at` in a frame of each kind, and of `session_id` behind it, as the encoder writes them. */
const TIME_AT = SESSION_EVENT_TYPES.map(
  (type) =>
    FRAME_HEADER_BYTES +
    `{"type":"${type}","schema_version":${SCHEMA_VERSION},"occurred_at":"`.length,
);
export const TIME_LENGTH = '2026-01-31T12:00:00.000Z'.length;
const ID_BEHIND_TIME = TIME_LENGTH + '","session_id":"'.length;
export const ID_LENGTH = 36;

/** The largest chunk of the log. */
export const CHUNK_MAX_BYTES = 64 * 1024;
export const CHUNK_MAX_FRAMES = 100;

/** Gathers frames until they are taken. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafeSlow(CHUNK_MAX_BYTES);
  #used = 0;
  #count = 0;

  /** Bytes that wait to be taken. */
  get bytes(): number {
    return this.#used;
  }

  /** True if enough has been gathered to be taken. */
  get isFull(): boolean {
    return this.#count >= CHUNK_MAX_FRAMES || this.#used >= CHUNK_MAX_BYTES - FRAME_MAX_BYTES;
  }

  add(event: EventParts): void {
    const start = Math.max(this.#used, CHUNK_HEADER_BYTES);
    if (start + FRAME_MAX_BYTES > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(2 * this.#buffer.length);
      this.#buffer.copy(larger, 0, 0, start);
      this.#buffer = larger;
    }
    const buffer = this.#buffer;
    const end = putEvent(buffer, start + FRAME_HEADER_BYTES, event);
    buffer.writeUInt32LE(end - start - FRAME_HEADER_BYTES, start);
    buffer.writeUInt32LE(SESSION_EVENT_TYPES.indexOf(event.type), start + KIND_AT);
    buffer.writeUInt32LE(event.moment.seq, start + SEQ_AT);
    this.#used = end;
    this.#count += 1;
  }

  /** All that has come together, as a chunk. Its memory is used again: read or copy it at once. */
  take(): Buffer {
    const chunk = this.#buffer.subarray(0, this.#used);
    if (this.#count > 0) {
      chunk.writeUInt32LE(chunk.length - CHUNK_HEADER_BYTES, 0);
      chunk.writeUInt16LE(VERSION, CHECKED_FROM);
      chunk.writeUInt16LE(this.#count, COUNT_AT);
      chunk.writeUInt32LE(crc32(chunk.subarray(CHECKED_FROM)), CRC_AT);
    }
    this.#used = 0;
    this.#count = 0;
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

  /** Offset of `occurred_at`, as text. */
  get timeAt(): number {
    return this.at + (TIME_AT[this.kind] ?? 0);
  }

  /** Offset of `session_id`, as text. */
  get idAt(): number {
    return this.timeAt + ID_BEHIND_TIME;
  }

  get occurredAtMs(): number {
    return Date.parse(this.buffer.toString('latin1', this.timeAt, this.timeAt + TIME_LENGTH));
  }

  get sessionId(): string {
    return this.buffer.toString('latin1', this.idAt, this.idAt + ID_LENGTH);
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

/**
 * Reads whole, sound chunks from the start of a buffer: as many as fit into `maxFrames`, at least one. Their frames
 * are appended to others, which count too. `end` is the offset behind the chunks.
 */
export function scanChunks(
  buffer: Buffer,
  maxFrames = Number.POSITIVE_INFINITY,
  frames: Frame[] = [],
): { frames: Frame[]; end: number } {
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
      const frame = new Frame(buffer, frameAt);
      frames.push(frame);
      frameAt = frame.end;
    }
    at = end;
  }
  return { frames, end: at };
}
