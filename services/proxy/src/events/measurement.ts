import {
  COUNTER_NAMES,
  sessionEvent,
  statusOf,
  toTimestamp,
  zeroCounters,
} from '@sockscope/schemas';
import type {
  Counters,
  SessionClosed,
  SessionEvent,
  SessionStarted,
  TrafficDelta,
} from '@sockscope/schemas';
import type { EventParts } from './event-parts.js';

/**
 * The counters of a session at a moment. They are kept as numbers and become an event only when it
 * is published.
 */
export interface Measurement {
  /** `seq` of the TrafficDelta that it is; otherwise of the session's last event. */
  readonly seq: number;
  readonly interval_start_ms: number;
  readonly at_ms: number;
  readonly connect_ms: number | null;
  readonly totals: Counters;
  readonly delta: Counters;
  readonly minute: Counters;
}

/** The TrafficDelta that a measurement is. `started` holds the session's header as it is now. */
export function deltaOf(started: EventParts, measurement: Measurement): EventParts {
  const { seq, at_ms, totals } = measurement;
  return {
    ...started,
    type: 'TrafficDelta',
    moment: { ...started.moment, occurred_at: at_ms, seq },
    totals,
    interval: intervalOf(measurement),
  };
}

/** The part of an event that a measurement is. */
export function intervalOf({
  interval_start_ms,
  at_ms,
  delta,
  minute,
}: Measurement): Exclude<EventParts['interval'], null> {
  return { interval_start: interval_start_ms, interval_end: at_ms, delta, minute };
}

/** The measurement that is in an event. */
export function measurementOf(event: SessionClosed | TrafficDelta): Measurement {
  const { bytes_sent, bytes_received, packets_sent, packets_received } = event;
  return {
    seq: event.seq,
    // The start, because the end may lie in the next minute.
    interval_start_ms: Date.parse(event.interval_start),
    at_ms: Date.parse(event.interval_end),
    connect_ms: null,
    totals: { bytes_sent, bytes_received, packets_sent, packets_received },
    delta: event.delta,
    minute: event.minute,
  };
}

/** How many numbers a measurement is in memory and on disk. */
export const MEASUREMENT_NUMBERS = 4 + 3 * COUNTER_NAMES.length;

export function writeMeasurement(numbers: Float64Array, at: number, from: Measurement): void {
  numbers[at] = from.seq;
  numbers[at + 1] = from.interval_start_ms;
  numbers[at + 2] = from.at_ms;
  numbers[at + 3] = from.connect_ms ?? -1;
  COUNTER_NAMES.forEach((name, i) => {
    numbers[at + 4 + i] = from.totals[name];
    numbers[at + 8 + i] = from.delta[name];
    numbers[at + 12 + i] = from.minute[name];
  });
}

export function readMeasurement(numbers: Float64Array, at: number): Measurement {
  const [seq = 0, interval_start_ms = 0, at_ms = 0, connectMs = 0] = numbers.subarray(at);
  const countersAt = (offset: number): Counters => {
    const [bytes_sent = 0, bytes_received = 0, packets_sent = 0, packets_received = 0] =
      numbers.subarray(at + offset);
    return { bytes_sent, bytes_received, packets_sent, packets_received };
  };
  return {
    seq,
    interval_start_ms,
    at_ms,
    connect_ms: connectMs < 0 ? null : connectMs,
    totals: countersAt(4),
    delta: countersAt(8),
    minute: countersAt(12),
  };
}

/** The last known state of a session that has not ended. */
interface LastKnown {
  /** Its latest known event, for its header. */
  readonly header: SessionStarted | TrafficDelta;
  /** Null if nothing was counted. */
  readonly measurement: Measurement | null;
}

/** Open sessions by id. */
export type OpenSessions = Map<string, LastKnown>;

/** The event that was encoded; null if it is none, or if its JSON cannot be made. */
export function eventIn(source: { readonly json: string }): SessionEvent | null {
  try {
    return sessionEvent.parse(JSON.parse(source.json));
  } catch {
    return null;
  }
}

/**
 * The end of a session whose process died, as far as it is known: its last counters, and as its end
 * the moment at which the process was last known to live. It is marked as assumed.
 *
 * @param aliveMs the last sign of life of that process, milliseconds since 1970; 0 if unknown.
 * @param nowMs the time of this statement.
 */
export function assumedEnd(
  { header, measurement }: LastKnown,
  aliveMs: number,
  nowMs: number,
): SessionClosed {
  const startedMs = Date.parse(header.started_at);
  const measuredMs = measurement?.at_ms ?? startedMs;
  // A sign of life from the future is one from before the clock was set back.
  const endedMs = Math.max(measuredMs, Math.min(aliveMs, nowMs));
  return {
    ...header,
    ...(measurement?.totals ?? zeroCounters()),
    type: 'SessionClosed',
    occurred_at: toTimestamp(Math.max(endedMs, nowMs)),
    seq: (measurement?.seq ?? 0) + 1,
    // The minute that was measured, even if the process lived on without traffic.
    interval_start: toTimestamp(measurement?.interval_start_ms ?? startedMs),
    interval_end: toTimestamp(measuredMs),
    delta: measurement?.delta ?? zeroCounters(),
    minute: measurement?.minute ?? zeroCounters(),
    ended_at: toTimestamp(endedMs),
    duration_ms: endedMs - startedMs,
    status: statusOf('proxy_crashed'),
    close_reason: 'proxy_crashed',
    error_code: null,
    connect_ms: measurement?.connect_ms ?? null,
    assumed: true,
  };
}
