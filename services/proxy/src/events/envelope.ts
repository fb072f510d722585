import {
  EVENT_LIMITS,
  SCHEMA_VERSION,
  SESSION_EVENT_TYPES,
  sessionEvent,
} from '@sockscope/schemas';
import type { SessionEvent, SessionEventType } from '@sockscope/schemas';

/** What the way to Kafka needs to know of an encoded event. */
export interface Envelope {
  readonly type: SessionEventType;
  readonly sessionId: string;
  readonly seq: number;
  readonly occurredAt: string;
  /** Of the proxy that the session ran on: another one than this, where it took over a dead one's events. */
  readonly proxyId: string;
}

export const TYPE_AT = '{"type":"'.length;
export const BEFORE_TIME = `","schema_version":${SCHEMA_VERSION},"occurred_at":"`;
export const TIME_LENGTH = '2026-01-31T23:59:59.999Z'.length;
export const BEFORE_ID = '","session_id":"';
export const ID_LENGTH = 36;
export const BEFORE_SEQ = '","seq":';
/** 2147483647 has ten digits. */
export const SEQ_SPAN = 10;
export const BEFORE_PROXY = ',"proxy_id":"';
const HEAD_SPAN =
  TYPE_AT +
  Math.max(...SESSION_EVENT_TYPES.map((type) => type.length)) +
  BEFORE_TIME.length +
  TIME_LENGTH +
  BEFORE_ID.length +
  ID_LENGTH +
  BEFORE_SEQ.length +
  SEQ_SPAN +
  BEFORE_PROXY.length +
  EVENT_LIMITS.proxy_id_chars +
  1;

/**
 * Reads the first fields of an event that `encodeEvent` wrote, without parsing the rest. Null where the
 * text was not written so.
 */
export function envelopeOf(payload: Buffer): Envelope | null {
  const head = payload.toString('latin1', 0, Math.min(HEAD_SPAN, payload.length));
  const type = SESSION_EVENT_TYPES.find((each) => head.startsWith(each, TYPE_AT));
  if (type === undefined) return null;
  const timeMark = TYPE_AT + type.length;
  const timeAt = timeMark + BEFORE_TIME.length;
  const idMark = timeAt + TIME_LENGTH;
  const idAt = idMark + BEFORE_ID.length;
  const seqMark = idAt + ID_LENGTH;
  const seqAt = seqMark + BEFORE_SEQ.length;
  if (
    !head.startsWith(BEFORE_TIME, timeMark) ||
    !head.startsWith(BEFORE_ID, idMark) ||
    !head.startsWith(BEFORE_SEQ, seqMark)
  ) {
    return null;
  }
  const proxyMark = head.indexOf(BEFORE_PROXY, seqAt);
  const proxyAt = proxyMark + BEFORE_PROXY.length;
  const proxyEnd = head.indexOf('"', proxyAt);
  // An id that needs escaping is none that this program takes.
  if (proxyMark < 0 || proxyEnd < 0 || head.lastIndexOf('\\', proxyEnd) >= proxyAt) return null;
  const seq = Number(head.slice(seqAt, proxyMark));
  if (!Number.isInteger(seq)) return null;
  return {
    type,
    seq,
    sessionId: head.slice(idAt, seqMark),
    occurredAt: head.slice(timeAt, idMark),
    proxyId: head.slice(proxyAt, proxyEnd),
  };
}

/** The session of an event that `encodeEvent` wrote, where the type is known. */
export function sessionIdOf(payload: Buffer, type: SessionEventType): string {
  const at = TYPE_AT + type.length + BEFORE_TIME.length + TIME_LENGTH + BEFORE_ID.length;
  return payload.toString('latin1', at, at + ID_LENGTH);
}

/** The whole event of an encoded one, checked against the contract; null where it breaks it. */
export function decodeEvent(payload: Buffer): SessionEvent | null {
  if (payload.length > EVENT_LIMITS.event_bytes) return null;
  try {
    const parsed = sessionEvent.safeParse(JSON.parse(payload.toString('utf8')));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
