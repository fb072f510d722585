/** What an event looks like as a record in Kafka: see `cloudEventHeaders` in the contract. */
import { EVENT_LIMITS, SCHEMA_VERSION, SESSION_EVENT_TYPES } from '@sockscope/schemas';
import { murmur2, outgoingRecordFormat, withLength, writeVarint } from '@sockscope/runtime/kafka';
import type { OutgoingRecord, RecordFormat } from '@sockscope/runtime/kafka';
import {
  BEFORE_ID,
  BEFORE_PROXY,
  BEFORE_SEQ,
  BEFORE_TIME,
  decodeEvent,
  ID_LENGTH,
  SEQ_SPAN,
  TIME_LENGTH,
  TYPE_AT,
} from './envelope.js';

/**
 * An event on its way out: its bytes where `encodeEvent` wrote them, so that all that the record needs is
 * found in them; else the record.
 */
export type EventRecord = Buffer | OutgoingRecord;

/** Where the first fields of an event stand, and what is the same in all records of its type. */
interface Layout {
  readonly head: Buffer;
  readonly timeAt: number;
  readonly idMark: number;
  readonly idAt: number;
  readonly seqMark: number;
  readonly seqAt: number;
  /** The number of headers, the first ones, and the name of `ce_id`. */
  readonly headers: Buffer;
}

const ID_MARK = Buffer.from(BEFORE_ID);
const SEQ_MARK = Buffer.from(BEFORE_SEQ);
const PROXY_MARK = Buffer.from(BEFORE_PROXY);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SLASH = 0x2f;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;
const LAST_ASCII = 0x7e;

/** Of a length below 64, one byte. */
const lengthByte = (length: number): number => length << 1;
const HEADERS = 7;
const LAYOUTS: readonly Layout[] = SESSION_EVENT_TYPES.map((type) => {
  const head = Buffer.from(`{"type":"${type}${BEFORE_TIME}`);
  const idMark = head.length + TIME_LENGTH;
  const idAt = idMark + BEFORE_ID.length;
  const seqMark = idAt + ID_LENGTH;
  return {
    head,
    timeAt: head.length,
    idMark,
    idAt,
    seqMark,
    seqAt: seqMark + BEFORE_SEQ.length,
    headers: Buffer.concat([
      Buffer.of(lengthByte(HEADERS)),
      withLength('content-type'),
      withLength('application/json'),
      withLength('ce_specversion'),
      withLength('1.0'),
      withLength('ce_type'),
      withLength(typeHeader(type)),
      withLength('ce_id'),
    ]),
  };
});
/** What stands before the time, beside the source. */
const TIME_HEADER = Buffer.concat([withLength('ce_time'), Buffer.of(lengthByte(TIME_LENGTH))]);
const SUBJECT_HEADER = Buffer.concat([withLength('ce_subject'), Buffer.of(lengthByte(ID_LENGTH))]);
/** More than all headers and the key take, but for the source. */
const AROUND_MAX_BYTES = 1_024;

function typeHeader(type: string): string {
  return `sockscope.${type}.v${SCHEMA_VERSION}`;
}

function sourceHeader(proxyId: string): string {
  return `/sockscope/proxies/${encodeURIComponent(proxyId)}`;
}

/**
 * The record of an encoded event; null where it is none. What is read back from disk may come from
 * another version: it is parsed then.
 */
export function eventRecordOf(payload: Buffer): EventRecord | null {
  if (isAsWritten(payload)) return payload;
  const event = decodeEvent(payload);
  if (event === null) return null;
  return {
    key: event.session_id,
    value: payload,
    headers: {
      'content-type': 'application/json',
      ce_specversion: '1.0',
      ce_type: typeHeader(event.type),
      ce_id: `${event.session_id}/${event.seq}`,
      ce_source: sourceHeader(event.proxy_id),
      ce_time: event.occurred_at,
      ce_subject: event.session_id,
    },
  };
}

/** `occurred_at`, milliseconds since 1970. */
export function occurredAtMs(record: EventRecord): number {
  if (!Buffer.isBuffer(record)) return Date.parse(String(record.headers['ce_time']));
  const { timeAt, idMark } = layoutOf(record);
  return Date.parse(record.toString('latin1', timeAt, idMark));
}

