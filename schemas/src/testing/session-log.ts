import { statusOf } from '../events/close-reason.js';
import type { CloseReason } from '../events/close-reason.js';
import { COUNTER_NAMES, isZero, zeroCounters } from '../events/counters.js';
import type { Counters } from '../events/counters.js';
import { AUTH_METHODS } from '../events/choices.js';
import type { SessionClosed, SessionEvent } from '../events/events.js';
import { ANONYMOUS_USER, SCHEMA_VERSION } from '../events/limits.js';
import { MINUTE_MS, minuteOf, toTimestamp } from '../events/time.js';

/** A source of numbers in [0, 1). */
export type Random = () => number;

/** mulberry32: small, seeded, good enough to make test data with. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface SessionLogOptions {
  readonly random: Random;
  /** Start of the session, milliseconds since 1970. */
  readonly startMs: number;
  readonly user?: string;
  readonly destHost?: string;
  readonly proxyId?: string;
  readonly proxyEpoch?: number;
  /** Time after the start in which nothing moves, milliseconds. */
  readonly silentMs?: number;
  /** Number of traffic intervals, each of up to about a minute. */
  readonly intervals?: number;
  /** Whether the log ends with a SessionClosed; without it the session is open. */
  readonly closed?: boolean;
  readonly closeReason?: CloseReason;
}

const DAY_MS = 86_400_000;

function int(random: Random, below: number): number {
  return Math.floor(random() * below);
}

function hex(random: Random, digits: number): string {
  let text = '';
  for (let i = 0; i < digits; i += 1) text += int(random, 16).toString(16);
  return text;
}

/** A valid UUIDv7 of that time. */
export function sessionIdAt(random: Random, ms: number): string {
  const time = ms.toString(16).padStart(12, '0');
  const variant = '89ab'.charAt(int(random, 4));
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(random, 3)}-${variant}${hex(random, 3)}-${hex(random, 12)}`;
}

/** The address of a destination and of the proxy's side; null if it was not reached. */
function reachedOf(random: Random) {
  if (random() < 0.1) return { dest_ip: null, egress_ip: null, egress_port: null };
  const last = 1 + int(random, 254);
  return {
    dest_ip: `198.51.100.${last}`,
    egress_ip: last % 2 === 0 ? '203.0.113.7' : '2001:db8::7',
    egress_port: 40_000 + last,
  };
}

/** The end of a log of a closed session, and the one that the next process would assume in its place. */
export function endsOf(log: readonly SessionEvent[]): {
  readonly real: SessionClosed;
  readonly assumed: SessionClosed;
} {
  const real = log.at(-1);
  if (real?.type !== 'SessionClosed') throw new Error('the session is open');
  return {
    real,
    assumed: { ...real, assumed: true, status: 'failed', close_reason: 'proxy_crashed' },
  };
}

/**
 * The whole event log of one made-up session, in its order, valid by every rule of the
 * contract, as a proxy would emit them for random traffic. Deterministic for a seeded `random`.
 */
export function sessionLog(options: SessionLogOptions): SessionEvent[] {
  const { random, startMs } = options;
  const user = options.user ?? `user-${int(random, 50)}`;
  const destHost = options.destHost ?? `host-${int(random, 50)}.example`;
  const udp = random() < 0.1;
  const total = zeroCounters();
  let minute = zeroCounters();
  let seq = 0;
  const started = {
    session_id: sessionIdAt(random, startMs),
    proxy_id: options.proxyId ?? 'proxy-1',
    proxy_epoch: options.proxyEpoch ?? startMs - int(random, DAY_MS),
    started_at: toTimestamp(startMs),
    user,
    source_ip: `192.0.2.${1 + int(random, 254)}`,
    source_port: 1024 + int(random, 60_000),
    dest_host: destHost,
    ...reachedOf(random),
    dest_port: [80, 443, 8443, 53][int(random, 4)] ?? 443,
    protocol: udp ? ('udp' as const) : ('tcp' as const),
    command: udp ? ('udp_associate' as const) : ('connect' as const),
    auth_method: user === ANONYMOUS_USER ? AUTH_METHODS[0] : AUTH_METHODS[1],
    acl_decision: options.closeReason === 'acl_rejected' ? ('block' as const) : ('allow' as const),
    acl_rule_matched: random() < 0.5 ? null : `rule-${int(random, 5)}`,
  };
  const envelope = (ms: number) => ({
    schema_version: SCHEMA_VERSION as 1,
    occurred_at: toTimestamp(ms),
    ...started,
    seq: seq++,
    ...total,
  });
  const events: SessionEvent[] = [{ type: 'SessionStarted', ...envelope(startMs) }];

  let now = startMs + (options.silentMs ?? 0);
  const count = (quiet: boolean): Counters => {
    const delta = zeroCounters();
    if (quiet) return delta;
    delta.bytes_sent = int(random, 10_000);
    delta.bytes_received = int(random, 1_000_000);
    delta.packets_sent = 1 + int(random, 20);
    delta.packets_received = 1 + int(random, 50);
    for (const name of COUNTER_NAMES) {
      total[name] += delta[name];
      minute[name] += delta[name];
    }
    return delta;
  };
  const nextInterval = () => {
    const start = now;
    const boundary = minuteOf(start) + MINUTE_MS;
    const end = Math.min(boundary, start + 1 + int(random, 40_000));
    now = end;
    return { start, end };
  };
  const openMinute = (start: number, previousStart: number) => {
    if (minuteOf(start) !== minuteOf(previousStart)) minute = zeroCounters();
  };

  let previousStart = startMs;
  for (let i = 0; i < (options.intervals ?? int(random, 6)); i += 1) {
    const { start, end } = nextInterval();
    openMinute(start, previousStart);
    previousStart = start;
    const delta = count(random() < 0.2);
    events.push({
      type: 'TrafficDelta',
      ...envelope(end),
      interval_start: toTimestamp(start),
      interval_end: toTimestamp(end),
      delta,
      minute: { ...minute },
    });
  }
  if (options.closed ?? random() < 0.8) {
    const { start, end } = nextInterval();
    openMinute(start, previousStart);
    const reason = options.closeReason ?? 'client_eof';
    const delta = count(statusOf(reason) !== 'closed');
    events.push({
      type: 'SessionClosed',
      ...envelope(end),
      interval_start: toTimestamp(start),
      interval_end: toTimestamp(end),
      delta,
      minute: { ...minute },
      ended_at: toTimestamp(end),
      duration_ms: end - startMs,
      status: statusOf(reason),
      close_reason: reason,
      error_code: statusOf(reason) === 'failed' ? 'ECONNREFUSED' : null,
      connect_ms: isZero(total) ? null : int(random, 300),
      assumed: reason === 'proxy_crashed',
    });
  }
  return events;
}
