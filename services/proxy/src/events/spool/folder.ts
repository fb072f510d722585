/**
 * The folder of one proxy: its log, the journal of its open sessions, its owner's mark and its last
 * sign of life. Opening it takes up what the previous process left.
 */
import {
  existsSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeEvent } from '../encode.generated.js';
import { decodeEvent, envelopeOf } from '../envelope.js';
import { readingOf } from '../reading.js';
import { crashedSession } from '../recovery.js';
import { framesOf } from '../frames.js';
import { createOutbox } from '../outbox.js';
import { clearIntake, leftChunks } from './intake.js';
import { continueJournal, createJournal, readJournal } from './journal.js';
import type { JournalConfig, OpenSession, SessionJournal } from './journal.js';
import { releaseFolder, takeFolder } from './lock.js';
import { openSpoolLog, SpoolError } from './log.js';
import type { SpoolLog } from './log.js';

export interface FolderConfig {
  /** Folder of all proxies on this machine. */
  readonly spool_dir: string;
  readonly spool_max_bytes: number;
  readonly proxy_id: string;
}

export interface SpoolFolder {
  readonly log: SpoolLog;
  readonly journal: SessionJournal;
  /** Where the other thread writes chunks; empty. */
  readonly intakeDir: string;
  /** Sessions of the previous process that were closed in its name. */
  readonly crashedSessions: number;
  /** Bytes of events found unpublished. */
  readonly foundBytes: number;
  /** Notes that this process lives. */
  touch(): void;
  close(): void;
}

const SEGMENT_MAX_BYTES = 16 * 1024 ** 2;
const SEGMENT_MIN_BYTES = 64 * 1024;
const LOCK_RETRY_MS = 200;
const LOCK_ATTEMPTS = 15;
const JOURNAL_COMPACT_MIN_BYTES = 4 * 1024 ** 2;
const RECOVERY_READ = { maxRecords: 1_000, maxBytes: 1024 ** 2 };
/** A dead process's events are all taken over, whatever the limits of this one. */
const RECOVERY_LIMITS = {
  queue_max_bytes: 32 * 1024 ** 2,
  spool_max_bytes: Number.POSITIVE_INFINITY,
  batch_max_records: 1_000,
  batch_max_bytes: 1024 ** 2,
};
/** Of a dead process's folder, what is taken over before the thread does something else: 0.1 s. */
const ADOPT_TURN_BYTES = 32 * 1024 ** 2;
/** No proxy_id begins with a dot. */
const EMPTIED_PREFIX = '.emptied-';
const EVENTS_DIR = 'events';
const INTAKE_DIR = 'intake';
const JOURNAL_FILE = 'open-sessions';
const ALIVE_FILE = 'alive';

/**
 * Takes this proxy's folder. Sessions that its last process left open are closed as `proxy_crashed`.
 *
 * @throws SpoolError where the disk refuses, or a living process holds the folder and does not let
 *   go of it in some seconds.
 */
export async function openSpoolFolder(config: FolderConfig): Promise<SpoolFolder> {
  const dir = join(config.spool_dir, config.proxy_id);
  await lockPatiently(dir);
  const log = openSpoolLog({ dir: join(dir, EVENTS_DIR), segment_bytes: segmentBytes(config) });
  takeLeftChunks(dir, log);
  const foundBytes = log.end - log.start;
  const crashedSessions = endCrashed(dir, log);
  // Only now may what the previous process noted be forgotten.
  const journal = createJournal(journalConfig(dir));
  const intakeDir = join(dir, INTAKE_DIR);
  clearIntake(intakeDir);
  const aliveFile = join(dir, ALIVE_FILE);
  writeFileSync(aliveFile, '');

  return {
    log,
    journal,
    intakeDir,
    crashedSessions,
    foundBytes,
    touch() {
      try {
        const now = new Date();
        utimesSync(aliveFile, now, now);
      } catch {
        // A missing sign of life makes a crashed session look shorter, nothing else.
      }
    },
    close() {
      journal.close();
      log.close();
      releaseFolder(dir);
    },
  };
}

function journalConfig(dir: string): JournalConfig {
  return { file: join(dir, JOURNAL_FILE), compact_min_bytes: JOURNAL_COMPACT_MIN_BYTES };
}

/**
 * Does with the chunks that a dead process left what it would have done with them: they go into its
 * log and its journal. Some may be there already, which does no harm.
 */
