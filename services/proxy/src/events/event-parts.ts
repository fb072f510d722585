import type {
  ChangingField,
  Counters,
  NameIn,
  SessionClosed,
  SessionEvent,
  SessionStarted,
  TimeField,
  TrafficDelta,
} from '@sockscope/schemas';
import { intervalOf, measurementOf } from './measurement.js';

/** Times as milliseconds since 1970. */
type InMs<T> = { readonly [N in keyof T]: N extends TimeField ? number : T[N] };

/** The fields of a session's header that may change until its end. */
export type LateHeader = Pick<SessionStarted, ChangingField>;

/** The fields of a session's header that never change, less the clock. */
export type SessionHeader = Pick<
  SessionStarted,
  Exclude<NameIn<'header'>, ChangingField | 'started_at'>
>;

/**
 * An event in the parts that the proxy keeps apart. The log gets its fields straight from them: an object of all
 * fields would be garbage.
 */
export interface EventParts {
  readonly type: SessionEvent['type'];
  readonly moment: InMs<Pick<SessionEvent, 'occurred_at' | 'session_id' | 'seq' | 'started_at'>>;
  readonly origin: Pick<SessionStarted, NameIn<'origin'>>;
  readonly header: SessionHeader;
  readonly late: LateHeader;
  readonly totals: Counters;
  /** Null in a SessionStarted. */
  readonly interval: InMs<Pick<TrafficDelta, NameIn<'interval'>>> | null;
  /** Null in all but a SessionClosed. */
  readonly closing: InMs<Pick<SessionClosed, NameIn<'closing'>>> | null;
}

/** The parts of an event that was read. */
export function partsOf(event: SessionEvent): EventParts {
  return {
    type: event.type,
    moment: {
      occurred_at: Date.parse(event.occurred_at),
      session_id: event.session_id,
      seq: event.seq,
      started_at: Date.parse(event.started_at),
    },
    origin: event,
    header: event,
    late: event,
    totals: event,
    interval: event.type === 'SessionStarted' ? null : intervalOf(measurementOf(event)),
    closing:
      event.type === 'SessionClosed' ? { ...event, ended_at: Date.parse(event.ended_at) } : null,
  };
}
