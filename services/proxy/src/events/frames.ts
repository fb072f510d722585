/** How events travel from the proxy's thread to the publishing one: many in one chunk. */
import type { SessionEvent } from '@sockscope/schemas';
import { MINUTE_MS } from '@sockscope/schemas';
import { encodeEvent } from './encode.generated.js';
import { READING_MAX_BYTES, writeReading } from './reading.js';
import type { SessionReading } from './reading.js';

export const FRAME_KINDS = ['started', 'delta', 'final_delta', 'closed', 'reading'] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

export interface Frame {
  /** `final_delta`: its interval ends with the minute, so none of that minute can follow it. */
  readonly kind: FrameKind;
  /** The UTC minute that its `minute` counters belong to, in minutes since 1970; 0 for `started`. */
  readonly minute: number;
  readonly payload: Buffer;
}

/** kind, three unused bytes, minute, length of the payload. */
const HEADER_BYTES = 12;
const CHUNK_BYTES = 64 * 1024;
/** A character takes up to three bytes of UTF-8 (a pair of surrogates four). */
const BYTES_PER_CHARACTER = 3;

/** Gathers frames and hands over what has come together. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #used = 0;

  /** @param handOver gets a chunk, to be read or copied at once: its memory is used again. */
  constructor(private readonly handOver: (chunk: Uint8Array) => void) {}

  event(event: SessionEvent): void {
    const text = encodeEvent(event);
    const buffer = this.#room(text.length * BYTES_PER_CHARACTER);
    const start = this.#used + HEADER_BYTES;
    const bytes = buffer.write(text, start);
    switch (event.type) {
      case 'SessionStarted':
        this.#header(buffer, 'started', 0, bytes);
        break;
      case 'TrafficDelta': {
        const isFinal =
          event.interval_end.endsWith(':00.000Z') && event.interval_end !== event.interval_start;
        this.#header(
          buffer,
          isFinal ? 'final_delta' : 'delta',
          minuteOf(event.interval_start),
          bytes,
        );
        break;
      }
      case 'SessionClosed':
        this.#header(buffer, 'closed', minuteOf(event.interval_start), bytes);
        break;
    }
  }

  reading(reading: SessionReading): void {
    const buffer = this.#room(READING_MAX_BYTES);
    const start = this.#used + HEADER_BYTES;
    const bytes = writeReading(buffer, start, reading) - start;
    this.#header(buffer, 'reading', Math.floor(reading.interval_start_ms / MINUTE_MS), bytes);
  }

  /** Hands over what has been written since the last time, where there is something. */
  flush(): void {
    if (this.#used === 0) return;
    const chunk = this.#buffer.subarray(0, this.#used);
    this.#used = 0;
    this.handOver(chunk);
  }

  #room(bytes: number): Buffer {
    const needed = HEADER_BYTES + bytes;
    if (this.#used + needed > this.#buffer.length) {
      this.flush();
      if (needed > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(needed);
    }
    return this.#buffer;
  }

  #header(buffer: Buffer, kind: FrameKind, minute: number, bytes: number): void {
    buffer[this.#used] = FRAME_KINDS.indexOf(kind);
    buffer.writeUInt32LE(minute, this.#used + 4);
    buffer.writeUInt32LE(bytes, this.#used + 8);
    this.#used += HEADER_BYTES + bytes;
  }
}

/** The frames of some chunks, in their order. Payloads are views into the chunks. */
export function* framesOf(...chunks: readonly Uint8Array[]): Generator<Frame, void, undefined> {
  for (const chunk of chunks) {
    const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    for (let at = 0; at + HEADER_BYTES <= buffer.length;) {
      const kind = FRAME_KINDS[buffer[at] ?? -1];
      if (kind === undefined) throw new Error(`frame of unknown kind at ${at}`);
      const minute = buffer.readUInt32LE(at + 4);
      const end = at + HEADER_BYTES + buffer.readUInt32LE(at + 8);
      yield { kind, minute, payload: buffer.subarray(at + HEADER_BYTES, end) };
      at = end;
    }
  }
}

/** The minute of the last timestamp, by its text up to the minute: most are of the same one. */
let knownText = '';
let knownMinute = 0;
const TO_THE_MINUTE = '2026-01-31T23:59'.length;

function minuteOf(timestamp: string): number {
  const text = timestamp.slice(0, TO_THE_MINUTE);
  if (text !== knownText) {
    knownText = text;
    knownMinute = Math.floor(Date.parse(timestamp) / MINUTE_MS);
  }
  return knownMinute;
}
