/**
 * Room for the next start on a disk that events have filled: before it can publish and delete anything, a start
 * writes its owner's mark, the ends of open sessions and a new table.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeAll } from './files.js';

const NAME = 'reserve';
const PIECE_BYTES = 64 * 1024;

/** Makes the reserve as large as this, or as the disk allows: the next call continues. */
export function fillReserve(dir: string, bytes: number): void {
  try {
    const fd = openSync(join(dir, NAME), 'a', 0o600);
    try {
      for (let at = fstatSync(fd).size; at < bytes; at += PIECE_BYTES) {
        // A file system that compresses must not save the room.
        writeAll(fd, randomBytes(Math.min(PIECE_BYTES, bytes - at)), at);
      }
    } finally {
      closeSync(fd);
    }
  } catch {
    // The disk is full. An append that fails is logged.
  }
}

/** Gives the room back. False if there was no reserve. */
export function freeReserve(dir: string): boolean {
  const file = join(dir, NAME);
  const wasThere = existsSync(file);
  rmSync(file, { force: true });
  return wasThere;
}
