/**
 * Folders of the format before this one (ADR 0006 until July 2026: a log of records, an intake of chunks, a
 * journal of open sessions). They are taken in once, when a folder is opened, and then deleted.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { sessionEvent, zeroCounters } from '@sockscope/schemas';
import type { Counters, SessionEvent, SessionStarted } from '@sockscope/schemas';
import { z } from 'zod';
import type { Measurement } from '../measurement.js';

const EVENTS_DIR = 'events';
const INTAKE_DIR = 'intake';
const JOURNAL_FILE = 'open-sessions';
const ALIVE_FILE = 'alive';
const START_FILE = 'start';
const RECORD_HEADER_BYTES = 8;
const RECORD_MAX_BYTES = 1024 ** 2;
const FRAME_HEADER_BYTES = 12;
const FRAME_READING = 4;
const JOURNAL_OPENED = 0x6f;
const JOURNAL_READING = 0x72;
const ID_BYTES = 36;
const READING_TEXTS_AT = ID_BYTES + 16 * 8;

export interface OldSession {
  header: SessionStarted;
  measurement: Measurement | null;
}

interface OldFolder {
  /** Unacknowledged events, in their order; some may come twice. */
  readonly events: Generator<SessionEvent, void, undefined>;
  /** What the journal and the intake hold about sessions; those that ended since are among them. */
  readonly sessions: Map<string, OldSession>;
  /** The process's last sign of life, milliseconds since 1970. */
  readonly aliveMs: number;
}

export function hasOldFormat(dir: string): boolean {
  return existsSync(join(dir, EVENTS_DIR));
}

/** `sessions` is complete once all `events` are read. */
export function readOldFormat(dir: string): OldFolder {
  const sessions = new Map<string, OldSession>();
  const journal = join(dir, JOURNAL_FILE);
  for (const record of existsSync(journal) ? recordsIn(readFileSync(journal)) : []) {
    const body = record.subarray(1);
    if (record[0] === JOURNAL_OPENED) begin(sessions, eventIn(body));
    else if (record[0] === JOURNAL_READING) takeReading(sessions, body);
    else sessions.delete(body.toString('latin1'));
  }
  const alive = join(dir, ALIVE_FILE);
  return {
    events: eventsIn(dir, sessions),
    sessions,
    aliveMs: existsSync(alive) ? Math.floor(statSync(alive).mtimeMs) : 0,
  };
}

export function removeOldFormat(dir: string): void {
  for (const name of [JOURNAL_FILE, ALIVE_FILE, INTAKE_DIR, EVENTS_DIR]) {
    rmSync(join(dir, name), { recursive: true, force: true });
  }
}

function* eventsIn(
  dir: string,
  sessions: Map<string, OldSession>,
): Generator<SessionEvent, void, undefined> {
  const startFile = join(dir, EVENTS_DIR, START_FILE);
  const [saved] = existsSync(startFile) ? recordsIn(readFileSync(startFile)) : [];
  const acknowledged = saved?.readDoubleLE() ?? 0;
  for (const { file, start } of filesIn(join(dir, EVENTS_DIR), '.log')) {
    let at = start;
    for (const record of recordsIn(readFileSync(file))) {
      const event = at >= acknowledged ? eventIn(record) : null;
      at += RECORD_HEADER_BYTES + record.length;
      if (event !== null) yield event;
    }
  }
  for (const { file } of filesIn(join(dir, INTAKE_DIR), '.chunks')) {
    for (const chunk of recordsIn(readFileSync(file))) {
      for (let at = 0; at + FRAME_HEADER_BYTES <= chunk.length;) {
        const payloadAt = at + FRAME_HEADER_BYTES;
        const end = payloadAt + chunk.readUInt32LE(at + 8);
        const payload = chunk.subarray(payloadAt, end);
        if (chunk[at] === FRAME_READING) takeReading(sessions, payload);
        else {
          const event = eventIn(payload);
          if (event !== null) {
            begin(sessions, event);
            yield event;
          }
        }
        at = end;
      }
    }
  }
}

function begin(sessions: Map<string, OldSession>, event: SessionEvent | null): void {
  if (event?.type !== 'SessionStarted') return;
  const measurement = sessions.get(event.session_id)?.measurement ?? null;
  sessions.set(event.session_id, { header: event, measurement });
}

const texts = z.tuple([z.string().nullable(), z.string().nullable()]);

function takeReading(sessions: Map<string, OldSession>, bytes: Buffer): void {
  if (bytes.length < READING_TEXTS_AT) return;
  const session = sessions.get(bytes.toString('latin1', 0, ID_BYTES));
  const parsed = texts.safeParse(parseJson(bytes.toString('utf8', READING_TEXTS_AT)));
  if (session === undefined || !parsed.success) return;
  const number = (index: number): number => bytes.readDoubleLE(ID_BYTES + index * 8);
  const [dest_ip, acl_rule_matched] = parsed.data;
  session.header = { ...session.header, dest_ip, acl_rule_matched };
  session.measurement = {
    seq: number(0),
    interval_start_ms: number(1),
    at_ms: number(2),
    connect_ms: number(3) < 0 ? null : number(3),
    totals: countersAt(number, 4),
    delta: countersAt(number, 8),
    minute: countersAt(number, 12),
  };
}

function countersAt(number: (index: number) => number, at: number): Counters {
  return {
    ...zeroCounters(),
    bytes_sent: number(at),
    bytes_received: number(at + 1),
    packets_sent: number(at + 2),
    packets_received: number(at + 3),
  };
}

/** Whole records; the bytes behind a torn one cannot be split into records. */
function* recordsIn(content: Buffer): Generator<Buffer, void, undefined> {
  for (let at = 0; at + RECORD_HEADER_BYTES <= content.length;) {
    const end = at + RECORD_HEADER_BYTES + content.readUInt32LE(at);
    if (end > content.length || end - at > RECORD_MAX_BYTES + RECORD_HEADER_BYTES) return;
    const record = content.subarray(at + RECORD_HEADER_BYTES, end);
    if (record.length === 0 || crc32(record) !== content.readUInt32LE(at + 4)) return;
    yield record;
    at = end;
  }
}

function filesIn(dir: string, suffix: string): { file: string; start: number }[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith(suffix))
    .toSorted()
    .map((name) => ({ file: join(dir, name), start: Number(name.slice(0, -suffix.length)) }));
}

function eventIn(payload: Buffer): SessionEvent | null {
  const parsed = sessionEvent.safeParse(parseJson(payload.toString('utf8')));
  return parsed.success ? parsed.data : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
