import { ANONYMOUS_USER } from '@sockscope/schemas';
import type { LimitsConfig } from './config.js';
import type { DescriptorBudget } from './descriptors.js';

/** Limits on the counts kept here. */
const COUNTED_LIMITS = [
  'max_handshakes',
  'max_handshakes_per_source',
  'max_sessions',
  'max_sessions_per_user',
  'max_sessions_per_source',
] as const;
export type CountedLimit = (typeof COUNTED_LIMITS)[number];

/** The limit that refused, by its name. A closed set: it is a metric label. */
export const LIMIT_NAMES = [
  ...COUNTED_LIMITS,
  'descriptors',
  'early_payload_bytes',
  'spool_share',
] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

/** Default share of all sessions for one source. */
const SOURCE_SHARE = 1 / 4;

/** The key of limits that count everything together. */
const ALL = '';

/** The way in which processes with common limits exchange their counts. */
export interface SharedCounts {
  /** The places of the other processes, as far as is known here. */
  others(limit: CountedLimit, key: string): number;
  /** Called with every change of a count here. */
  changed(limit: CountedLimit, key: string, count: number): void;
}

/**
 * Counts the places of each holder and refuses more than a limit. Only holders of something have
 * an entry, so the maps are bounded by the limits.
 */
export class Admission {
  readonly #limits: Readonly<Record<CountedLimit, number>>;
  readonly #descriptors: DescriptorBudget;
  readonly #shared: SharedCounts | null;
  readonly #held = new Map(COUNTED_LIMITS.map((limit) => [limit, new Map<string, number>()]));

  constructor(
    config: LimitsConfig,
    descriptors: DescriptorBudget,
    shared: SharedCounts | null = null,
  ) {
    const { max_sessions, max_sessions_per_source: perSource } = config;
    this.#limits = {
      ...config,
      max_sessions_per_source:
        perSource === 'auto' ? Math.ceil(max_sessions * SOURCE_SHARE) : perSource,
    };
    this.#descriptors = descriptors;
    this.#shared = shared;
  }

  get handshakes(): number {
    return this.#held.get('max_handshakes')?.get(ALL) ?? 0;
  }

  #isFull(limit: CountedLimit, key: string): boolean {
    const most = this.#limits[limit];
    if (most === 0) return false;
    const others = this.#shared === null ? 0 : this.#shared.others(limit, key);
    return (this.#held.get(limit)?.get(key) ?? 0) + others >= most;
  }

  #add(limit: CountedLimit, key: string, step: 1 | -1): void {
    if (this.#limits[limit] === 0) return;
    const counts = this.#held.get(limit);
    const count = (counts?.get(key) ?? 0) + step;
    if (count > 0) counts?.set(key, count);
    else counts?.delete(key);
    this.#shared?.changed(limit, key, Math.max(0, count));
  }

  /**
   * Takes a place for a handshake, or names the limit that refuses it.
   *
   * @param source null if `attributeHandshake` sets the source later.
   */
  beginHandshake(source: string | null): LimitName | null {
    if (this.#descriptors.isFull) return 'descriptors';
    if (this.#isFull('max_handshakes', ALL)) return 'max_handshakes';
    const limit = source === null ? null : this.attributeHandshake(source);
    if (limit === null) this.#add('max_handshakes', ALL, 1);
    return limit;
  }

  /** Counts a handshake for its source, or names the limit that refuses it. */
  attributeHandshake(source: string): LimitName | null {
    if (this.#isFull('max_handshakes_per_source', source)) return 'max_handshakes_per_source';
    this.#add('max_handshakes_per_source', source, 1);
    return null;
  }

  /** Gives the place back. `source` is null if none was attributed. */
  endHandshake(source: string | null): void {
    this.#add('max_handshakes', ALL, -1);
    if (source !== null) this.#add('max_handshakes_per_source', source, -1);
  }

  /** Takes a place for a session, or names the limit that refuses it. */
  beginSession(user: string, source: string): LimitName | null {
    if (this.#descriptors.isFull) return 'descriptors';
    if (this.#isFull('max_sessions', ALL)) return 'max_sessions';
    if (this.#isFull('max_sessions_per_source', source)) return 'max_sessions_per_source';
    const isUser = user !== ANONYMOUS_USER;
    if (isUser && this.#isFull('max_sessions_per_user', user)) return 'max_sessions_per_user';
    this.#addSession(user, source, 1);
    return null;
  }

  endSession(user: string, source: string): void {
    this.#addSession(user, source, -1);
  }

  #addSession(user: string, source: string, step: 1 | -1): void {
    this.#add('max_sessions', ALL, step);
    this.#add('max_sessions_per_source', source, step);
    if (user !== ANONYMOUS_USER) this.#add('max_sessions_per_user', user, step);
  }
}
