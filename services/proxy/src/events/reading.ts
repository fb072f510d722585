import { COUNTER_NAMES, EVENT_LIMITS, totalsOf, zeroCounters } from '@sockscope/schemas';
import type { Counters, TrafficDelta } from '@sockscope/schemas';
import { z } from 'zod';

/**
 * What a session had counted at a moment: what its next event would say. It is not an event and
 * not published; it is kept so that the session can be closed in its name after a crash.
 */
export interface SessionReading {
  readonly session_id: string;
  /** `seq` of the session's last event. */
  readonly seq: number;
  readonly interval_start_ms: number;
  readonly at_ms: number;
  readonly dest_ip: string | null;
  readonly acl_rule_matched: string | null;
  readonly connect_ms: number | null;
  readonly totals: Counters;
  readonly delta: Counters;
  readonly minute: Counters;
}

const ID_BYTES = 36;
const NUMBERS = 4 + 3 * COUNTER_NAMES.length;
/** The texts stand last, as JSON. */
const TEXTS_AT = ID_BYTES + NUMBERS * 8;
/** An address, and a rule's name of which every character may take six as JSON. */
const TEXTS_MAX_BYTES = 128 + 6 * EVENT_LIMITS.acl_rule_chars;
export const READING_MAX_BYTES = TEXTS_AT + TEXTS_MAX_BYTES;
const NONE = -1;

/** Writes a reading at `offset`, where READING_MAX_BYTES must be free. Returns the offset behind it. */
export function writeReading(buffer: Buffer, offset: number, reading: SessionReading): number {
  buffer.write(reading.session_id, offset, ID_BYTES, 'latin1');
  let at = offset + ID_BYTES;
  at = buffer.writeDoubleLE(reading.seq, at);
  at = buffer.writeDoubleLE(reading.interval_start_ms, at);
  at = buffer.writeDoubleLE(reading.at_ms, at);
  at = buffer.writeDoubleLE(reading.connect_ms ?? NONE, at);
  at = writeCounters(buffer, at, reading.totals);
  at = writeCounters(buffer, at, reading.delta);
  at = writeCounters(buffer, at, reading.minute);
  return at + buffer.write(JSON.stringify([reading.dest_ip, reading.acl_rule_matched]), at);
}

/** The session of an encoded reading. */
export function readingSessionId(bytes: Buffer): string {
  return bytes.toString('latin1', 0, ID_BYTES);
}

const texts = z.tuple([z.string().nullable(), z.string().nullable()]);

/** The reading in `bytes`; null where they do not hold one. */
export function readReading(bytes: Buffer): SessionReading | null {
  if (bytes.length < TEXTS_AT) return null;
  const number = (index: number): number => bytes.readDoubleLE(ID_BYTES + index * 8);
  const countersAt = (index: number): Counters => {
    const counters = zeroCounters();
    COUNTER_NAMES.forEach((name, i) => {
      counters[name] = number(index + i);
    });
    return counters;
  };
  const connectMs = number(3);
  const parsed = texts.safeParse(parseJson(bytes.toString('utf8', TEXTS_AT)));
  if (!parsed.success) return null;
  const [destIp, rule] = parsed.data;
  return {
    session_id: readingSessionId(bytes),
    seq: number(0),
    interval_start_ms: number(1),
    at_ms: number(2),
    connect_ms: connectMs === NONE ? null : connectMs,
    dest_ip: destIp,
    acl_rule_matched: rule,
    totals: countersAt(4),
    delta: countersAt(8),
    minute: countersAt(12),
  };
}

/** What was known when a delta was reported: nothing has been counted since. */
export function readingOf(event: TrafficDelta): SessionReading {
  return {
    session_id: event.session_id,
    seq: event.seq,
    // The start, because the end may lie in the next minute.
    interval_start_ms: Date.parse(event.interval_start),
    at_ms: Date.parse(event.interval_end),
    dest_ip: event.dest_ip,
    acl_rule_matched: event.acl_rule_matched,
    connect_ms: null,
    totals: totalsOf(event),
    delta: event.delta,
    minute: event.minute,
  };
}

function writeCounters(buffer: Buffer, offset: number, counters: Counters): number {
  let at = buffer.writeDoubleLE(counters.bytes_sent, offset);
  at = buffer.writeDoubleLE(counters.bytes_received, at);
  at = buffer.writeDoubleLE(counters.packets_sent, at);
  return buffer.writeDoubleLE(counters.packets_received, at);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
