import { COUNTER_NAMES } from './counters.js';
import type { SessionEventType } from './choices.js';
import { fieldOf, namesIn } from './fields.js';

const COMMON = namesIn('envelope', 'identity', 'origin', 'header', 'totals');
const INTERVAL = namesIn('interval');
const KNOWN: Readonly<Record<SessionEventType, ReadonlySet<string>>> = {
  SessionStarted: new Set(COMMON),
  TrafficDelta: new Set([...COMMON, ...INTERVAL]),
  SessionClosed: new Set([...COMMON, ...INTERVAL, ...namesIn('closing')]),
};
const COUNTERS: ReadonlySet<string> = new Set(COUNTER_NAMES);
const OF_COUNTERS = INTERVAL.filter((name) => fieldOf(name).value.kind === 'counters');

/**
 * Returns how many fields of a valid event this version of the contract does not know: a newer producer
 * sends them, and they are ignored.
 */
export function unknownFields(
  event: Readonly<Record<string, unknown>>,
  type: SessionEventType,
): number {
  const unknownIn = (names: Iterable<string>, known: ReadonlySet<string>) =>
    [...names].filter((name) => !known.has(name)).length;
  let count = unknownIn(Object.keys(event), KNOWN[type]);
  for (const name of OF_COUNTERS) {
    const counters = event[name];
    if (typeof counters === 'object' && counters !== null) {
      count += unknownIn(Object.keys(counters), COUNTERS);
    }
  }
  return count;
}
