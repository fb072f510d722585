import { closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { StringDecoder } from 'node:string_decoder';

/** When a log file has grown beyond this it becomes `<file>.1`, replacing the previous one. */
const MAX_FILE_BYTES = 10 * 1024 * 1024;
/** Last lines kept in memory, for saying why a process died. */
const MAX_TAIL_LINES = 40;
/** A longer line is cut in the tail (the file has it whole). */
const MAX_TAIL_LINE_CHARS = 2000;

export interface BoundedLog {
  write(chunk: Buffer): void;
  /** The last lines, oldest first; at most `count`, which is at most 40. */
  tail(count: number): readonly string[];
  close(): void;
}

/**
 * Stores the output of a process: in a file of at most 10 MiB and its one predecessor, and the last
 * 40 lines into memory. Writing is synchronous, so that a crash loses nothing. A full disk does not
 * stop the process that is being logged: its output is dropped until there is room again.
 */
export function createBoundedLog(file: string | null, maxFileBytes = MAX_FILE_BYTES): BoundedLog {
  const decoder = new StringDecoder('utf8');
  const lines: string[] = [];
  let rest = '';
  let fd: number | null = null;
  let size = 0;
  let closed = false;

  function openFile(): number | null {
    if (file === null) return null;
    if (fd !== null) return fd;
    mkdirSync(dirname(file), { recursive: true });
    fd = openSync(file, 'a');
    size = statSync(file).size;
    return fd;
  }

  function rotate(): void {
    if (file === null || fd === null) return;
    closeSync(fd);
    fd = null;
    renameSync(file, `${file}.1`);
  }

  function toFile(chunk: Buffer): void {
    try {
      if (fd !== null && size + chunk.length > maxFileBytes && size > 0) rotate();
      const target = openFile();
      if (target === null) return;
      writeSync(target, chunk);
      size += chunk.length;
    } catch {
      // Most likely a full disk; the tail in memory still has the last lines.
    }
  }

  function toTail(text: string): void {
    const parts = (rest + text).split('\n');
    rest = (parts.pop() ?? '').slice(0, MAX_TAIL_LINE_CHARS);
    for (const part of parts) {
      if (part.trim() !== '') lines.push(part.slice(0, MAX_TAIL_LINE_CHARS));
    }
    if (lines.length > MAX_TAIL_LINES) lines.splice(0, lines.length - MAX_TAIL_LINES);
  }

  return {
    write(chunk) {
      if (closed) return;
      toTail(decoder.write(chunk));
      toFile(chunk);
    },
    tail(count) {
      const all = rest.trim() === '' ? lines : [...lines, rest];
      return all.slice(-count);
    },
    close() {
      closed = true;
      if (fd !== null) closeSync(fd);
      fd = null;
    },
  };
}
