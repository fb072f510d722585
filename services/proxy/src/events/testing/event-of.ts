import type { SessionEvent } from '@sockscope/schemas';
import type { EventParts } from '../event-parts.js';
import { Frame, frameBytesOf } from '../frame.js';

/** The event that Kafka gets of these parts, as JSON. */
export function jsonOf(parts: EventParts): string {
  return new Frame(frameBytesOf(parts)).json;
}

/** The event that Kafka gets of these parts. */
export function eventOf(parts: EventParts): SessionEvent {
  return JSON.parse(jsonOf(parts)) as SessionEvent;
}
