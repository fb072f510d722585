/**
 * The JSON of an event, made from the fields of its frame when it is published: there, thousands of events come one
 * after the other, and their code and its data stay in the caches.
 */
import {
  COUNTER_NAMES,
  fieldOf,
  namesIn,
  SCHEMA_VERSION,
  SESSION_EVENT_TYPES,
  toTimestamp,
} from '@sockscope/schemas';
import { LENGTH_BYTES, NO_TEXT, NUMBER_BYTES } from './field-writer.js';
import type { Frame } from './frame.js';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;
const CLOSING_BRACE = 0x7d;
const ZERO = 0x30;
/** All bits of the numbers that V8 keeps without an object. */
const SMALL = 0x3fff_ffff;

const SESSION = ['origin', 'header', 'totals'] as const;
const PARTS = {
  SessionStarted: SESSION,
  TrafficDelta: [...SESSION, 'interval'],
  SessionClosed: [...SESSION, 'interval', 'closing'],
} as const;

/** The fields behind a frame's header, in their order, for each kind of event; each with all that stands before its value. */
const FIELDS_OF = SESSION_EVENT_TYPES.map((type) =>
  namesIn(...PARTS[type]).map((name) => ({
    label: Buffer.from(`,"${name}":`),
    kind: fieldOf(name).value.kind,
  })),
);
const COUNTER_LABELS = COUNTER_NAMES.map((name, i) =>
  Buffer.from(`${i === 0 ? '{' : ','}"${name}":`),
);
const BEGINNINGS = SESSION_EVENT_TYPES.map((type) =>
  Buffer.from(`{"type":"${type}","schema_version":${SCHEMA_VERSION},"occurred_at":"`),
);
const ID_LABEL = Buffer.from('","session_id":"');
const SEQ_LABEL = Buffer.from('","seq":');

/**
 * Writes an event as JSON from a place of a buffer on, which has room for `event_bytes`: the same as `JSON.stringify`
 * of it with the schema's order of fields. Returns the place behind it.
 */
export function putEvent(out: Buffer, start: number, frame: Frame): number {
  const { buffer: from, view, kind, idAt } = frame;
  let at = putBytes(out, start, BEGINNINGS[kind] as Buffer);
  at = putTime(out, at, frame.occurredAtMs);
  at = putBytes(out, at, ID_LABEL);
  at = copy(from, idAt, idAt + ID_LENGTH, out, at);
  at = putNumber(out, putBytes(out, at, SEQ_LABEL), frame.seq);
  let next = frame.fieldsAt;
  for (const field of FIELDS_OF[kind] ?? []) {
    at = putBytes(out, at, field.label);
    switch (field.kind) {
      case 'integer':
        at = putNumber(out, at, view.getFloat64(next, true));
        next += NUMBER_BYTES;
        break;
      case 'time':
        out[at] = QUOTE;
        at = putTime(out, at + 1, view.getFloat64(next, true));
        out[at] = QUOTE;
        at += 1;
        next += NUMBER_BYTES;
        break;
      case 'flag':
        at = put(out, at, view.getFloat64(next, true) === 1 ? 'true' : 'false');
        next += NUMBER_BYTES;
        break;
      case 'counters':
        for (const label of COUNTER_LABELS) {
          at = putNumber(out, putBytes(out, at, label), view.getFloat64(next, true));
          next += NUMBER_BYTES;
        }
        out[at] = CLOSING_BRACE;
        at += 1;
        break;
      default: {
        const bytes = view.getUint16(next, true);
        next += LENGTH_BYTES;
        if (bytes === NO_TEXT) at = put(out, at, 'null');
        else {
          at = putText(from, next, next + bytes, out, at);
          next += bytes;
        }
      }
    }
  }
  out[at] = CLOSING_BRACE;
  return at + 1;
}

export const ID_LENGTH = 36;
export const TIME_LENGTH = '2026-01-31T12:00:00.000Z'.length;
const SECOND_LENGTH = '2026-01-31T12:00:00.'.length;
/** Seconds whose text is kept: formatting one takes a microsecond. */
const SECONDS_KEPT = 64;
const seconds = Array.from({ length: SECONDS_KEPT }, () => ({ second: -1, text: Buffer.alloc(0) }));

/** Writes the wire form of a time in milliseconds since 1970, without quotes. */
export function putTime(out: Buffer, start: number, ms: number): number {
  const second = Math.floor(ms / 1_000);
  const known = seconds[second % SECONDS_KEPT] as (typeof seconds)[number];
  if (known.second !== second) {
    known.text = Buffer.from(toTimestamp(second * 1_000).slice(0, SECOND_LENGTH));
    known.second = second;
  }
  const at = putBytes(out, start, known.text);
  const rest = ms - second * 1_000;
  const tens = (rest / 10) | 0;
  const hundreds = (tens / 10) | 0;
  out[at] = ZERO + hundreds;
  out[at + 1] = ZERO + tens - hundreds * 10;
  out[at + 2] = ZERO + rest - tens * 10;
  out[at + 3] = 'Z'.charCodeAt(0);
  return start + TIME_LENGTH;
}

/** Writes bytes. For a dozen of them this takes less time than a loop. */
function putBytes(out: Buffer, start: number, bytes: Buffer): number {
  out.set(bytes, start);
  return start + bytes.length;
}

/** Writes ASCII that needs no escaping. */
function put(out: Buffer, start: number, text: string): number {
  const { length } = text;
  for (let i = 0; i < length; i += 1) out[start + i] = text.charCodeAt(i);
  return start + length;
}

/** Copies a few dozen bytes, in a loop because a part of a buffer takes longer to make. Returns the offset behind them. */
// oxlint-disable-next-line max-params -- An object for each copy would be garbage to collect.
export function copy(from: Buffer, start: number, end: number, out: Buffer, at: number): number {
  let to = at;
  for (let i = start; i < end; i += 1) {
    out[to] = from[i] as number;
    to += 1;
  }
  return to;
}

/** Writes UTF-8 as JSON carries it. */
// oxlint-disable-next-line max-params -- As above.
function putText(from: Buffer, start: number, end: number, out: Buffer, at: number): number {
  let to = at;
  out[to] = QUOTE;
  to += 1;
  for (let i = start; i < end; i += 1) {
    const byte = from[i] as number;
    if (byte < FIRST_PRINTABLE || byte === QUOTE || byte === BACKSLASH) {
      return at + out.write(JSON.stringify(from.toString('utf8', start, end)), at);
    }
    out[to] = byte;
    to += 1;
  }
  out[to] = QUOTE;
  return to + 1;
}

/** Writes a number, or null for one that is none: fast if it is whole and small. */
export function putNumber(out: Buffer, start: number, value: number): number {
  if (value !== (value & SMALL)) return put(out, start, value === value ? String(value) : 'null');
  let end = start + 1;
  for (let rest = value; rest >= 10; rest = (rest / 10) | 0) end += 1;
  let rest = value;
  for (let at = end - 1; at >= start; at -= 1) {
    const tenth = (rest / 10) | 0;
    out[at] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return end;
}
