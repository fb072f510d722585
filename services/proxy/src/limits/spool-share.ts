import { ANONYMOUS_USER } from '@sockscope/schemas';
import { LRUCache } from 'lru-cache';

/** Bytes of an idle session in the spool: its start and its end. */
const SESSION_BYTES = 1_024;
/** Below this share of the spool, events are on their way and nobody is limited. */
const QUIET_SHARE = 1 / 8;
/** Share of the free room that one user or one network may have. */
const SHARE_OF_FREE = 1 / 4;
const KEYS_REMEMBERED_MAX = 50_000;

export interface Spool {
  /** Bytes that Kafka has not acknowledged. */
  readonly bytes: number;
  readonly maxBytes: number;
  /** Whether there are fewer than this. Takes less time than `bytes`. */
  holdsLess(bytes: number): boolean;
}

/**
 * While Kafka is away, every session fills the spool, a refused one too. Nobody gets more than a
 * share of the free room, so that there is room left for others, however long it lasts.
 */
export class SpoolShare {
  readonly #spool: Spool;
  /** Sessions by user and network since the spool began to fill. */
  readonly #sessions = new LRUCache<string, number>({ max: KEYS_REMEMBERED_MAX });

  constructor(spool: Spool) {
    this.#spool = spool;
  }

  /** Counts a session, or returns false if there is no room for it. */
  take(user: string, networks: readonly string[]): boolean {
    const { maxBytes } = this.#spool;
    if (this.#spool.holdsLess(maxBytes * QUIET_SHARE)) {
      if (this.#sessions.size > 0) this.#sessions.clear();
      return true;
    }
    const { bytes } = this.#spool;
    const most = ((maxBytes - bytes) * SHARE_OF_FREE) / SESSION_BYTES;
    const keys = [`network ${networks[0] ?? ''}`];
    if (user !== ANONYMOUS_USER) keys.push(`user ${user}`);
    const held = keys.map((key) => this.#sessions.get(key) ?? 0);
    if (held.some((count) => count >= most)) return false;
    for (const [i, key] of keys.entries()) this.#sessions.set(key, (held[i] ?? 0) + 1);
    return true;
  }
}