function takeLeftChunks(dir: string, log: SpoolLog): void {
  const journal = continueJournal(journalConfig(dir));
  let trouble: SpoolError | null = null;
  const outbox = createOutbox(RECOVERY_LIMITS, {
    log,
    journal,
    onTrouble: (error) => {
      trouble ??= error;
    },
  });
  try {
    for (const chunk of leftChunks(join(dir, INTAKE_DIR))) outbox.accept(framesOf(chunk));
    outbox.close();
  } finally {
    journal.close();
  }
  if (trouble !== null) throw trouble;
}

/**
 * Ends the sessions that the dead process left open: their ends are in its log, and on disk, then.
 *
 * @returns how many they are.
 */
function endCrashed(dir: string, log: SpoolLog): number {
  let sessions = 0;
  for (const payloads of crashedEvents(dir, log)) {
    log.append(payloads);
    sessions += payloads.length / 2;
  }
  log.sync();
  return sessions;
}

/** Where the events of dead proxies go: an outbox. */
interface Adopter {
  /** Bytes that it has room for now. */
  readonly roomBytes: number;
  /** @throws SpoolError where the disk refuses: not all have been taken then. */
  adopt(payloads: readonly Buffer[]): void;
  /** Forces to disk what was adopted, so that the dead proxy's own copy may go. */
  syncAdopted(): void;
}

interface Adopted {
  /** Names of the folders that were emptied; they are gone. */
  readonly emptied: readonly string[];
  /** Bytes of events that were taken over. */
  readonly bytes: number;
  /** Bytes of events that stay for later. */
  readonly leftBytes: number;
}

/**
 * Takes over the events of dead processes that no living one has taken up: fewer workers than
 * before, another proxy_id. Their events and the ends of their sessions go to the adopter, as many
 * as it has room for and of each folder at most `ADOPT_TURN_BYTES` at once, so that a backlog larger
 * than its own spool goes through it piece by piece. Between two calls the folder is free for its
 * owner.
 *
 * @throws SpoolError where the disk refuses; what was not taken over is still there then.
 */
export function adoptDeadFolders(config: FolderConfig, adopter: Adopter): Adopted {
  removeEmptied(config);
  const emptied: string[] = [];
  let bytes = 0;
  let leftBytes = 0;
  for (const name of otherFolders(config)) {
    const dir = join(config.spool_dir, name);
    if (!lock(dir)) continue;
    try {
      const taken = adoptSome(dir, config, adopter);
      bytes += taken.bytes;
      leftBytes += taken.leftBytes;
      if (taken.leftBytes === 0) {
        // At once and with our owner's mark in it: its owner, should it come back meanwhile, begins
        // a new folder, and never has one that is being deleted.
        renameSync(dir, join(config.spool_dir, `${EMPTIED_PREFIX}${name}`));
        emptied.push(name);
        continue;
      }
      releaseFolder(dir);
    } catch (error) {
      releaseFolder(dir);
      throw error instanceof SpoolError ? error : new SpoolError(`cannot empty ${dir}`, error);
    }
  }
  removeEmptied(config);
  return { emptied, bytes, leftBytes };
}

/** Takes over one turn's worth of a dead process's folder, from the start of its log. */
function adoptSome(
  dir: string,
  config: FolderConfig,
  adopter: Adopter,
): { bytes: number; leftBytes: number } {
  const log = openSpoolLog({ dir: join(dir, EVENTS_DIR), segment_bytes: segmentBytes(config) });
  try {
    settle(dir, log);
    const from = log.start;
    let at = from;
    while (at < log.end && at - from < ADOPT_TURN_BYTES && adopter.roomBytes > 0) {
      const maxBytes = Math.min(RECOVERY_READ.maxBytes, adopter.roomBytes);
      const { payloads, next } = log.read(at, { ...RECOVERY_READ, maxBytes });
      if (payloads.length > 0) adopter.adopt(payloads);
      at = next;
    }
    if (at > from) adopter.syncAdopted();
    log.acknowledge(at);
    return { bytes: at - from, leftBytes: log.end - log.start };
  } finally {
    log.close();
  }
}

/**
 * Brings all that a dead process left into its log, once: without a journal there is nothing but
 * the log. A process that takes its folder up again begins a new journal.
 */
