/**
 * The folder of one proxy: its log, the table of its open sessions, its owner's mark. Opening it takes over
 * the events of the previous process, and returns the end of each open session as far as it is known.
 *
 * Guarantee: files of a process are deleted only after their replacement is on disk. After a crash,
 * the next process repeats the same work.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { releaseOwnership, takeOwnership } from '@sockscope/runtime';
import { EVENT_LIMITS } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from '../event-parts.js';
import { FrameWriter } from '../frame.js';
import type { Frame } from '../frame.js';
import { assumedEnd, eventIn, measurementOf } from '../measurement.js';
import type { OpenSessions } from '../measurement.js';
import { isMissing, SpoolError, syncPath } from './files.js';
import { endOf, LogReader, LogWriter, segmentBytes, segmentsOf } from './log.js';
import { hasOldFormat, oldAliveMs, oldEvents, removeOldFormat } from './old-format.js';
import { fillReserve, freeReserve } from './reserve.js';
import { hasTable, readTable, TableFile } from './table-file.js';

export interface FolderConfig {
  /** Folder of all proxies on this machine. */
  readonly spool_dir: string;
  readonly spool_max_bytes: number;
  readonly proxy_id: string;
}

/** The content of a folder after the end of its previous process was settled. */
export interface Recovered {
  /** How far Kafka has acknowledged the log. */
  readonly acknowledged: number;
  /** Position behind the log. */
  readonly end: number;
  /** Sessions that were ended in the previous process's name. */
  readonly crashedSessions: number;
  readonly lostBytes: number;
}

export interface OpenFolder extends Recovered {
  readonly dir: string;
  readonly table: TableFile;
}

const LOG_DIR = 'log';
const OWNER_FILE = 'owner';
const LOCK_RETRY_MS = 200;
/** Longer than another proxy needs to publish a part of the folder: dead-folders.ts, and backend.ts for a request. */
const LOCK_ATTEMPTS = 40;
const READ_LIMITS = { maxFrames: 10_000, maxBytes: 4 * 1024 ** 2 };

export function logDir(dir: string): string {
  return join(dir, LOG_DIR);
}

/** Whether a proxy left events here. Other programs name their folders "log" and "events" too. */
export function isFolderOfProxy(dir: string): boolean {
  const isOwned = existsSync(ownerFile(dir)) || hasTable(dir);
  return isOwned && (existsSync(logDir(dir)) || hasOldFormat(dir));
}

/**
 * Takes this proxy's folder.
 *
 * @throws SpoolError if the disk refuses, or if a living process does not release the folder within seconds.
 */
export async function openFolder(config: FolderConfig): Promise<OpenFolder> {
  const dir = join(config.spool_dir, config.proxy_id);
  await lockPatiently(dir);
  const recovered = recover(dir, config.spool_max_bytes);
  const table = new TableFile(dir, {
    acknowledged: recovered.acknowledged,
    aliveMs: Date.now(),
    isClean: false,
  });
  fillReserve(dir, segmentBytes(config.spool_max_bytes));
  // This folder's own name in it.
  syncPath(config.spool_dir);
  return { ...recovered, dir, table };
}

/**
 * Settles the folder of a dead process, which is locked: its open sessions are ended in its log.
 *
 * @throws SpoolError if the disk refuses; all is still there then.
 */
export function recover(dir: string, spoolMaxBytes: number): Recovered {
  freeReserve(dir);
  const { status, open } = readTable(dir);
  const isOld = hasOldFormat(dir);
  const aliveMs = isOld ? oldAliveMs(dir) : status.aliveMs;
  const log = logDir(dir);
  const writer = new LogWriter(
    log,
    Math.max(endOf(log), status.acknowledged),
    segmentBytes(spoolMaxBytes),
  );
  let lostBytes = 0;
  let crashedSessions = 0;
  if (isOld || !status.isClean) {
    if (isOld) appendEvents(writer, oldEvents(dir, open));
    lostBytes = followLog(open, log, writer.position);
    // The contract ends in 2100; a clock beyond it is wrong.
    const nowMs = Math.min(Date.now(), EVENT_LIMITS.latest_ms - 1);
    const ends = [...open.values()].map((known) => assumedEnd(known, aliveMs, nowMs));
    appendEvents(writer, ends);
    crashedSessions = ends.length;
    writer.sync();
    if (isOld) removeOldFormat(dir);
  }
  const end = writer.position;
  // A saved position before the first file is one of files that were deleted.
  const start = segmentsOf(log)[0] ?? end;
  const acknowledged = Math.min(Math.max(status.acknowledged, start), end);
  return { acknowledged, end, lostBytes, crashedSessions };
}

function appendEvents(writer: LogWriter, events: Iterable<SessionEvent>): void {
  const frames = new FrameWriter();
  try {
    for (const event of events) {
      frames.add(partsOf(event));
      if (frames.isFull) writer.append(frames.take());
    }
    if (frames.bytes > 0) writer.append(frames.take());
  } finally {
    writer.leave();
  }
}

/** Takes events that the log has beyond the table, which is written after it. Returns how many bytes are broken. */
function followLog(open: OpenSessions, log: string, end: number): number {
  /** The newest event of each session. Only these are decoded: a full spool has millions of events. */
  const newest = new Map<string, Frame>();
  const reader = new LogReader(log);
  try {
    for (let at = segmentsOf(log)[0] ?? end; at < end;) {
      const { frames, next } = reader.read(at, end, READ_LIMITS);
      for (const frame of frames) {
        const { sessionId: id, type, seq } = frame;
        const inTable = open.get(id);
        const known = newest.get(id)?.seq ?? (inTable && (inTable.measurement?.seq ?? 0));
        if (type === 'SessionClosed') {
          open.delete(id);
          newest.delete(id);
        } else if (known === undefined ? type === 'SessionStarted' : seq > known) {
          newest.set(id, frame.copy());
        }
      }
      at = next;
    }
  } finally {
    reader.close();
  }
  for (const [id, frame] of newest) {
    const event = eventIn(frame);
    if (event === null || event.type === 'SessionClosed') continue;
    const connect_ms = open.get(id)?.measurement?.connect_ms ?? null;
    const measurement =
      event.type === 'TrafficDelta' ? { ...measurementOf(event), connect_ms } : null;
    open.set(id, { header: event, measurement });
  }
  return reader.lostBytes;
}

/** A process that publishes the folder of a dead one leaves it soon. */
async function lockPatiently(dir: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    if (lockOwn(dir)) return;
    if (attempt === LOCK_ATTEMPTS) {
      throw new SpoolError(
        `${dir} belongs to a running proxy`,
        'Set another PROXY_ID or PROXY_SPOOL_DIR: two proxies must not share both',
      );
    }
    await delay(LOCK_RETRY_MS);
  }
}

/** Takes the mark of this proxy's own folder, on a full disk too. */
function lockOwn(dir: string): boolean {
  try {
    return lockFolder(dir);
  } catch (error) {
    if (!freeReserve(dir)) throw error;
    return lockFolder(dir);
  }
}

function ownerFile(dir: string): string {
  return join(dir, OWNER_FILE);
}

export function releaseFolder(dir: string): void {
  releaseOwnership(ownerFile(dir));
}

/** Whether this process has the folder now. */
export function lockFolder(dir: string): boolean {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    return takeOwnership(ownerFile(dir));
  } catch (error) {
    // Somebody else is just removing it.
    if (isMissing(error)) return false;
    throw new SpoolError(`cannot take ${dir}`, error);
  }
}
