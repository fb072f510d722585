/**
 * The events that a fleet of proxies would emit, in the order of time: Zipf users and destinations,
 * many short sessions and some long ones, a tenth that fail or are rejected. Deterministic for a seed.
 */
import type { EventParts } from '@sockscope/proxy/events/event-parts';
import { minuteOf, MINUTE_MS, statusOf } from '@sockscope/schemas';
import type { CloseReason, Counters } from '@sockscope/schemas';
import { seededRandom, sessionIdAt } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';

export interface WorkloadOptions {
  readonly seed: number;
  readonly events: number;
  /** Time of the first session, milliseconds since 1970. */
  readonly startMs: number;
  readonly users: number;
  readonly destinations: number;
  readonly proxies: number;
  /** Sessions that begin in a second; with it, how much of a session falls into one batch. */
  readonly sessionsPerSecond: number;
  /** Number of the first proxy. Default 0. */
  readonly firstProxy?: number;
  /** Mean of an exponential distribution. Default: the web's mixture of short and long ones. */
  readonly meanDurationMs?: number;
  /** Between two events of a session after its first second. Default 5 s. */
  readonly intervalMs?: number;
}

export const DEFAULT_WORKLOAD: Omit<WorkloadOptions, 'startMs'> = {
  seed: 1,
  events: 5_000_000,
  users: 20_000,
  destinations: 50_000,
  proxies: 8,
  sessionsPerSecond: 4_000,
};

/** Ranks by Zipf with exponent 1: P(rank k) ~ 1/k, by inverting the integral of 1/x. */
function zipf(random: Random, n: number): number {
  return Math.min(n - 1, Math.floor(Math.exp(random() * Math.log(n + 1))) - 1);
}

function exponential(random: Random, mean: number): number {
  return -Math.log(1 - random()) * mean;
}

const TLDS = ['com', 'net', 'org', 'io', 'example'] as const;
function destinationName(rank: number): string {
  return `${rank % 3 === 0 ? 'api' : rank % 3 === 1 ? 'www' : 'cdn'}.service-${rank}.${TLDS[rank % TLDS.length]}`;
}

function ipv4(prefix: number, n: number): string {
  return `${prefix}.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`;
}

/** Most of the web's connections are over within seconds; a few tunnels stay for hours. */
function durationMs(random: Random): number {
  const kind = random();
  if (kind < 0.7) return 30 + exponential(random, 1_500);
  if (kind < 0.95) return 1_000 + exponential(random, 20_000);
  return 30_000 + exponential(random, 600_000);
}

function durationOf(random: Random, { meanDurationMs }: WorkloadOptions): number {
  return meanDurationMs === undefined
    ? durationMs(random)
    : 30 + exponential(random, meanDurationMs);
}

type Mutable<T> = { -readonly [N in keyof T]: T[N] };

/**
 * A session while it lasts, and its newest event in the parts that the proxy's encoder takes. They change when the next
 * one is made: 300,000 sessions are open at once, so all events of one share an object.
 */
class Live implements EventParts {
  type: EventParts['type'] = 'SessionStarted';
  readonly moment: Mutable<EventParts['moment']>;
  readonly origin: EventParts['origin'];
  readonly header: EventParts['header'];
  readonly late: Mutable<EventParts['late']>;
  readonly totals: Counters = zero();
  interval: Mutable<Exclude<EventParts['interval'], null>> | null = null;
  closing: EventParts['closing'] = null;
  readonly endMs: number;

  readonly #random: Random;
  readonly #startMs: number;
  readonly #intervalMs: number;
  readonly #reason: CloseReason;
  readonly #bytesPerSecond: number;
  readonly #destination: number;

  constructor(random: Random, startMs: number, options: WorkloadOptions) {
    this.#random = random;
    this.#startMs = startMs;
    this.#intervalMs = options.intervalMs ?? 5_000;
    const user = zipf(random, options.users);
    const destination = zipf(random, options.destinations);
    this.#destination = destination;
    const fate = random();
    const rejected = fate < 0.03;
    const failed = !rejected && fate < 0.1;
    this.#reason = rejected
      ? 'acl_rejected'
      : failed
        ? random() < 0.5
          ? 'connect_timeout'
          : 'dns_failed'
        : random() < 0.6
          ? 'client_eof'
          : 'upstream_eof';
    this.endMs = Math.floor(
      startMs + (rejected ? 0 : failed ? exponential(random, 3_000) : durationOf(random, options)),
    );
    this.#bytesPerSecond = 500 / (0.002 + random());
    this.moment = {
      occurred_at: startMs,
      session_id: sessionIdAt(random, startMs),
      seq: 0,
      started_at: startMs,
    };
    this.origin = {
      proxy_id: `proxy-${(options.firstProxy ?? 0) + Math.floor(random() * options.proxies)}.region-1`,
      proxy_epoch: options.startMs - 3_600_000,
    };
    this.header = {
      user: `user-${user}@corp.example`,
      source_ip: ipv4(10, user * 7 + Math.floor(random() * 3)),
      source_port: 1024 + Math.floor(random() * 60_000),
      dest_host: destinationName(destination),
      dest_port: random() < 0.9 ? 443 : 80,
      protocol: 'tcp',
      command: 'connect',
      auth_method: 'password',
    };
    this.late = {
      dest_ip: null,
      egress_ip: null,
      egress_port: null,
      acl_decision: rejected ? 'block' : 'allow',
      acl_rule_matched: rejected
        ? 'deny-social-media'
        : random() < 0.5
          ? 'allow-default-egress'
          : null,
    };
  }

