/**
 * The log of one proxy: files of chunks (frame.ts), named by the position at which they begin. A file's
 * size is the distance to the next one, so positions need no table, and a torn file
 * damages no other one.
 *
 * Guarantee: data survives the death of the process once `append` has returned. A file that is left for the next
 * one is never written to again; it survives the death of the machine once `syncLeft` has forced it to disk.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { CHUNK_MAX_BYTES, scanChunks } from '../frame.js';
import type { Frame } from '../frame.js';
import { appendAll, isMissing, onDisk, readAll, syncLater, syncPath } from './files.js';

const NAME = /^(\d{16})\.frames$/;
const SEGMENT_MAX_BYTES = 4 * 1024 ** 2;
const SEGMENT_MIN_BYTES = 64 * 1024;

/** Files of at most a sixteenth of the whole, so that a small spool can free its room too. */
export function segmentBytes(spoolMaxBytes: number): number {
  return Math.min(SEGMENT_MAX_BYTES, Math.max(SEGMENT_MIN_BYTES, Math.floor(spoolMaxBytes / 16)));
}

function fileOf(dir: string, start: number): string {
  return join(dir, `${String(start).padStart(16, '0')}.frames`);
}

/** Returns the first positions of a log's files, in order; empty if there is no folder. */
export function segmentsOf(dir: string): number[] {
  const names = onDisk(`read ${dir}`, () => {
    try {
      return readdirSync(dir);
    } catch (error) {
      // A folder that cannot be read is not an empty one: its events would be lost.
      if (isMissing(error)) return [];
      throw error;
    }
  });
  return names
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .toSorted()
    .map(Number);
}

/** Position behind the last file of a log; 0 if there is none. */
export function endOf(dir: string): number {
  const last = segmentsOf(dir).at(-1);
  return onDisk(`read ${dir}`, () =>
    last === undefined ? 0 : last + statSync(fileOf(dir, last)).size,
  );
}

/** Used by the thread that moves traffic: it appends, and waits for no disk. */
export class LogWriter {
  readonly #dir: string;
  readonly #segmentBytes: number;
  #position: number;
  #segmentStart = 0;
  #fd: number | null = null;

  /** @param position behind all that is there. Creates the folder if it is missing. */
  constructor(dir: string, position: number, bytesPerSegment: number) {
    this.#dir = dir;
    this.#position = position;
    this.#segmentBytes = bytesPerSegment;
    onDisk(`make ${dir}`, () => mkdirSync(dir, { recursive: true, mode: 0o700 }));
  }

  /** Position behind the last frame. */
  get position(): number {
    return this.#position;
  }

