import { fold } from '@sockscope/schemas';
import type { CloseReason, Counters, SessionEvent, SessionRow } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { insertBatch } from './load.js';

/** One minute of one session's traffic. */
export interface Minute {
  readonly bucketMs: number;
  readonly row: SessionRow;
  readonly counters: Counters;
}

/** The sessions as the pure fold sees them: the truth to compare answers with. */
export interface World {
  readonly events: readonly SessionEvent[];
  readonly sessions: readonly SessionRow[];
  readonly minutes: readonly Minute[];
}

export function worldOf(events: readonly SessionEvent[]): World {
  const sessions: SessionRow[] = [];
  const minutes: Minute[] = [];
  for (const { row, minutes: traffic } of fold(events).values()) {
    if (row === null) continue;
    sessions.push(row);
    for (const [bucket, counters] of traffic) {
      minutes.push({ bucketMs: Date.parse(bucket), row, counters });
    }
  }
  return { events, sessions, minutes };
}

export interface WorldOptions {
  readonly seed: number;
  readonly sessions: number;
  /** Starts lie in `[fromMs, toMs)`. */
  readonly fromMs: number;
  readonly toMs: number;
}

const CLOSE_REASONS: readonly CloseReason[] = [
  'client_eof',
  'client_eof',
  'upstream_eof',
  'idle_timeout',
  'connect_failed',
  'dns_failed',
  'acl_rejected',
];
/** Names that a client may choose freely. */
const HOSTILE_USERS = [
  `o'brien"; DROP TABLE sessions --`,
  '=cmd|calc',
  '{"a":1}\n',
  'ünï\u0000cödé',
];
const HOSTILE_HOSTS = ['*.evil.example', `x' OR 1=1 --`, '-2+3', '2001:db8::1'];

function pick<T>(random: Random, from: readonly T[], otherwise: T): T {
  return from[Math.floor(random() * from.length)] ?? otherwise;
}

/**
 * Sessions of every kind: open, closed, failed, rejected; few users and destinations with some
 * hostile names among them; many that start in the same millisecond; two proxies.
 */
export function makeEvents(options: WorldOptions): SessionEvent[] {
  const random = seededRandom(options.seed);
  const { fromMs, toMs } = options;
  const events: SessionEvent[] = [];
  let startMs = fromMs;
  for (let i = 0; i < options.sessions; i += 1) {
    // One in three starts together with the previous one.
    if (random() < 0.67) startMs = fromMs + Math.floor(random() * (toMs - fromMs));
    const user =
      random() < 0.1 ? pick(random, HOSTILE_USERS, '') : `user-${Math.floor(random() ** 2 * 12)}`;
    const destHost =
      random() < 0.1
        ? pick(random, HOSTILE_HOSTS, '')
        : `${pick(random, ['www', 'api', 'cdn'], 'www')}.site-${Math.floor(random() ** 2 * 8)}.example`;
    const closed = random() < 0.85;
    events.push(
      ...sessionLog({
        random,
        startMs,
        user,
        destHost,
        proxyId: pick(random, ['proxy-1', 'proxy-2'], 'proxy-1'),
        proxyEpoch: fromMs - 1_000,
        closed,
        ...(closed ? { closeReason: pick(random, CLOSE_REASONS, 'client_eof') } : {}),
      }),
    );
  }
  return events;
}

function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const shuffled = [...items];
  for (let i = shuffled.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [shuffled[i], shuffled[j]];
    if (a !== undefined && b !== undefined) [shuffled[i], shuffled[j]] = [b, a];
  }
  return shuffled;
}

/**
 * Stores events as a bad day would: late ones after early ones, batches that overlap, batches
 * that come twice, each a part of its own.
 */
export async function storeBadly(
  clickhouse: ClickHouse,
  events: readonly SessionEvent[],
  options: { readonly seed: number; readonly batches: number },
): Promise<void> {
  const random = seededRandom(options.seed);
  const late = events.filter(() => random() < 0.2);
  const order = [...shuffle(random, events), ...shuffle(random, late)];
  const size = Math.ceil(order.length / options.batches);
  for (let i = 0; i < order.length; i += size) {
    const batch = order.slice(i, i + size + Math.floor(size / 5));
    // In order, as partitions give them: a part per batch.
    await insertBatch(clickhouse, batch);
    if (random() < 0.3) await insertBatch(clickhouse, batch);
  }
}
