import { ANONYMOUS_USER } from '@sockscope/schemas';
import { parseIp } from '../acl/address.js';
import type { LimitsConfig } from './config.js';

/** What refused, by the name of its limit. A closed set: it is a metric label. */
export const LIMIT_NAMES = [
  'max_handshakes',
  'max_handshakes_per_source',
  'max_sessions',
  'max_sessions_per_user',
  'max_sessions_per_source',
] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

/**
 * Counts who holds how much and says no above a limit. Only those who hold something have an
 * entry, so the maps are bounded by the limits in all.
 */
export class Admission {
  readonly #config: LimitsConfig;
  readonly #handshakesBySource = new Map<string, number>();
  readonly #sessionsBySource = new Map<string, number>();
  readonly #sessionsByUser = new Map<string, number>();
  #handshakes = 0;
  #sessions = 0;

  constructor(config: LimitsConfig) {
    this.#config = config;
  }

  get handshakes(): number {
    return this.#handshakes;
  }

  /**
   * Takes a place for a handshake, or names the limit that refuses it.
   *
   * @param source null where the source is told later, by `attributeHandshake`.
   */
  beginHandshake(source: string | null): LimitName | null {
    if (this.#handshakes >= this.#config.max_handshakes) return 'max_handshakes';
    const limit = source === null ? null : this.attributeHandshake(source);
    if (limit === null) this.#handshakes += 1;
    return limit;
  }

  /** Counts a handshake for its source, or names the limit that refuses it. */
  attributeHandshake(source: string): LimitName | null {
    const { max_handshakes_per_source: perSource } = this.#config;
    if (isFull(this.#handshakesBySource, source, perSource)) return 'max_handshakes_per_source';
    if (perSource !== 0) increment(this.#handshakesBySource, source);
    return null;
  }

  /** Gives the place back. `source` is null where none was attributed. */
  endHandshake(source: string | null): void {
    this.#handshakes -= 1;
    if (source !== null && this.#config.max_handshakes_per_source !== 0) {
      decrement(this.#handshakesBySource, source);
    }
  }

  /** Takes a place for a session, or names the limit that refuses it. */
  beginSession(user: string, source: string): LimitName | null {
    const { max_sessions, max_sessions_per_user, max_sessions_per_source } = this.#config;
    if (max_sessions !== 0 && this.#sessions >= max_sessions) return 'max_sessions';
    if (isFull(this.#sessionsBySource, source, max_sessions_per_source)) {
      return 'max_sessions_per_source';
    }
    const isCounted = user !== ANONYMOUS_USER && max_sessions_per_user !== 0;
    if (isCounted && isFull(this.#sessionsByUser, user, max_sessions_per_user)) {
      return 'max_sessions_per_user';
    }
    this.#sessions += 1;
    if (max_sessions_per_source !== 0) increment(this.#sessionsBySource, source);
    if (isCounted) increment(this.#sessionsByUser, user);
    return null;
  }

  endSession(user: string, source: string): void {
    this.#sessions -= 1;
    if (this.#config.max_sessions_per_source !== 0) decrement(this.#sessionsBySource, source);
    if (user !== ANONYMOUS_USER && this.#config.max_sessions_per_user !== 0) {
      decrement(this.#sessionsByUser, user);
    }
  }
}

function isFull(counts: Map<string, number>, key: string, limit: number): boolean {
  return limit !== 0 && (counts.get(key) ?? 0) >= limit;
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function decrement(counts: Map<string, number>, key: string): void {
  const count = counts.get(key) ?? 0;
  if (count > 1) counts.set(key, count - 1);
  else counts.delete(key);
}

/** What counts as one source: an IPv4 address, or the /64 that an IPv6 host chooses its addresses from. */
export function sourceKey(ip: string): string {
  if (!ip.includes(':')) return ip;
  const [high = 0, low = 0] = parseIp(ip)?.words ?? [];
  return `${high.toString(16)}:${low.toString(16)}/64`;
}
