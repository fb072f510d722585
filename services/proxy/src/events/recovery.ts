import { COUNTER_NAMES, statusOf, toTimestamp, zeroCounters } from '@sockscope/schemas';
import type { SessionClosed, SessionStarted } from '@sockscope/schemas';
import { decodeEvent } from './envelope.js';
import type { OpenSession } from './spool/journal.js';

/** What a dead process's open session becomes. */
export interface Crashed {
  readonly started: SessionStarted;
  readonly closed: SessionClosed;
}

/**
 * The end of a session whose proxy died, as far as it was known: the totals of its last reading, and
 * as its end the moment at which the process was last known to live. Null where the journal's
 * entry does not make valid events.
 *
 * @param aliveMs the last sign of life of that process, milliseconds since 1970; 0 where unknown.
 * @param nowMs the time of this statement.
 */
export function crashedSession(open: OpenSession, aliveMs: number, nowMs: number): Crashed | null {
  const started = decodeEvent(open.started);
  if (started?.type !== 'SessionStarted') return null;
  const startedMs = Date.parse(started.started_at);
  const reading = open.reading;
  const readAtMs = reading === null ? startedMs : reading.at_ms;
  // A sign of life from the future is one from before the clock was set back.
  const endedMs = Math.max(readAtMs, Math.min(aliveMs, nowMs));
  const totals = reading?.totals ?? zeroCounters();
  const closed: SessionClosed = {
    ...started,
    type: 'SessionClosed',
    occurred_at: toTimestamp(Math.max(endedMs, nowMs)),
    seq: (reading?.seq ?? 0) + 1,
    dest_ip: reading === null ? started.dest_ip : reading.dest_ip,
    acl_rule_matched: reading === null ? started.acl_rule_matched : reading.acl_rule_matched,
    bytes_sent: totals.bytes_sent,
    bytes_received: totals.bytes_received,
    packets_sent: totals.packets_sent,
    packets_received: totals.packets_received,
    // Of the reading's minute, however long the process lived on without more traffic.
    interval_start: toTimestamp(reading?.interval_start_ms ?? startedMs),
    interval_end: toTimestamp(readAtMs),
    delta: reading?.delta ?? zeroCounters(),
    minute: reading?.minute ?? zeroCounters(),
    ended_at: toTimestamp(endedMs),
    duration_ms: endedMs - startedMs,
    status: statusOf('proxy_crashed'),
    close_reason: 'proxy_crashed',
    error_code: null,
    connect_ms: reading?.connect_ms ?? null,
  };
  const isSound = COUNTER_NAMES.every((name) => Number.isSafeInteger(closed[name]));
  return isSound ? { started, closed } : null;
}
