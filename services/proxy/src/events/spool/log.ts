/**
 * A queue on disk: records are appended at the end and acknowledged from the start. Files of bounded
 * size; one whose records are all acknowledged is deleted.
 *
 * Guarantee: what `append` returned for survives the death of the process. `sync` makes it survive
 * the death of the machine. After a torn write, everything before it is there. Acknowledged records
 * may come again after a crash.
 *
 * All calls are synchronous: this lives in a thread of its own, and a write to the page cache takes
 * microseconds.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { messageOf, SockscopeError } from '@sockscope/runtime';
import { RECORD_HEADER_BYTES, RECORD_MAX_BYTES, recordsOf, scanRecords } from './records.js';

/** The disk refused: full, read-only, broken. What was given has not been taken. */
export class SpoolError extends SockscopeError {
  constructor(message: string, cause: unknown) {
    super('spool_io', `${message}: ${messageOf(cause)}`, { retryable: true, cause });
  }
}

export interface SpoolLog {
  /** Position of the first record that is not acknowledged. Positions only grow. */
  readonly start: number;
  /** Position behind the last record. */
  readonly end: number;
  /** Bytes on disk, acknowledged ones that are not deleted yet among them. */
  readonly diskBytes: number;
  /** Bytes lost to torn or broken records, found when opening or reading. */
  readonly lostBytes: number;
  /**
   * Appends all or nothing. Returns copies of the payloads, as they stand in the log.
   *
   * @throws SpoolError where the disk refuses.
   */
  append(payloads: readonly Uint8Array[]): Buffer[];
  /**
   * Reads whole records from a position on, at most so many and about so many bytes of them, and
   * at least one where there is one.
   *
   * @throws SpoolError where the disk refuses.
   */
  read(position: number, limits: ReadLimits): { payloads: Buffer[]; next: number };
  /** Everything before the position is done with. Kept on disk by `saveStart`. */
  acknowledge(position: number): void;
  /** Writes down where the first unacknowledged record is. A crash before it repeats records. */
  saveStart(): void;
  /** Forces appended records to the disk. */
  sync(): void;
  /** Closes the files; deletes them where everything is acknowledged. */
  close(): void;
}

export interface ReadLimits {
  readonly maxRecords: number;
  readonly maxBytes: number;
}

interface Segment {
  readonly file: string;
  readonly start: number;
  /** Bytes of sound records. */
  bytes: number;
  fd: number | null;
  /** Whether something was appended since the last `sync`. */
  isDirty: boolean;
}

const SEGMENT_SUFFIX = '.log';
const SEGMENT_NAME = /^(\d{16})\.log$/;
const START_FILE = 'start';
const READ_BYTES = 256 * 1024;

/**
 * Opens the log in a folder, which is made where it is missing. Who opens it must be the only one.
 *
 * @throws SpoolError where the disk refuses.
 */
export function openSpoolLog(config: {
  readonly dir: string;
  readonly segment_bytes: number;
}): SpoolLog {
  let lostBytes = 0;
  const segments: Segment[] = [];

  function fail(what: string, cause: unknown): never {
    throw new SpoolError(`${what} in ${config.dir}`, cause);
  }

  function load(): void {
    mkdirSync(config.dir, { recursive: true, mode: 0o700 });
    const starts = readdirSync(config.dir)
      .map((name) => SEGMENT_NAME.exec(name)?.[1])
      .filter((digits) => digits !== undefined)
      .map(Number)
      .toSorted((a, b) => a - b);
    for (const start of starts) {
      const file = fileOf(start);
      const { sound, total } = measure(file);
      lostBytes += total - sound;
      if (sound === 0) unlinkSync(file);
      else segments.push({ file, start, bytes: sound, fd: null, isDirty: false });
    }
  }

  function fileOf(start: number): string {
    return join(config.dir, `${String(start).padStart(16, '0')}${SEGMENT_SUFFIX}`);
  }

  /** A new file is begun after every opening, so a torn tail is never written behind. */
  function beginSegment(): Segment {
    const last = segments.at(-1);
    const startAt = last === undefined ? start : last.start + last.bytes;
    const file = fileOf(startAt);
    const fd = openSync(file, 'w+');
    const segment: Segment = { file, start: startAt, bytes: 0, fd, isDirty: false };
    segments.push(segment);
    active = segment;
    return segment;
  }

  function dropSegment(segment: Segment): void {
    if (segment.fd !== null) closeSync(segment.fd);
    segment.fd = null;
    unlinkSync(segment.file);
  }

  function dropAcknowledged(): void {
    for (;;) {
      const first = segments[0];
      if (first === undefined || first.start + first.bytes > start) return;
      // The one that is written to goes too where it has grown, so that it is not in the way of others.
      if (first === active && first.bytes < config.segment_bytes / 2) return;
      if (first === active) active = null;
      segments.shift();
      dropSegment(first);
    }
  }

  let active: Segment | null = null;
  try {
    load();
  } catch (error) {
    if (error instanceof SpoolError) throw error;
    fail('cannot open the spool', error);
  }
  const firstStart = segments[0]?.start ?? 0;
  const end = (): number => {
    const last = segments.at(-1);
    return last === undefined ? start : last.start + last.bytes;
  };
  const saved = loadStart(join(config.dir, START_FILE));
  let start = firstStart;
  let savedStart = saved;
  // A saved start beyond the end belongs to files that were deleted; one before it to older ones.
  start = segments.length === 0 ? (saved ?? 0) : Math.min(Math.max(saved ?? 0, firstStart), end());
  dropAcknowledged();

  return {
    get start() {
      return start;
    },
    get end() {
      return end();
    },
    get diskBytes() {
      let bytes = 0;
      for (const segment of segments) bytes += segment.bytes;
      return bytes;
    },
    get lostBytes() {
      return lostBytes;
    },
    append(payloads) {
      const buffer = recordsOf(payloads);
      try {
        const full = active !== null && active.bytes >= config.segment_bytes;
        const segment = active === null || full ? beginSegment() : active;
        if (full) dropAcknowledged();
        if (segment.fd === null) throw new Error('the file is closed');
        writeAll(segment.fd, buffer, segment.bytes);
        segment.bytes += buffer.length;
        segment.isDirty = true;
      } catch (error) {
        fail('cannot write', error);
      }
      return payloadsIn(buffer, payloads);
    },
    read(position, limits) {
      for (const segment of segments) {
        if (position >= segment.start + segment.bytes) continue;
        const from = Math.max(position, segment.start);
        try {
          const scan = readSegment(segment, from - segment.start, limits);
          if (scan.payloads.length > 0) {
            return { payloads: scan.payloads, next: from + scan.soundBytes };
          }
        } catch (error) {
          fail('cannot read', error);
        }
        // Sound when it was opened and broken now: the rest of the file cannot be told apart.
        lostBytes += segment.start + segment.bytes - from;
      }
      return { payloads: [], next: end() };
    },
    acknowledge(position) {
      start = Math.max(start, Math.min(position, end()));
      try {
        dropAcknowledged();
      } catch (error) {
        fail('cannot delete', error);
      }
    },
    saveStart() {
      if (start === savedStart) return;
      try {
        saveStart(join(config.dir, START_FILE), start);
        savedStart = start;
      } catch (error) {
        fail('cannot write', error);
      }
    },
    sync() {
      try {
        for (const segment of segments) {
          if (!segment.isDirty || segment.fd === null) continue;
          fdatasyncSync(segment.fd);
          segment.isDirty = false;
        }
      } catch (error) {
        fail('cannot sync', error);
      }
    },
    close() {
      try {
        try {
          saveStart(join(config.dir, START_FILE), start);
        } finally {
          const isDone = start === end();
          for (const segment of segments) {
            if (isDone) dropSegment(segment);
            else if (segment.fd !== null) closeSync(segment.fd);
          }
          if (isDone) segments.length = 0;
        }
      } catch (error) {
        fail('cannot close the spool', error);
      }
    },
  };
}

