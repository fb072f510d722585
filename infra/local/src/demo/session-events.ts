import {
  ANONYMOUS_USER,
  MINUTE_MS,
  minuteOf,
  statusOf,
  toTimestamp,
  zeroCounters,
} from '@sockscope/schemas';
import type { CloseReason, Counters, SessionEvent } from '@sockscope/schemas';
import { sessionIdAt } from '@sockscope/schemas/testing';
import { ALLOWING_RULE } from './cast.js';
import type { Plan } from './plan.js';
import type { Random } from './random.js';

/** Usual size of the proxy's reads from a socket. */
const READ_BYTES = 16_384;

interface End {
  readonly reason: CloseReason;
  readonly code: string | null;
  /** Milliseconds since the start of the session. */
  readonly afterMs: number;
  readonly connectMs: number | null;
}

/**
 * All events of a session that went as planned, as the proxy would have sent them, except that an open
 * session is reported once a minute, and not while nothing moves.
 */
export function eventsOf(
  plan: Plan,
  options: { readonly random: Random; readonly startMs: number; readonly proxyId: string },
): SessionEvent[] {
  const { random, startMs } = options;
  const end = endOf(plan, random);
  const endMs = startMs + end.afterMs;
  const isConnected = plan.outcome === 'served' || plan.outcome === 'broken_off';
  const isBlocked = plan.outcome === 'blocked';
  /** The address is known before the rules are asked, or a name led there. */
  const isReached = isConnected || plan.host === plan.ip;
  const sessionId = sessionIdAt(random, startMs);
  const sourcePort = 32_768 + Math.floor(random() * 28_000);
  const egress = isConnected
    ? { egress_ip: '127.0.0.1', egress_port: 32_768 + Math.floor(random() * 28_000) }
    : { egress_ip: null, egress_port: null };
  let seq = 0;
  let totals = zeroCounters();

  function common(atMs: number) {
    const late = seq === 0 ? { dest_ip: null, egress_ip: null, egress_port: null } : null;
    const event = {
      schema_version: 1,
      occurred_at: toTimestamp(atMs),
      session_id: sessionId,
      seq,
      proxy_id: options.proxyId,
      proxy_epoch: epochOf(startMs),
      started_at: toTimestamp(startMs),
      user: plan.user ?? ANONYMOUS_USER,
      source_ip: plan.source,
      source_port: sourcePort,
      dest_host: plan.host,
      dest_port: plan.port,
      dest_ip: isReached ? plan.ip : null,
      ...egress,
      ...late,
      protocol: 'tcp',
      command: 'connect',
      auth_method: plan.user === null ? 'none' : 'password',
      acl_decision: isBlocked ? 'block' : 'allow',
      acl_rule_matched: isBlocked ? plan.rule : isReached ? ALLOWING_RULE : null,
      ...totals,
    } as const;
    seq += 1;
    return event;
  }

  function interval(fromMs: number, toMs: number, moved: Counters) {
    totals = sum(totals, moved);
    return {
      interval_start: toTimestamp(fromMs),
      interval_end: toTimestamp(toMs),
      delta: moved,
      minute: moved,
    };
  }

  const events: SessionEvent[] = [{ type: 'SessionStarted', ...common(startMs) }];
  const minutes = isConnected ? spread(plan, startMs, endMs, random) : [];
  const last = minutes.pop() ?? {
    fromMs: Math.max(startMs, minuteOf(endMs)),
    toMs: endMs,
    moved: zeroCounters(),
  };
  for (const { fromMs, toMs, moved } of minutes) {
    if (moved.packets_sent + moved.packets_received === 0) continue;
    const part = interval(fromMs, toMs, moved);
    events.push({ type: 'TrafficDelta', ...common(toMs), ...part });
  }
  const part = interval(last.fromMs, last.toMs, last.moved);
  events.push({
    type: 'SessionClosed',
    ...common(endMs),
    ...part,
    ended_at: toTimestamp(endMs),
    duration_ms: end.afterMs,
    status: statusOf(end.reason),
    close_reason: end.reason,
    error_code: end.code,
    connect_ms: end.connectMs,
    assumed: false,
  });
  return events;
}

/** Proxies are restarted on Sundays. */
function epochOf(ms: number): number {
  const WEEK_MS = 7 * 86_400_000;
  const FIRST_SUNDAY_MS = 3 * 86_400_000;
  return ms - ((ms - FIRST_SUNDAY_MS) % WEEK_MS);
}

function endOf({ outcome, endedBy, volume }: Plan, random: Random): End {
  const connectMs = 1 + Math.floor(random() * random() * 90);
  switch (outcome) {
    case 'served': {
      const reason = endedBy === 'client' ? 'client_eof' : 'upstream_eof';
      return { reason, code: null, afterMs: connectMs + volume.durationMs, connectMs };
    }
    case 'broken_off': {
      const afterMs = connectMs + Math.ceil(volume.durationMs / 2);
      return { reason: 'upstream_reset', code: 'ECONNRESET', afterMs, connectMs };
    }
    case 'refused':
      return { reason: 'connect_failed', code: 'ECONNREFUSED', afterMs: connectMs, connectMs };
    case 'unknown':
      return { reason: 'dns_failed', code: 'ENOTFOUND', afterMs: connectMs, connectMs: null };
    case 'blocked':
      return { reason: 'acl_rejected', code: null, afterMs: 0, connectMs: null };
  }
}

interface Minute {
  readonly fromMs: number;
  readonly toMs: number;
  readonly moved: Counters;
}

/** The bytes of each UTC minute from `startMs` to `endMs`; together they are the plan's volume. */
function spread({ volume }: Plan, startMs: number, endMs: number, random: Random): Minute[] {
  const parts: { fromMs: number; toMs: number; weight: number }[] = [];
  for (let fromMs = startMs; ;) {
    const toMs = Math.min(endMs, minuteOf(fromMs) + MINUTE_MS);
    const isLast = toMs === endMs;
    const isBusy = isLast || parts.length === 0 || random() < volume.busy;
    parts.push({ fromMs, toMs, weight: isBusy ? (toMs - fromMs + 1) * (0.4 + random()) : 0 });
    if (isLast) break;
    fromMs = toMs;
  }
  const all = parts.reduce((total, { weight }) => total + weight, 0);
  let weighed = 0;
  let before = zeroCounters();
  return parts.map(({ fromMs, toMs, weight }) => {
    weighed += weight;
    const upTo = countersOf(volume.sent * (weighed / all), volume.received * (weighed / all));
    const moved = sum(upTo, before, -1);
    before = upTo;
    return { fromMs, toMs, moved };
  });
}

function countersOf(sent: number, received: number): Counters {
  return {
    bytes_sent: Math.round(sent),
    bytes_received: Math.round(received),
    packets_sent: Math.ceil(sent / READ_BYTES),
    packets_received: Math.ceil(received / READ_BYTES),
  };
}

function sum(a: Counters, b: Counters, sign: 1 | -1 = 1): Counters {
  return {
    bytes_sent: a.bytes_sent + sign * b.bytes_sent,
    bytes_received: a.bytes_received + sign * b.bytes_received,
    packets_sent: a.packets_sent + sign * b.packets_sent,
    packets_received: a.packets_received + sign * b.packets_received,
  };
}
