import type {
  Counters,
  NameIn,
  SessionClosed,
  SessionEvent,
  SessionStarted,
  TrafficDelta,
} from '@sockscope/schemas';

/** The facts of a session when its request is understood: the header of its events, less the clock. */
export type SessionHeader = Pick<SessionStarted, Exclude<NameIn<'header'>, 'started_at'>>;

/**
 * An event in the parts that the proxy keeps apart. The log gets its JSON straight from them: an object of all
 * fields would be garbage.
 */
export interface EventParts {
  readonly type: SessionEvent['type'];
  readonly moment: Pick<SessionEvent, 'occurred_at' | 'session_id' | 'seq' | 'started_at'>;
  readonly origin: Pick<SessionStarted, NameIn<'origin'>>;
  readonly header: SessionHeader;
  readonly totals: Counters;
  /** Null in a SessionStarted. */
  readonly interval: Pick<TrafficDelta, NameIn<'interval'>> | null;
  /** Null in all but a SessionClosed. */
  readonly closing: Pick<SessionClosed, NameIn<'closing'>> | null;
}

/** The parts of an event that was read. */
export function partsOf(event: SessionEvent): EventParts {
  return {
    type: event.type,
    moment: event,
    origin: event,
    header: event,
    totals: event,
    interval: event.type === 'SessionStarted' ? null : event,
    closing: event.type === 'SessionClosed' ? event : null,
  };
}
