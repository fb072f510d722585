import { isZero, maxCounters } from '../events/counters.js';
import type { Counters } from '../events/counters.js';
import type { SessionEvent } from '../events/events.js';
import { minuteOf, toTimestamp } from '../events/time.js';
import { rowOf } from './session-row.js';
import type { SessionRow } from './session-row.js';

/**
 * The oracle: state as a function of the *set* of events of one session.
 * Order, number of deliveries and batching do not change it, because each part is
 * a maximum: of versions for the row, of cumulative counters for a minute.
 */
export interface SessionState {
  /** The row with the highest version, null before the first event. */
  readonly row: SessionRow | null;
  /** Traffic per UTC minute, keyed by its wire timestamp; a minute without traffic is absent. */
  readonly minutes: ReadonlyMap<string, Counters>;
}

/** The state of a session without events. */
export function initialState(): SessionState {
  return { row: null, minutes: new Map() };
}

/** The state after one more event. Pure: `state` is not changed. */
export function evolve(state: SessionState, event: SessionEvent): SessionState {
  const version = event.seq * 2;
  const row = state.row !== null && state.row.version >= version ? state.row : rowOf(event);
  if (event.type === 'SessionStarted' || isZero(event.minute)) return { ...state, row };
  const bucket = toTimestamp(minuteOf(Date.parse(event.interval_start)));
  const known = state.minutes.get(bucket);
  const minutes = new Map(state.minutes);
  minutes.set(bucket, known === undefined ? event.minute : maxCounters(known, event.minute));
  return { row, minutes };
}

/** The fold of a whole log, by session id. */
export function fold(events: Iterable<SessionEvent>): Map<string, SessionState> {
  const states = new Map<string, SessionState>();
  for (const event of events) {
    states.set(event.session_id, evolve(states.get(event.session_id) ?? initialState(), event));
  }
  return states;
}
