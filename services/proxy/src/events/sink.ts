import type { EventParts } from './event-parts.js';
import type { Measurement } from './measurement.js';

/** An open session, as far as its place in the table of open sessions needs it. */
export interface OpenSession {
  /** Its place in the table; NO_PLACE at first. Only the sink changes it. */
  place: number;
  /** Part of its header that may change: another object whenever it does. */
  readonly late: object;
  /** Its first event, with the header as it is now. */
  started(): EventParts;
}

/** `place` of a session that the table does not hold. */
export const NO_PLACE = -1;

/**
 * Makes an event some milliseconds later, one after the other with other ones: code that runs once for each connection
 * is never in a cache.
 */
export type MakeEvent = () => EventParts;

/** Takes the tracker's events. Never blocks, never throws; delivery to Kafka is at least once. */
export interface EventSink {
  /**
   * Takes an event that later ones never replace: a start, an end, or the last TrafficDelta of a
   * minute. Events of one session come in the order of their `seq`.
   */
  emit(event: EventParts): void;
  /** Takes such an event before it is made. Events that are given afterwards stand behind it. */
  later(make: MakeEvent): void;
  /**
   * Takes a TrafficDelta that the next one of the same session may supersede. The last one of a minute has to be
   * given to `emit`, because it alone holds that minute's traffic.
   */
  report(session: OpenSession, delta: Measurement): void;
  /** Keeps the counters of a session, in case this process dies. Not an event. */
  note(session: OpenSession, measurement: Measurement): void;
  /** Forgets a session once its end, which is given to `emit` next, is in the log. */
  release(session: OpenSession): void;
  /** Every session that was open at the last call has been noted since, or released. */
  swept(): void;
  /**
   * False while the spool is full and the policy is to refuse: the caller then opens
   * no new session and answers with reply 01.
   */
  readonly accepting: boolean;
}
