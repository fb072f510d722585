import { z } from 'zod';
import { closeReason, statusOf } from './close-reason.js';
import { counter, counters, COUNTER_NAMES } from './counters.js';
import type { Counters } from './counters.js';
import { EVENT_LIMITS, SCHEMA_VERSION } from './limits.js';
import { sessionId, sessionStartMs } from './session-id.js';
import { minuteOf, timestamp } from './time.js';

export const PROTOCOLS = ['tcp', 'udp'] as const;
export const COMMANDS = ['connect', 'bind', 'udp_associate'] as const;
export const AUTH_METHODS = ['none', 'password'] as const;
export const ACL_DECISIONS = ['allow', 'block'] as const;

const port = z.int().min(0).max(65_535);
const ipAddress = z.union([z.ipv4(), z.ipv6()]);

/** (session_id, seq) names an event for good, so that a duplicate is recognisable. */
const identity = {
  session_id: sessionId,
  seq: z.int().min(0).max(2_147_483_647).describe('0, 1, 2 … within the session'),
};

const origin = {
  proxy_id: z.string().min(1).max(EVENT_LIMITS.proxy_id_chars),
  proxy_epoch: z
    .int()
    .min(EVENT_LIMITS.earliest_ms)
    .max(EVENT_LIMITS.latest_ms)
    .describe('start of that proxy process, milliseconds since 1970'),
};

/**
 * What is known of the session, repeated in every event, so that any single
 * one can be folded without the others. `started_at`, `user`, source, `dest_host`
 * and `dest_port` never change. `dest_ip` is null until an address was chosen, and
 * the ACL's decision may turn to `block` once a name's addresses are known.
 */
const header = {
  started_at: timestamp,
  user: z.string().min(1).max(EVENT_LIMITS.user_chars),
  source_ip: ipAddress,
  source_port: port,
  dest_host: z
    .string()
    .min(1)
    .max(EVENT_LIMITS.dest_host_chars)
    .describe('as asked: a name or an address'),
  dest_ip: ipAddress.nullable().describe('the address connected to, null where none'),
  dest_port: port,
  protocol: z.enum(PROTOCOLS),
  command: z.enum(COMMANDS),
  auth_method: z.enum(AUTH_METHODS),
  acl_decision: z.enum(ACL_DECISIONS),
  acl_rule_matched: z.string().min(1).max(EVENT_LIMITS.acl_rule_chars).nullable(),
};

/** Cumulative since the session began: a lost or repeated event cannot change the result. */
const totals = counters.shape;

const common = {
  schema_version: z.literal(SCHEMA_VERSION),
  occurred_at: timestamp,
  ...identity,
  ...origin,
  ...header,
  ...totals,
};

/** `minute` is cumulative within the UTC minute that [interval_start, interval_end) lies in. */
const interval = {
  interval_start: timestamp,
  interval_end: timestamp,
  delta: counters,
  minute: counters,
};

const sessionStartedShape = z.strictObject({ type: z.literal('SessionStarted'), ...common });
const trafficDeltaShape = z.strictObject({
  type: z.literal('TrafficDelta'),
  ...common,
  ...interval,
});
const sessionClosedShape = z.strictObject({
  type: z.literal('SessionClosed'),
  ...common,
  ...interval,
  ended_at: timestamp,
  duration_ms: counter,
  status: z.enum(['closed', 'failed', 'rejected_by_acl']),
  close_reason: closeReason,
  error_code: z
    .string()
    .min(1)
    .max(EVENT_LIMITS.error_code_chars)
    .nullable()
    .describe('errno or SOCKS reply, null where none'),
  connect_ms: counter
    .nullable()
    .describe('time until connected, or until connecting failed; null where it was not tried'),
});

export type SessionStarted = Readonly<z.infer<typeof sessionStartedShape>>;
export type TrafficDelta = Readonly<z.infer<typeof trafficDeltaShape>>;
export type SessionClosed = Readonly<z.infer<typeof sessionClosedShape>>;
export type SessionEvent = SessionStarted | TrafficDelta | SessionClosed;
export type SessionEventType = SessionEvent['type'];
export const SESSION_EVENT_TYPES = [
  'SessionStarted',
  'TrafficDelta',
  'SessionClosed',
] as const satisfies readonly SessionEventType[];

/**
 * The rules between fields that a shape cannot state. Returns the first one broken
 * as a sentence that begins with the field's name, or null where all hold.
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

/** Any event of the topic. The union tells the types apart by `type`, so that errors name one shape's fields. */
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
