/**
 * The form of an invalid record in the dead-letter topic: its own key, value and headers, and its
 * origin.
 */
import type { OutgoingRecord, StoredRecord } from '@sockscope/runtime/kafka';
import { POISON_REASONS } from '../decode/decode-event.js';
import type { Poison, PoisonReason } from '../decode/decode-event.js';

/**
 * Our headers; all begin alike, so that they can be taken off again. No record keeps one of its own
 * that begins so: it could pass for ours.
 */
const PREFIX = 'sockscope_dlq_';
const TOPIC = `${PREFIX}topic`;
const PARTITION = `${PREFIX}partition`;
const OFFSET = `${PREFIX}offset`;
const TIMESTAMP = `${PREFIX}timestamp`;
const REASON = `${PREFIX}reason`;
const DETAIL = `${PREFIX}detail`;
/** Bytes of the original value, if it was cut. */
const CUT_FROM_BYTES = `${PREFIX}cut_from_bytes`;
/** Each of them is short, so that they fit beside the rest of a refused record. */
const OURS: ReadonlySet<string> = new Set([
  TOPIC,
  PARTITION,
  OFFSET,
  TIMESTAMP,
  REASON,
  DETAIL,
  CUT_FROM_BYTES,
]);

/** Bytes of a value, and of a key, that are kept if the broker refuses the whole record. */
const CUT_TO_BYTES = 64 * 1024;

/** The furthest from 1970 that a date can be, either way. */
const DATE_MAX_MS = 8.64e15;

export interface PoisonRecord {
  readonly topic: string;
  readonly partition: number;
  readonly record: StoredRecord;
  readonly poison: Poison;
}

/** A dead letter, as it is read back. */
export interface DeadLetter {
  /** Its place in the dead-letter topic. */
  readonly partition: number;
  readonly offset: number;
  readonly reason: PoisonReason | 'unknown';
  readonly detail: string;
  /** Its origin: topic, partition, offset, time; null if another program wrote it. */
  readonly origin: {
    readonly topic: string;
    readonly partition: string;
    readonly offset: string;
    readonly timestamp: string;
  } | null;
  /** Bytes of the whole value, if only its beginning is here. */
  readonly cutFromBytes: number | null;
  /** The record as it was, without our headers. */
  readonly record: OutgoingRecord;
}

export function dlqRecordOf({ topic, partition, record, poison }: PoisonRecord): OutgoingRecord {
  return {
    key: record.key,
    value: record.value,
    headers: {
      ...withoutOurs(headersOf(record)),
      [TOPIC]: topic,
      [PARTITION]: String(partition),
      [OFFSET]: String(record.offset),
      [TIMESTAMP]: timeText(record.timestampMs),
      [REASON]: poison.reason,
      [DETAIL]: poison.detail,
    },
  };
}

/** ISO 8601; the number alone if JavaScript has no date for it: Kafka takes any 64 bits for a time. */
function timeText(timestampMs: number): string {
  return Math.abs(timestampMs) <= DATE_MAX_MS
    ? new Date(timestampMs).toISOString()
    : String(timestampMs);
}

/** W3C Trace Context: the trace that the record belongs to, in 55 bytes today. */
const TRACEPARENT = 'traceparent';
const TRACEPARENT_MAX_BYTES = 256;

/** The same dead letter with a value short enough for the broker; of its own headers only the trace. */
export function cutShort(record: OutgoingRecord): OutgoingRecord {
  const { key, value } = record;
  const ours = Object.entries(record.headers).filter(
    ([name, each]) =>
      OURS.has(name) || (name === TRACEPARENT && Buffer.byteLength(each) <= TRACEPARENT_MAX_BYTES),
  );
  return {
    key: key === null ? null : Buffer.from(key as Buffer).subarray(0, CUT_TO_BYTES),
    value: value === null ? null : Buffer.from(value as Buffer).subarray(0, CUT_TO_BYTES),
    headers: {
      ...Object.fromEntries(ours),
      [CUT_FROM_BYTES]: String(Buffer.byteLength(value ?? '')),
    },
  };
}

/**
 * Memory around the bytes of a record, and of each of its headers: objects of a few hundred bytes.
 */
const RECORD_BYTES = 1024;
const HEADER_BYTES = 256;

/** The size of a record in memory, and its largest size in a request: its bytes and the framing. */
export function bytesOf(
  key: string | Buffer | null,
  value: string | Buffer | null,
  headers: Iterable<readonly [name: string, value: string | Buffer | null]>,
): number {
  let bytes = RECORD_BYTES + Buffer.byteLength(key ?? '') + Buffer.byteLength(value ?? '');
  for (const [name, each] of headers) {
    bytes += HEADER_BYTES + Buffer.byteLength(name) + Buffer.byteLength(each ?? '');
  }
  return bytes;
}

export function deadLetterOf(partition: number, record: StoredRecord): DeadLetter {
  const all = headersOf(record);
  const text = (name: string) => all[name]?.toString() ?? null;
  const originTopic = text(TOPIC);
  const cutFrom = text(CUT_FROM_BYTES);
  return {
    partition,
    offset: record.offset,
    reason: POISON_REASONS.find((reason) => reason === text(REASON)) ?? 'unknown',
    detail: text(DETAIL) ?? '',
    origin:
      originTopic === null
        ? null
        : {
            topic: originTopic,
            partition: text(PARTITION) ?? '',
            offset: text(OFFSET) ?? '',
            timestamp: text(TIMESTAMP) ?? '',
          },
    cutFromBytes: cutFrom === null ? null : Number(cutFrom),
    record: {
      key: record.key,
      value: record.value,
      headers: withoutOurs(all),
    },
  };
}

function withoutOurs(headers: Record<string, Buffer>): Record<string, Buffer> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(PREFIX)));
}

/** Keeps the last value of a repeated name, because the producer takes each name once. */
function headersOf({ headers }: StoredRecord): Record<string, Buffer> {
  const entries = headers.flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as const],
  );
  return Object.fromEntries(entries);
}