  /**
   * Appends whole chunks, all or nothing.
   *
   * @throws SpoolError if the disk refuses.
   */
  append(chunk: Uint8Array): void {
    onDisk(`write in ${this.#dir}`, () => {
      if (this.#position - this.#segmentStart >= this.#segmentBytes) this.leave();
      if (this.#fd === null) {
        this.#fd = openSync(fileOf(this.#dir, this.#position), 'w', 0o600);
        this.#segmentStart = this.#position;
      }
      appendAll(this.#fd, chunk, this.#position - this.#segmentStart);
      this.#position += chunk.length;
    });
  }

  /** Leaves the file that is written to: the next event begins another one. */
  leave(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  /** Forces all files of the log to disk; for threads that may block. */
  sync(): void {
    for (const start of segmentsOf(this.#dir)) syncPath(fileOf(this.#dir, start));
    syncPath(this.#dir);
    syncPath(dirname(this.#dir));
  }
}

/** The number of no file. */
const NONE = -1;

export interface ReadLimits {
  readonly maxFrames: number;
  readonly maxBytes: number;
}

/** Used by the thread that publishes: it follows the log, and deletes published files. */
export class LogReader {
  readonly #dir: string;
  /** The file that was read last and its first position. It is read on even if somebody deletes it. */
  #fd = NONE;
  #start = 0;
  /** Files behind it when the folder was listed last, the last one first. An outage can leave one for each second. */
  #ahead: number[] = [];
  /** Files that nobody wrote to at the last look, in their order, and their end at the look before. */
  #closed: { start: number; stop: number }[] = [];
  #knownEnd = 0;
  #syncedTo = 0;
  #isOver = false;
  /** Used again by each read. */
  #buffer = Buffer.alloc(0);
  #lostBytes = 0;

  constructor(dir: string) {
    this.#dir = dir;
    this.look();
  }

  /** Bytes that did not check out: torn by a crash, or broken. */
  get lostBytes(): number {
    return this.#lostBytes;
  }

  /** Nobody writes to the log any more: its last file may be synced and deleted too. */
  end(): void {
    this.#isOver = true;
    this.look();
  }

  /** Looks which files are closed: these can be synced and deleted. */
  look(): void {
    const starts = segmentsOf(this.#dir);
    const stops = this.#isOver ? [...starts.slice(1), endOf(this.#dir)] : starts.slice(1);
    this.#knownEnd = this.#isOver ? Number.POSITIVE_INFINITY : (this.#closed.at(-1)?.stop ?? 0);
    this.#closed = starts
      .slice(0, stops.length)
      .map((start, i) => ({ start, stop: stops[i] ?? start }));
  }

  /**
   * Reads the frames of whole chunks from a position, over several files if they are small; of at least one
   * chunk if there is one before `end`. They are valid until the next read.
   *
   * @param end how far the log was written when this was called.
   * @throws SpoolError if the disk refuses.
   */
  read(position: number, end: number, limits: ReadLimits): { frames: Frame[]; next: number } {
    return onDisk(`read in ${this.#dir}`, () => {
      const most = Math.max(limits.maxBytes, CHUNK_MAX_BYTES);
      if (this.#buffer.length < most) this.#buffer = Buffer.allocUnsafeSlow(most);
      const frames: Frame[] = [];
      let used = 0;
      let at = position;
      while (at < end && used < most && frames.length < limits.maxFrames) {
        const { start, stop } = this.#segmentAt(at, end);
        if (start <= at) {
          const room = this.#buffer.subarray(used, Math.min(used + stop - at, most));
          const bytes = readAll(this.#fd, room, at - start);
          const taken = scanChunks(room.subarray(0, bytes), limits.maxFrames, frames).end;
          used += taken;
          at += taken;
          if (at === stop) continue;
          if (frames.length > 0) break;
        }
        // Behind a broken chunk, the rest of its file cannot be split into chunks; the next file is whole.
        const next = start > at ? start : stop;
        this.#lostBytes += next - at;
        at = next;
      }
      return { frames, next: at };
    });
  }

  /** Skips unreadable bytes: everything up to the next file. Returns where that begins. */
  skip(position: number, end: number): number {
    this.close();
    const next = segmentsOf(this.#dir).find((start) => start > position && start < end) ?? end;
    this.#lostBytes += next - position;
    return next;
  }

  /**
   * Syncs closed files from a position on. An event that has not waited since the look before is about to be
   * acknowledged, and need not go to disk at all, unless the log is over.
   */
  async syncLeft(position: number): Promise<void> {
    const from = Math.max(position, this.#syncedTo);
    const left = this.#closed.filter(({ stop }) => stop > from && stop <= this.#knownEnd);
    for (const { start, stop } of left) {
      await syncLater(fileOf(this.#dir, start));
      this.#syncedTo = stop;
    }
    if (left.length > 0) syncPath(this.#dir);
  }

  /** Whether a closed file lies wholly before a position. */
  canFree(position: number): boolean {
    return (this.#closed[0]?.stop ?? Number.POSITIVE_INFINITY) <= position;
  }

  /** Deletes closed files before a position, with a limit. Returns where the log begins now. */
  free(position: number, most = Number.POSITIVE_INFINITY): number {
    const free = this.#closed.filter(({ stop }) => stop <= position).slice(0, most);
    this.#closed = this.#closed.slice(free.length);
    for (const { start } of free) {
      // A file that is open keeps its room on the disk.
      if (start === this.#start) this.close();
      onDisk(`delete in ${this.#dir}`, () => {
        unlinkSync(fileOf(this.#dir, start));
      });
    }
    return free.at(-1)?.stop ?? segmentsOf(this.#dir)[0] ?? position;
  }

  close(): void {
    if (this.#fd !== NONE) closeSync(this.#fd);
    this.#fd = NONE;
  }

  /** End of the open file. */
  get #stop(): number {
    return this.#fd === NONE ? 0 : this.#start + fstatSync(this.#fd).size;
  }

  /** Opens the file that holds a position, or else the next one; both bounds are `end` if there is none. */
  #segmentAt(position: number, end: number): { start: number; stop: number } {
    if (position < this.#start || this.#fd === NONE) this.#ahead = [];
    for (let hasListed = false; position < this.#start || position >= this.#stop;) {
      if (this.#ahead.length === 0 && !hasListed) {
        const starts = segmentsOf(this.#dir);
        const first = starts.findLastIndex((start) => start <= position);
        this.#ahead = starts.slice(Math.max(0, first)).toReversed();
        hasListed = true;
      }
      const start = this.#ahead.at(-1);
      if (start === undefined || start >= end) return { start: end, stop: end };
      this.close();
      this.#fd = openSync(fileOf(this.#dir, start), 'r');
      this.#start = start;
      this.#ahead.pop();
      if (start > position) break;
    }
    return { start: this.#start, stop: Math.min(this.#stop, end) };
  }
}
