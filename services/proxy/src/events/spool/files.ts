import {
  closeSync,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { messageOf, SockscopeError } from '@sockscope/runtime';

const fdatasyncLater = promisify(fdatasync);

/** The disk refused: full, read-only, broken. The data was not written. */
export class SpoolError extends SockscopeError {
  constructor(message: string, cause: unknown) {
    super('spool_io', `${message}: ${messageOf(cause)}`, { retryable: true, cause });
  }

  /** Whether the machine lacked something, rather than the disk. */
  get isShortage(): boolean {
    return ['EMFILE', 'ENFILE', 'ENOMEM'].includes(String(codeOf(this.cause)));
  }
}

/**
 * Returns the result of a step that the disk may refuse.
 *
 * @param what completes "cannot …".
 * @throws SpoolError if it refuses.
 */
export function onDisk<T>(what: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw error instanceof SpoolError ? error : new SpoolError(`cannot ${what}`, error);
  }
}

/** Fills a buffer from a position of a file on; returns how many bytes there were. */
export function readAll(fd: number, buffer: Buffer, position: number): number {
  let at = 0;
  while (at < buffer.length) {
    const bytes = readSync(fd, buffer, at, buffer.length - at, position + at);
    if (bytes === 0) break;
    at += bytes;
  }
  return at;
}

/** Appends all or nothing: a part that a full disk took is cut off again. */
export function appendAll(fd: number, buffer: Uint8Array, position: number): void {
  try {
    writeAll(fd, buffer, position);
  } catch (error) {
    ftruncateSync(fd, position);
    throw error;
  }
}

export function writeAll(fd: number, buffer: Uint8Array, position: number): void {
  let at = 0;
  while (at < buffer.length) {
    at += writeSync(fd, buffer, at, buffer.length - at, position + at);
  }
}

/**
 * Makes a file, or the creations, renamings and deletions in a folder, survive the death of the machine.
 *
 * @throws SpoolError if the disk refuses.
 */
export function syncPath(path: string): void {
  onDisk(`sync ${path}`, () => {
    const fd = openSync(path, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/** Does the same for the content of a file, without blocking this thread. */
export async function syncLater(file: string): Promise<void> {
  try {
    const fd = openSync(file, 'r');
    await fdatasyncLater(fd).finally(() => {
      closeSync(fd);
    });
  } catch (error) {
    throw new SpoolError(`cannot sync ${file}`, error);
  }
}

export function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : null;
}
