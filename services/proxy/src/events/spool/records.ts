/**
 * The format of everything that the spool writes: records of a length, a checksum and bytes, one
 * behind the other. A write that was cut short, by a crash or by a full disk, leaves a tail that does
 * not check out, and reading ends there.
 */
import { crc32 } from 'node:zlib';

export const RECORD_HEADER_BYTES = 8;
/** Larger than any record of the log and the journal; a length beyond it is garbage. */
export const RECORD_MAX_BYTES = 64 * 1024;

/** Writes a record at `offset`; returns the offset behind it. */
export function writeRecord(buffer: Buffer, offset: number, payload: Uint8Array): number {
  buffer.writeUInt32LE(payload.length, offset);
  buffer.writeUInt32LE(crc32(payload), offset + 4);
  buffer.set(payload, offset + RECORD_HEADER_BYTES);
  return offset + RECORD_HEADER_BYTES + payload.length;
}

/** The records of several payloads as one buffer, to be written at once. */
export function recordsOf(payloads: readonly Uint8Array[]): Buffer {
  let bytes = 0;
  for (const payload of payloads) bytes += RECORD_HEADER_BYTES + payload.length;
  const buffer = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const payload of payloads) at = writeRecord(buffer, at, payload);
  return buffer;
}

export interface RecordScan {
  /** Views into the scanned buffer. */
  readonly payloads: Buffer[];
  /** Bytes of whole, sound records from the start of the buffer. */
  readonly soundBytes: number;
  /** `torn`: what follows cannot become a record by reading on. */
  readonly end: 'clean' | 'more' | 'torn';
}

/** Reads whole records from the start of a buffer. */
export function scanRecords(
  buffer: Buffer,
  limits: {
    /** As many records at most. */
    readonly maxRecords?: number;
    /** Of one record; a length beyond it is garbage. */
    readonly recordMaxBytes?: number;
  } = {},
): RecordScan {
  const maxRecords = limits.maxRecords ?? Number.POSITIVE_INFINITY;
  const recordMaxBytes = limits.recordMaxBytes ?? RECORD_MAX_BYTES;
  const payloads: Buffer[] = [];
  let at = 0;
  while (payloads.length < maxRecords) {
    if (at === buffer.length) return { payloads, soundBytes: at, end: 'clean' };
    if (at + RECORD_HEADER_BYTES > buffer.length) break;
    const length = buffer.readUInt32LE(at);
    if (length === 0 || length > recordMaxBytes) {
      return { payloads, soundBytes: at, end: 'torn' };
    }
    const start = at + RECORD_HEADER_BYTES;
    if (start + length > buffer.length) break;
    const payload = buffer.subarray(start, start + length);
    if (crc32(payload) !== buffer.readUInt32LE(at + 4)) {
      return { payloads, soundBytes: at, end: 'torn' };
    }
    payloads.push(payload);
    at = start + length;
  }
  return { payloads, soundBytes: at, end: 'more' };
}