/** Writes records straight from the bytes of events, with nothing made for a single one. */
export function createEventRecordFormat(): RecordFormat<EventRecord> {
  /** `ce_source` and the beginning of `ce_time` behind a proxy's id: nearly always the same. */
  let proxyId = Buffer.alloc(0);
  let sourceAndTime = Buffer.alloc(0);

  function sourceAndTimeOf(payload: Buffer, from: number, to: number): Buffer {
    if (to - from !== proxyId.length || !holds(payload, from, proxyId)) {
      proxyId = Buffer.from(payload.subarray(from, to));
      sourceAndTime = Buffer.concat([
        withLength('ce_source'),
        withLength(sourceHeader(proxyId.toString('latin1'))),
        TIME_HEADER,
      ]);
    }
    return sourceAndTime;
  }

  return {
    keyHash(record) {
      if (!Buffer.isBuffer(record)) return outgoingRecordFormat.keyHash(record);
      const { idAt, seqMark } = layoutOf(record);
      return murmur2(record, idAt, seqMark);
    },
    write(record, writer) {
      if (!Buffer.isBuffer(record)) {
        outgoingRecordFormat.write(record, writer);
        return;
      }
      const { headers, timeAt, idMark, idAt, seqMark, seqAt } = layoutOf(record);
      const seqEnd = endOfDigits(record, seqAt);
      const proxyAt = seqEnd + PROXY_MARK.length;
      const source = sourceAndTimeOf(record, proxyAt, record.indexOf(QUOTE, proxyAt));
      writer.room(record.length + source.length + AROUND_MAX_BYTES);
      const { buffer } = writer;
      let at = writer.at;
      buffer[at] = lengthByte(ID_LENGTH);
      at = copy(record, idAt, seqMark, buffer, at + 1);
      at = writeVarint(buffer, at, record.length);
      buffer.set(record, at);
      at += record.length;
      buffer.set(headers, at);
      at += headers.length;
      buffer[at] = lengthByte(ID_LENGTH + 1 + seqEnd - seqAt);
      at = copy(record, idAt, seqMark, buffer, at + 1);
      buffer[at] = SLASH;
      at = copy(record, seqAt, seqEnd, buffer, at + 1);
      buffer.set(source, at);
      at = copy(record, timeAt, idMark, buffer, at + source.length);
      buffer.set(SUBJECT_HEADER, at);
      writer.at = copy(record, idAt, seqMark, buffer, at + SUBJECT_HEADER.length);
    },
  };
}

/** The layout of an event that is as it was written. */
function layoutOf(payload: Buffer): Layout {
  for (const layout of LAYOUTS) {
    if (holds(payload, TYPE_AT, layout.head, TYPE_AT)) return layout;
  }
  throw new Error('not an encoded event');
}

/** Whether `encodeEvent` wrote it, so that everything is where it is looked for. */
function isAsWritten(payload: Buffer): boolean {
  const layout = LAYOUTS.find(({ head }) => holds(payload, 0, head));
  if (layout === undefined) return false;
  const { idMark, seqMark, seqAt } = layout;
  if (!holds(payload, idMark, ID_MARK) || !holds(payload, seqMark, SEQ_MARK)) return false;
  const seqEnd = endOfDigits(payload, seqAt);
  if (seqEnd === seqAt || seqEnd - seqAt > SEQ_SPAN) return false;
  if (!holds(payload, seqEnd, PROXY_MARK)) return false;
  // An id that needs escaping is none that this program takes.
  const proxyAt = seqEnd + PROXY_MARK.length;
  for (let i = proxyAt; i <= proxyAt + EVENT_LIMITS.proxy_id_chars; i += 1) {
    const byte = payload[i] ?? BACKSLASH;
    if (byte === QUOTE) return true;
    if (byte === BACKSLASH || byte > LAST_ASCII) return false;
  }
  return false;
}

function endOfDigits(payload: Buffer, from: number): number {
  let at = from;
  for (let byte = payload[at] ?? 0; byte >= DIGIT_0 && byte <= DIGIT_9; byte = payload[at] ?? 0) {
    at += 1;
  }
  return at;
}

/** Whether a text stands there. A loop, because a call into native code takes longer than it. */
function holds(payload: Buffer, at: number, text: Buffer, from = 0): boolean {
  for (let i = from; i < text.length; i += 1) {
    if (payload[at + i - from] !== text[i]) return false;
  }
  return true;
}

/** Copies a few dozen bytes, in a loop for the same reason. Returns the offset behind them. */
function copy(source: Buffer, from: number, to: number, target: Buffer, at: number): number {
  let end = at;
  for (let i = from; i < to; i += 1) {
    target[end] = source[i] as number;
    end += 1;
  }
  return end;
}
