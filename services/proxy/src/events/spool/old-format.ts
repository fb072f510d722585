/**
 * Folders of the format before this one (ADR 0006 until July 2026: a log of records, an intake of chunks, a
 * journal of open sessions). They are taken in once, when a folder is opened, and then deleted.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { SessionEvent } from '@sockscope/schemas';
import { eventIn, MEASUREMENT_NUMBERS, readMeasurement } from '../measurement.js';
import type { OpenSessions } from '../measurement.js';

const EVENTS_DIR = 'events';
const INTAKE_DIR = 'intake';
const JOURNAL_FILE = 'open-sessions';
const ALIVE_FILE = 'alive';
const START_FILE = 'start';
const RECORD_HEADER_BYTES = 8;
const FRAME_HEADER_BYTES = 12;
const FRAME_READING = 4;
const JOURNAL_OPENED = 0x6f;
const JOURNAL_READING = 0x72;
const ID_BYTES = 36;
const NUMBER_BYTES = 8;
const READING_TEXTS_AT = ID_BYTES + MEASUREMENT_NUMBERS * NUMBER_BYTES;

export function hasOldFormat(dir: string): boolean {
  return existsSync(join(dir, EVENTS_DIR));
}

/** The process's last sign of life, milliseconds since 1970. */
export function oldAliveMs(dir: string): number {
  const alive = join(dir, ALIVE_FILE);
  return existsSync(alive) ? Math.floor(statSync(alive).mtimeMs) : 0;
}

export function removeOldFormat(dir: string): void {
  for (const name of [JOURNAL_FILE, ALIVE_FILE, INTAKE_DIR, EVENTS_DIR]) {
    rmSync(join(dir, name), { recursive: true, force: true });
  }
}

/**
 * Yields unacknowledged events in their order; some may come twice. Afterwards `open` has the sessions
 * of the journal and the intake; sessions that ended since are among them.
 */
export function* oldEvents(
  dir: string,
  open: OpenSessions,
): Generator<SessionEvent, void, undefined> {
  for (const record of recordsIn(join(dir, JOURNAL_FILE))) {
    const body = record.subarray(1);
    if (record[0] === JOURNAL_OPENED) begin(open, jsonIn(body));
    else if (record[0] === JOURNAL_READING) takeReading(open, body);
    else open.delete(body.toString('latin1'));
  }
  const [saved] = recordsIn(join(dir, EVENTS_DIR, START_FILE));
  const acknowledged = saved?.readDoubleLE() ?? 0;
  for (const { file, start } of filesIn(join(dir, EVENTS_DIR), '.log')) {
    let at = start;
    for (const record of recordsIn(file)) {
      const event = at >= acknowledged ? jsonIn(record) : null;
      at += RECORD_HEADER_BYTES + record.length;
      if (event !== null) yield event;
    }
  }
  for (const { file } of filesIn(join(dir, INTAKE_DIR), '.chunks')) {
    for (const chunk of recordsIn(file)) {
      for (let at = 0; at + FRAME_HEADER_BYTES <= chunk.length;) {
        const end = at + FRAME_HEADER_BYTES + chunk.readUInt32LE(at + 8);
        const payload = chunk.subarray(at + FRAME_HEADER_BYTES, end);
        const event = chunk[at] === FRAME_READING ? null : jsonIn(payload);
        if (chunk[at] === FRAME_READING) takeReading(open, payload);
        begin(open, event);
        if (event !== null) yield event;
        at = end;
      }
    }
  }
}

/** The event that was written as JSON. */
function jsonIn(bytes: Buffer): SessionEvent | null {
  return eventIn({ json: bytes.toString() });
}

function begin(open: OpenSessions, event: SessionEvent | null): void {
  if (event?.type !== 'SessionStarted') return;
  const measurement = open.get(event.session_id)?.measurement ?? null;
  open.set(event.session_id, { header: event, measurement });
}

function takeReading(open: OpenSessions, bytes: Buffer): void {
  const id = bytes.toString('latin1', 0, ID_BYTES);
  const header = open.get(id)?.header;
  if (bytes.length < READING_TEXTS_AT || header === undefined) return;
  // Its checksum was right.
  const [dest_ip, acl_rule_matched] = JSON.parse(bytes.toString('utf8', READING_TEXTS_AT)) as [
    string | null,
    string | null,
  ];
  const numbers = Float64Array.from({ length: MEASUREMENT_NUMBERS }, (_, i) =>
    bytes.readDoubleLE(ID_BYTES + i * NUMBER_BYTES),
  );
  open.set(id, {
    header: { ...header, dest_ip, acl_rule_matched },
    measurement: readMeasurement(numbers, 0),
  });
}

/** Whole records; the bytes behind a torn one cannot be split into records. */
function* recordsIn(file: string): Generator<Buffer, void, undefined> {
  const content = existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
  for (let at = 0; at + RECORD_HEADER_BYTES <= content.length;) {
    const end = at + RECORD_HEADER_BYTES + content.readUInt32LE(at);
    const record = content.subarray(at + RECORD_HEADER_BYTES, end);
    const isWhole = record.length > 0 && end <= content.length;
    if (!isWhole || crc32(record) !== content.readUInt32LE(at + 4)) return;
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
