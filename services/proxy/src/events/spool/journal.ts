/**
 * What is known of the open sessions, on disk, so that a session whose proxy died can be closed in
 * its name. An append-only file of `opened`, `reading` and `closed`, rewritten without the closed
 * ones once it has grown to several times what they take.
 *
 * Guarantee: what was given before the process died is found after it. It is written before the
 * events that it belongs to can be published, so the last `seq` that was published is known.
 */
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { envelopeOf } from '../envelope.js';
import { readReading } from '../reading.js';
import type { SessionReading } from '../reading.js';
import { SpoolError, writeAll } from './log.js';
import { recordsOf, scanRecords } from './records.js';

/** First byte of a record. */
const OPENED = 0x6f;
const READING = 0x72;
const CLOSED = 0x63;

/** An open session: its first event as encoded, and the last reading where there is one. */
export interface OpenSession {
  readonly started: Buffer;
  readonly reading: SessionReading | null;
}

export interface SessionJournal {
  /** Bytes of the file. */
  readonly bytes: number;
  /**
   * Takes what happened since the last time.
   *
   * @throws SpoolError where the disk refuses; nothing was taken then.
   */
  note(happened: {
    /** Encoded SessionStarted events. */
    readonly opened: readonly Uint8Array[];
    /** Encoded readings. */
    readonly readings: readonly Uint8Array[];
    /** Ids of sessions to forget. */
    readonly closed: readonly string[];
  }): void;
  /** Rewrites the file where that is worth it. */
  compact(): void;
  /** Closes the file. */
  close(): void;
}

interface Known {
  started: Buffer | null;
  /** The whole record of the last reading. */
  reading: Buffer | null;
}

/**
 * Reads what a process left behind. A torn tail is cut off.
 *
 * @throws SpoolError where the file cannot be read.
 */
export function readJournal(file: string): Map<string, OpenSession> {
  const open = new Map<string, OpenSession>();
  for (const [id, { started, reading }] of load(file)) {
    if (started === null) continue;
    open.set(id, {
      started: started.subarray(1),
      reading: reading === null ? null : readReading(reading.subarray(1)),
    });
  }
  return open;
}

export interface JournalConfig {
  readonly file: string;
  /** A file smaller than this is not rewritten. */
  readonly compact_min_bytes: number;
}

/** Begins a new journal in place of what is there: read that first. */
export function createJournal(config: JournalConfig): SessionJournal {
  return journalOn(config, replace(config.file, []), 0);
}

/** Goes on with the journal that a dead process left; a torn tail is cut off. */
export function continueJournal(config: JournalConfig): SessionJournal {
  if (!existsSync(config.file)) return createJournal(config);
  try {
    const { soundBytes } = scanRecords(readFileSync(config.file));
    const fd = openSync(config.file, 'r+');
    ftruncateSync(fd, soundBytes);
    return journalOn(config, fd, soundBytes);
  } catch (error) {
    throw new SpoolError(`cannot open ${config.file}`, error);
  }
}

function journalOn(config: JournalConfig, openFd: number, openBytes: number): SessionJournal {
  const { file } = config;
  let fd = openFd;
  let bytes = openBytes;
  /** Size after the last rewriting. */
  let baseBytes = 0;

  function append(records: readonly Uint8Array[]): void {
    if (records.length === 0) return;
    const buffer = recordsOf(records);
    try {
      writeAll(fd, buffer, bytes);
    } catch (error) {
      throw new SpoolError(`cannot write ${file}`, error);
    }
    bytes += buffer.length;
  }

  return {
    get bytes() {
      return bytes;
    },
    note({ opened, readings, closed }) {
      append([
        ...opened.map((payload) => tagged(OPENED, payload)),
        ...readings.map((payload) => tagged(READING, payload)),
        ...closed.map((id) => tagged(CLOSED, Buffer.from(id, 'latin1'))),
      ]);
    },
    compact() {
      if (bytes < Math.max(config.compact_min_bytes, 3 * baseBytes)) return;
      const records: Buffer[] = [];
      for (const { started, reading } of load(file).values()) {
        // A reading alone is of no use.
        if (started === null) continue;
        records.push(started);
        if (reading !== null) records.push(reading);
      }
      const old = fd;
      fd = replace(file, records);
      closeSync(old);
      bytes = records.reduce((sum, record) => sum + record.length + 8, 0);
      baseBytes = bytes;
    },
    close() {
      closeSync(fd);
    },
  };
}

function tagged(tag: number, payload: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(payload.length + 1);
  record[0] = tag;
  record.set(payload, 1);
  return record;
}

/**
 * Puts a new file in the place of the old one at once. Gives the descriptor that it was written
 * through: opening it by its name could fail, and the old one would be written to in vain.
 */
function replace(file: string, records: readonly Buffer[]): number {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const next = `${file}.next`;
    const fd = openSync(next, 'w+');
    try {
      writeAll(fd, recordsOf(records), 0);
      renameSync(next, file);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return fd;
  } catch (error) {
    throw new SpoolError(`cannot write ${file}`, error);
  }
}

function load(file: string): Map<string, Known> {
  const sessions = new Map<string, Known>();
  if (!existsSync(file)) return sessions;
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch (error) {
    throw new SpoolError(`cannot read ${file}`, error);
  }
  for (const record of scanRecords(content).payloads) {
    const body = record.subarray(1);
    switch (record[0]) {
      case OPENED: {
        const id = envelopeOf(body)?.sessionId;
        if (id === undefined) break;
        sessions.set(id, { started: record, reading: sessions.get(id)?.reading ?? null });
        break;
      }
      case READING: {
        const id = readReading(body)?.session_id;
        if (id === undefined) break;
        sessions.set(id, { started: sessions.get(id)?.started ?? null, reading: record });
        break;
      }
      case CLOSED:
        sessions.delete(body.toString('latin1'));
        break;
      default:
        break;
    }
  }
  return sessions;
}
