import { LRUCache } from 'lru-cache';

export interface ThrottleConfig {
  /** Failures that cost no delay. */
  readonly free: number;
  /** Delay after the first failure beyond the free ones; each further one doubles it. */
  readonly base_ms: number;
  readonly max_ms: number;
  /** Time in which one failure is forgotten. */
  readonly decay_ms: number;
  /** Keys that are remembered. */
  readonly entries: number;
}

interface Entry {
  failures: number;
  atMs: number;
  blockedUntilMs: number;
}

/**
 * Counts failures per key and returns how long a key must wait. Bounded: the oldest keys are
 * forgotten.
 */
export class Throttle {
  readonly #config: ThrottleConfig;
  readonly #entries: LRUCache<string, Entry>;

  constructor(config: ThrottleConfig) {
    this.#config = config;
    this.#entries = new LRUCache({ max: config.entries });
  }

  /** Milliseconds until the key may try again; 0 if it may try now. */
  waitMs(key: string, nowMs: number): number {
    return Math.max(0, (this.#entries.get(key)?.blockedUntilMs ?? 0) - nowMs);
  }

  #decayed(key: string, nowMs: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined) return 0;
    return Math.max(0, entry.failures - Math.max(0, nowMs - entry.atMs) / this.#config.decay_ms);
  }

  /** Counts a failure. To be called before the check, so that a thousand checks at once are not free. */
  fail(key: string, nowMs: number): void {
    const { free, base_ms, max_ms } = this.#config;
    const failures = this.#decayed(key, nowMs) + 1;
    const beyond = Math.round(failures - free);
    const delayMs = beyond <= 0 ? 0 : Math.min(max_ms, base_ms * 2 ** (beyond - 1));
    this.#entries.set(key, { failures, atMs: nowMs, blockedUntilMs: nowMs + delayMs });
  }

  /** Takes a counted failure back: the check has succeeded. Delays that others earned stay. */
  succeed(key: string, nowMs: number): void {
    const failures = this.#decayed(key, nowMs) - 1;
    if (failures <= 0) {
      this.#entries.delete(key);
      return;
    }
    const blockedUntilMs = failures <= this.#config.free ? 0 : nowMs + this.waitMs(key, nowMs);
    this.#entries.set(key, { failures, atMs: nowMs, blockedUntilMs });
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}
