import type { SessionEvent } from '@sockscope/schemas';
import type { EventParts } from '../event-parts.js';
import { encodeEvent } from '../frame.js';

/** The event that Kafka gets of these parts. */
export function eventOf(parts: EventParts): SessionEvent {
  return JSON.parse(encodeEvent(parts).toString()) as SessionEvent;
}