  /** Makes the next event, at `atMs`, which does not lie beyond the minute of the interval. */
  advance(atMs: number): void {
    const { moment } = this;
    const beforeMs = moment.occurred_at;
    const quiet = statusOf(this.#reason) !== 'closed';
    if (!quiet && moment.seq === 0) this.#connect();
    const seconds = quiet ? 0 : Math.max(0.05, (atMs - beforeMs) / 1_000);
    const received = Math.floor(this.#bytesPerSecond * seconds * (0.5 + this.#random()));
    const sent = Math.floor(received * 0.1);
    this.interval ??= { interval_start: atMs, interval_end: atMs, delta: zero(), minute: zero() };
    const { interval } = this;
    const { delta, minute } = interval;
    delta.bytes_sent = sent;
    delta.bytes_received = received;
    delta.packets_sent = Math.ceil(sent / 1_400);
    delta.packets_received = Math.ceil(received / 16_000);
    add(this.totals, delta);
    if (beforeMs % MINUTE_MS === 0) Object.assign(minute, delta);
    else add(minute, delta);
    interval.interval_start = beforeMs;
    interval.interval_end = atMs;
    moment.occurred_at = atMs;
    moment.seq += 1;
    if (atMs < this.endMs) {
      this.type = 'TrafficDelta';
      return;
    }
    this.type = 'SessionClosed';
    this.closing = {
      ended_at: atMs,
      duration_ms: atMs - this.#startMs,
      status: statusOf(this.#reason),
      close_reason: this.#reason,
      error_code: this.#reason === 'connect_timeout' ? 'ETIMEDOUT' : null,
      connect_ms: quiet ? null : 5 + Math.floor(this.#random() * 80),
      assumed: false,
    };
  }

  /** The addresses that a proxy knows once the connection stands. */
  #connect(): void {
    this.late.dest_ip = ipv4(93, this.#destination * 13);
    this.late.egress_ip = '198.51.100.7';
    this.late.egress_port = 1_024 + Math.floor(this.#random() * 60_000);
  }

  /** When the next event falls: the first after 1 s, then by the interval, cut at each minute's end. */
  nextMs(): number {
    const interval = this.moment.seq === 0 ? 1_000 : this.#intervalMs;
    const { occurred_at: atMs } = this.moment;
    return Math.min(this.endMs, minuteOf(atMs) + MINUTE_MS, atMs + interval);
  }
}

function zero(): Counters {
  return { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 };
}

function add(sum: Counters, delta: Counters): void {
  sum.bytes_sent += delta.bytes_sent;
  sum.bytes_received += delta.bytes_received;
  sum.packets_sent += delta.packets_sent;
  sum.packets_received += delta.packets_received;
}

/** Due events, by time. A binary heap. */
class Agenda {
  readonly #heap: { atMs: number; live: Live }[] = [];

  get size(): number {
    return this.#heap.length;
  }

  peekMs(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  push(atMs: number, live: Live): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push({ atMs, live });
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const up = heap[parent];
      const me = heap[at];
      if (up === undefined || me === undefined || up.atMs <= me.atMs) break;
      heap[parent] = me;
      heap[at] = up;
      at = parent;
    }
  }

  pop(): Live | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined) return undefined;
    if (heap.length > 0) {
      heap[0] = last;
      let at = 0;
      for (;;) {
        const left = 2 * at + 1;
        const right = left + 1;
        let least = at;
        if ((heap[left]?.atMs ?? Infinity) < (heap[least]?.atMs ?? Infinity)) least = left;
        if ((heap[right]?.atMs ?? Infinity) < (heap[least]?.atMs ?? Infinity)) least = right;
        if (least === at) break;
        const a = heap[at];
        const b = heap[least];
        if (a === undefined || b === undefined) break;
        heap[at] = b;
        heap[least] = a;
        at = least;
      }
    }
    return top.live;
  }
}

/** Exactly `options.events` events by rising `occurred_at`; the last sessions stay open. */
export function* workload(options: WorkloadOptions): Generator<EventParts, void, undefined> {
  const random = seededRandom(options.seed);
  const agenda = new Agenda();
  let nextStartMs = options.startMs;
  for (let count = 0; count < options.events; count += 1) {
    if (nextStartMs <= agenda.peekMs()) {
      const live = new Live(random, Math.floor(nextStartMs), options);
      nextStartMs += exponential(random, 1_000 / options.sessionsPerSecond);
      yield live;
      agenda.push(live.nextMs(), live);
      continue;
    }
    const atMs = agenda.peekMs();
    const live = agenda.pop();
    if (live === undefined) continue;
    live.advance(atMs);
    yield live;
    if (atMs < live.endMs) agenda.push(live.nextMs(), live);
  }
}

/** The expected totals of the tables. */
export interface FillTotals {
  readonly events: number;
  readonly sessions: number;
  /** Sum of the totals in the last event of each session. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Bytes of their JSON, judged by one event of each request. */
  readonly valueBytes: number;
}

/** Adds up events: the last event of a session has the session's totals. */
export function createTally({ countsSessions = true } = {}): {
  add(event: EventParts): void;
  totals(): Omit<FillTotals, 'valueBytes'>;
} {
  const last = new Map<string, { sent: number; received: number }>();
  let events = 0;
  return {
    add({ moment, totals }) {
      events += 1;
      if (!countsSessions) return;
      last.set(moment.session_id, { sent: totals.bytes_sent, received: totals.bytes_received });
    },
    totals() {
      let bytesSent = 0;
      let bytesReceived = 0;
      for (const { sent, received } of last.values()) {
        bytesSent += sent;
        bytesReceived += received;
      }
      return { events, sessions: last.size, bytesSent, bytesReceived };
    },
  };
}
