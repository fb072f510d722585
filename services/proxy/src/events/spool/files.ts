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

export const fdatasyncLater = promisify(fdatasync);

/** The disk refused: full, read-only, broken. The data was not written. */
export class SpoolError extends SockscopeError {
  constructor(message: string, cause: unknown) {
    super('spool_io', `${message}: ${messageOf(cause)}`, { retryable: true, cause });
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

/** Makes a file, or the creations, renamings and deletions in a folder, survive the death of the machine. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Does the same as `syncPath` for a file, without blocking this thread. */
export async function syncFileLater(file: string): Promise<void> {
  const fd = openSync(file, 'r');
  try {
    await fdatasyncLater(fd);
  } finally {
    closeSync(fd);
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
