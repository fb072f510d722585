import { z } from 'zod';
import { statusOf } from './close-reason.js';
import { COUNTER_NAMES } from './counters.js';
import type { Counters } from './counters.js';
import { fieldOf, shapeOf } from './fields.js';
import { SCHEMA_VERSION } from './limits.js';
import { sessionStartMs } from './session-id.js';
import { minuteOf } from './time.js';

/** Fields of every event, so that each can be folded without the others. */
const common = shapeOf('envelope', 'identity', 'origin', 'header', 'totals');
const schema_version = z.literal(SCHEMA_VERSION).describe(fieldOf('schema_version').description);
const interval = shapeOf('interval');

const sessionStartedShape = z.object({
  ...common,
  type: z.literal('SessionStarted'),
  schema_version,
});
const trafficDeltaShape = z.object({
  ...common,
  type: z.literal('TrafficDelta'),
  schema_version,
  ...interval,
});
const sessionClosedShape = z.object({
  ...common,
  type: z.literal('SessionClosed'),
  schema_version,
  ...interval,
  ...shapeOf('closing'),
});

export type SessionStarted = Readonly<z.infer<typeof sessionStartedShape>>;
export type TrafficDelta = Readonly<z.infer<typeof trafficDeltaShape>>;
export type SessionClosed = Readonly<z.infer<typeof sessionClosedShape>>;
export type SessionEvent = SessionStarted | TrafficDelta | SessionClosed;

/**
 * The rules between fields that a shape cannot state. Returns the first one broken
 * as a sentence that begins with the field's name, or null if all hold.
 */
export function brokenRule(event: SessionEvent): string | null {
  if (sessionStartMs(event.session_id) !== Date.parse(event.started_at)) {
    return 'started_at: must be the time that session_id carries';
  }
  if (event.occurred_at < event.started_at) return 'occurred_at: lies before started_at';
  switch (event.type) {
    case 'SessionStarted':
      if (event.seq !== 0) return 'seq: must be 0 in SessionStarted';
      return COUNTER_NAMES.some((name) => event[name] !== 0)
        ? 'bytes_sent: totals must be 0 in SessionStarted'
        : null;
    case 'TrafficDelta':
      return brokenIntervalRule(event);
    case 'SessionClosed':
      if (statusOf(event.close_reason) !== event.status) {
        return `status: ${event.close_reason} belongs to ${statusOf(event.close_reason)}`;
      }
      if (event.ended_at < event.started_at) return 'ended_at: lies before started_at';
      if (event.ended_at < event.interval_start) return 'ended_at: lies before interval_start';
      return brokenIntervalRule(event);
  }
}

function brokenIntervalRule(event: TrafficDelta | SessionClosed): string | null {
  if (event.seq === 0) return `seq: must be above 0 in ${event.type}`;
  const start = Date.parse(event.interval_start);
  const end = Date.parse(event.interval_end);
  if (start < minuteOf(Date.parse(event.started_at))) {
    return 'interval_start: lies before the minute of started_at';
  }
  if (end < start) return 'interval_end: lies before interval_start';
  if (end > start && minuteOf(end - 1) !== minuteOf(start)) {
    return 'interval_end: the interval crosses a UTC minute';
  }
  for (const name of COUNTER_NAMES) {
    if (event.delta[name] > event.minute[name]) return `delta.${name}: exceeds minute.${name}`;
    if (event.minute[name] > event[name]) return `minute.${name}: exceeds the total`;
  }
  return null;
}

function checkRules(event: SessionEvent, ctx: z.core.$RefinementCtx): void {
  const broken = brokenRule(event);
  if (broken !== null) {
    const [path, ...rest] = broken.split(': ');
    ctx.addIssue({ code: 'custom', path: (path ?? '').split('.'), message: rest.join(': ') });
  }
}

export const sessionStarted = sessionStartedShape.superRefine(checkRules);
export const trafficDelta = trafficDeltaShape.superRefine(checkRules);
export const sessionClosed = sessionClosedShape.superRefine(checkRules);

/** Any event of the topic. The union distinguishes the types by `type`, so that errors name one shape's fields. */
export const sessionEvent = z
  .discriminatedUnion('type', [sessionStartedShape, trafficDeltaShape, sessionClosedShape])
  .superRefine(checkRules);

/** The counters that an event carries as totals. */
export function totalsOf(event: SessionEvent): Counters {
  return {
    bytes_sent: event.bytes_sent,
    bytes_received: event.bytes_received,
    packets_sent: event.packets_sent,
    packets_received: event.packets_received,
  };
}
