/**
 * The way from the thread that moves traffic to the one that publishes: chunks of frames in files.
 * The first writes them to the page cache, which takes microseconds and wakes nobody; the second
 * looks every few milliseconds, and deletes what it has taken.
 *
 * Guarantee: what `write` took survives the death of the process, whatever the other thread is doing.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  unlinkSync,
  writevSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { SpoolError } from './log.js';
import { RECORD_HEADER_BYTES, scanRecords } from './records.js';

/** A file is left for the next one beyond this size: what a crash may repeat. */
const SEGMENT_BYTES = 1024 ** 2;
/** Of one chunk; far above what a frame writer gathers. */
const CHUNK_MAX_BYTES = 1024 ** 2;
const READ_BYTES = 256 * 1024;
const NAME = /^(\d{16})\.chunks$/;

function fileOf(dir: string, start: number): string {
  return join(dir, `${String(start).padStart(16, '0')}.chunks`);
}

/** Used by the thread that moves traffic. */
export class IntakeWriter {
  /** Bytes written since the start. */
  position = 0;
  #segmentStart = 0;
  #fd: number | null = null;
  readonly #header = Buffer.alloc(RECORD_HEADER_BYTES);

  /** @param dir exists and holds nothing of an earlier run. */
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Appends a chunk.
   *
   * @throws SpoolError where the disk refuses; nothing was taken then.
   */
  write(chunk: Uint8Array): void {
    try {
      const fd = this.#file();
      this.#header.writeUInt32LE(chunk.length, 0);
      this.#header.writeUInt32LE(crc32(chunk), 4);
      const offset = this.position - this.#segmentStart;
      const bytes = RECORD_HEADER_BYTES + chunk.length;
      if (writevSync(fd, [this.#header, chunk], offset) !== bytes) {
        ftruncateSync(fd, offset);
        throw new Error('the disk took a part only');
      }
      this.position += bytes;
    } catch (error) {
      throw new SpoolError(`cannot write in ${this.#dir}`, error);
    }
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #file(): number {
    if (this.#fd !== null && this.position - this.#segmentStart < SEGMENT_BYTES) return this.#fd;
    const next = openSync(fileOf(this.#dir, this.position), 'w');
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = next;
    this.#segmentStart = this.position;
    return next;
  }
}

/** Used by the thread that publishes. */
export class IntakeReader {
  /** Bytes taken since the start. */
  position = 0;
  #segmentStart = 0;
  #fd: number | null = null;

  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Hands over all chunks up to a position that the writer has reached, and deletes the files that
   * are done with.
   *
   * @throws SpoolError where the disk refuses or does not hold what was written; what was handed over
   *   before does not come again.
   */
  take(upTo: number, accept: (chunks: readonly Buffer[]) => void): void {
    try {
      while (this.position < upTo) {
        this.#fd ??= openSync(fileOf(this.#dir, this.#segmentStart), 'r');
        const offset = this.position - this.#segmentStart;
        const bytes = this.#read(this.#fd, offset, upTo - this.position);
        if (bytes.length === 0) {
          this.#dropSegment();
          continue;
        }
        const scan = scanRecords(bytes, { recordMaxBytes: CHUNK_MAX_BYTES });
        if (scan.soundBytes === 0) throw new Error(`no whole chunk at ${this.position}`);
        // Before they are handed over, so that a failure there cannot bring them again.
        this.position += scan.soundBytes;
        accept(scan.payloads);
      }
    } catch (error) {
      throw error instanceof SpoolError
        ? error
        : new SpoolError(`cannot read in ${this.#dir}`, error);
    }
  }

  /** Gives up what lies before a position that the writer has reached: the disk lost it. */
  skip(upTo: number): void {
    this.close();
    this.position = upTo;
    this.#segmentStart = leftFiles(this.#dir).findLast((start) => start <= upTo) ?? upTo;
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  /** At least one whole chunk, where the file holds more. */
  #read(fd: number, offset: number, available: number): Buffer {
    const size = Math.min(available, Math.max(READ_BYTES, CHUNK_MAX_BYTES + RECORD_HEADER_BYTES));
    const buffer = Buffer.allocUnsafe(size);
    const bytes = readSync(fd, buffer, 0, size, offset);
    return buffer.subarray(0, bytes);
  }

  #dropSegment(): void {
    if (this.position === this.#segmentStart) throw new Error('a file is empty');
    this.close();
    const done = fileOf(this.#dir, this.#segmentStart);
    this.#segmentStart = this.position;
    // Whoever removed it before us did no harm: all of it has been taken.
    rmSync(done, { force: true });
  }
}

/**
 * What a dead process wrote and nobody took, in order; some of it may have been taken. Ends each file
 * where it is torn.
 *
 * @throws SpoolError where the disk refuses.
 */
export function* leftChunks(dir: string): Generator<Buffer, void, undefined> {
  for (const start of leftFiles(dir)) {
    let content: Buffer;
    try {
      content = readFileSync(fileOf(dir, start));
    } catch (error) {
      throw new SpoolError(`cannot read in ${dir}`, error);
    }
    yield* scanRecords(content, { recordMaxBytes: CHUNK_MAX_BYTES }).payloads;
  }
}

/** Makes the folder, or empties it. */
export function clearIntake(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const start of leftFiles(dir)) unlinkSync(fileOf(dir, start));
  } catch (error) {
    throw new SpoolError(`cannot empty ${dir}`, error);
  }
}

function leftFiles(dir: string): number[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .map((name) => NAME.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .toSorted((a, b) => a - b);
}
