/** The order of the events of a session: `version` in its row. An assumed end gives way to an event of the same `seq`. */
import type { EventView } from '../decode/event-view.generated.js';

export function rankOf({ seq, assumed }: EventView): number {
  return seq * 2 - assumed;
}

export function isAssumed(rank: number): boolean {
  return rank % 2 === 1;
}

export function seqOf(rank: number): number {
  return Math.ceil(rank / 2);
}