function settle(dir: string, log: SpoolLog): void {
  const journalFile = join(dir, JOURNAL_FILE);
  if (!existsSync(journalFile)) return;
  takeLeftChunks(dir, log);
  endCrashed(dir, log);
  clearIntake(join(dir, INTAKE_DIR));
  rmSync(journalFile);
}

/** Deletes folders that were emptied; of some the one who emptied them may have died over it. */
function removeEmptied(config: FolderConfig): void {
  for (const name of readdirSync(config.spool_dir)) {
    if (!name.startsWith(EMPTIED_PREFIX)) continue;
    const dir = join(config.spool_dir, name);
    try {
      rmSync(dir, { recursive: true, force: true });
    } catch (error) {
      // Somebody else is deleting it too.
      if (isMissing(error)) continue;
      throw new SpoolError(`cannot delete ${dir}`, error);
    }
  }
}

/** Files of at most an eighth of the whole, so that a small spool can free its room too. */
function segmentBytes(config: FolderConfig): number {
  return Math.min(
    SEGMENT_MAX_BYTES,
    Math.max(SEGMENT_MIN_BYTES, Math.floor(config.spool_max_bytes / 8)),
  );
}

/** Whoever empties the folder as a dead one's is done with it soon. */
async function lockPatiently(dir: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    if (lock(dir)) return;
    if (attempt === LOCK_ATTEMPTS) {
      throw new SpoolError(
        `${dir} belongs to a running proxy`,
        'two proxies must not share a proxy_id and a spool folder',
      );
    }
    await delay(LOCK_RETRY_MS);
  }
}

function lock(dir: string): boolean {
  try {
    return takeFolder(dir);
  } catch (error) {
    // Somebody else is just removing it.
    if (isMissing(error)) return false;
    throw new SpoolError(`cannot take ${dir}`, error);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function otherFolders(config: FolderConfig): string[] {
  return readdirSync(config.spool_dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== config.proxy_id)
    .filter((entry) => !entry.name.startsWith(EMPTIED_PREFIX))
    .filter((entry) => existsSync(join(config.spool_dir, entry.name, EVENTS_DIR)))
    .map((entry) => entry.name);
}

function* unpublished(log: SpoolLog): Generator<Buffer[], void, undefined> {
  for (let at = log.start; at < log.end;) {
    const { payloads, next } = log.read(at, RECOVERY_READ);
    if (payloads.length > 0) yield payloads;
    at = next;
  }
}

/**
 * What ends the sessions that the folder knows as open. A SessionStarted and a SessionClosed each:
 * the process may have died before it could say the first.
 */
function* crashedEvents(dir: string, log: SpoolLog): Generator<Buffer[], void, undefined> {
  const open = readJournal(join(dir, JOURNAL_FILE));
  for (const payloads of unpublished(log)) {
    for (const payload of payloads) takeIn(open, payload);
  }
  if (open.size === 0) return;
  const aliveFile = join(dir, ALIVE_FILE);
  const aliveMs = existsSync(aliveFile) ? Math.floor(statSync(aliveFile).mtimeMs) : 0;
  const nowMs = Date.now();
  let payloads: Buffer[] = [];
  for (const session of open.values()) {
    const crashed = crashedSession(session, aliveMs, nowMs);
    if (crashed === null) continue;
    payloads.push(
      Buffer.from(encodeEvent(crashed.started)),
      Buffer.from(encodeEvent(crashed.closed)),
    );
    if (payloads.length >= RECOVERY_READ.maxRecords) {
      yield payloads;
      payloads = [];
    }
  }
  if (payloads.length > 0) yield payloads;
}

/** What the log says beyond the journal, which is written after it. */
function takeIn(open: Map<string, OpenSession>, payload: Buffer): void {
  const envelope = envelopeOf(payload);
  if (envelope === null) return;
  const known = open.get(envelope.sessionId);
  switch (envelope.type) {
    case 'SessionStarted':
      if (known === undefined) open.set(envelope.sessionId, { started: payload, reading: null });
      return;
    case 'TrafficDelta': {
      if (known === undefined || (known.reading?.seq ?? 0) >= envelope.seq) return;
      const event = decodeEvent(payload);
      if (event?.type !== 'TrafficDelta') return;
      open.set(envelope.sessionId, { ...known, reading: readingOf(event) });
      return;
    }
    case 'SessionClosed':
      open.delete(envelope.sessionId);
  }
}