/** The payloads as views into the records that were just made of them. */
function payloadsIn(buffer: Buffer, payloads: readonly Uint8Array[]): Buffer[] {
  let end = 0;
  return payloads.map(({ length }) => {
    const start = end + RECORD_HEADER_BYTES;
    end = start + length;
    return buffer.subarray(start, end);
  });
}

/** Reads from an offset of a file on; a larger piece where a single record does not fit. */
function readSegment(
  segment: Segment,
  offset: number,
  limits: ReadLimits,
): { payloads: Buffer[]; soundBytes: number } {
  const fd = segment.fd ?? openSync(segment.file, 'r');
  segment.fd = fd;
  const available = segment.bytes - offset;
  const atLeast = RECORD_HEADER_BYTES + RECORD_MAX_BYTES;
  const buffer = Buffer.allocUnsafe(Math.min(available, Math.max(limits.maxBytes, atLeast)));
  const bytes = readAll(fd, buffer, offset);
  const scan = scanRecords(buffer.subarray(0, bytes), { maxRecords: limits.maxRecords });
  return { payloads: scan.payloads, soundBytes: scan.soundBytes };
}

/** How much of a file is sound records, and how large it is. */
function measure(file: string): { sound: number; total: number } {
  const fd = openSync(file, 'r');
  try {
    const total = fstatSync(fd).size;
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    let sound = 0;
    for (;;) {
      const bytes = readAll(fd, buffer, sound);
      const scan = scanRecords(buffer.subarray(0, bytes));
      sound += scan.soundBytes;
      if (scan.end === 'torn' || bytes < buffer.length || scan.soundBytes === 0) {
        return { sound, total };
      }
    }
  } finally {
    closeSync(fd);
  }
}

function readAll(fd: number, buffer: Buffer, position: number): number {
  let at = 0;
  while (at < buffer.length) {
    const bytes = readSync(fd, buffer, at, buffer.length - at, position + at);
    if (bytes === 0) break;
    at += bytes;
  }
  return at;
}

/** All or nothing: what a full disk took of it is cut off again. */
export function writeAll(fd: number, buffer: Buffer, position: number): void {
  let at = 0;
  try {
    while (at < buffer.length) {
      at += writeSync(fd, buffer, at, buffer.length - at, position + at);
    }
  } catch (error) {
    ftruncateSync(fd, position);
    throw error;
  }
}

/** A position as one checked record, overwritten in place: smaller than any disk's sector. */
function saveStart(file: string, position: number): void {
  const payload = Buffer.allocUnsafe(8);
  payload.writeDoubleLE(position);
  const fd = openSync(file, existsSync(file) ? 'r+' : 'w');
  try {
    writeAll(fd, recordsOf([payload]), 0);
  } finally {
    closeSync(fd);
  }
}

function loadStart(file: string): number | null {
  if (!existsSync(file)) return null;
  const fd = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(RECORD_HEADER_BYTES + 8);
    readAll(fd, buffer, 0);
    const position = scanRecords(buffer).payloads[0]?.readDoubleLE();
    return position !== undefined && Number.isSafeInteger(position) && position >= 0
      ? position
      : null;
  } finally {
    closeSync(fd);
  }
}
