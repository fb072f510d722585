import { SourceTree } from '../collections/source-tree.js';

export interface HashQueueConfig {
  /** Passwords hashed at once. */
  readonly concurrency: number;
  /** Logins that wait, at most. */
  readonly max_waiting: number;
  /** Age at which a waiting login is dropped: fewer wait if hashing is slow. */
  readonly deadline_ms: number;
}

export interface HashJob {
  /** Logins with the same key share one hash. */
  readonly key: string;
  readonly networks: readonly string[];
  /** Whether the user logged in from this address lately: such a login is served before all others. */
  readonly isProven: boolean;
  readonly hash: () => Promise<boolean>;
}

/** The result of a hash; `busy` and `left` mean that nothing was hashed. */
export type HashOutcome = 'right' | 'wrong' | 'busy' | 'left';

/** How much the newest hash counts in the mean time of one. */
const NEWEST_SHARE = 0.1;

class Entry {
  readonly job: HashJob;
  readonly waiters = new Set<(outcome: HashOutcome) => void>();
  isRunning = false;

  constructor(job: HashJob) {
    this.job = job;
  }
}

/**
 * Hashes passwords, a bounded number at once. Sources that wait are served in turn, so that a flood
 * from some of them delays nobody by more than one hash for each of them; a login whose client has
 * left is not hashed. When the queue is full, the largest source loses its oldest login.
 */
export class HashQueue {
  readonly #config: HashQueueConfig;
  readonly #entries = new Map<string, Entry>();
  readonly #proven = new SourceTree<Entry>();
  readonly #others = new SourceTree<Entry>();
  #running = 0;
  #meanMs = 0;

  constructor(config: HashQueueConfig) {
    this.#config = config;
  }

  get waiting(): number {
    return this.#proven.size + this.#others.size;
  }

  /** Logins that may wait now: as many as can be hashed until their deadline. */
  get capacity(): number {
    const { concurrency, deadline_ms, max_waiting } = this.#config;
    if (this.#meanMs === 0) return max_waiting;
    return Math.min(max_waiting, Math.ceil((concurrency * deadline_ms) / this.#meanMs));
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Makes later logins hash again, because the stored hashes have changed. */
  forget(): void {
    this.#entries.clear();
  }

  /** Resolves with the outcome; with `left` as soon as `signal` shows that the client has gone. */
  run(job: HashJob, signal?: AbortSignal): Promise<HashOutcome> {
    return new Promise((resolve) => {
      const entry = this.#entries.get(job.key) ?? this.#enter(job);
      if (entry === null || signal?.aborted === true) {
        resolve(entry === null ? 'busy' : 'left');
        return;
      }
      const leave = (): void => {
        resolve('left');
        entry.waiters.delete(settle);
        if (entry.waiters.size === 0 && !entry.isRunning) this.#remove(entry);
      };
      const settle = (outcome: HashOutcome): void => {
        signal?.removeEventListener('abort', leave);
        resolve(outcome);
      };
      entry.waiters.add(settle);
      signal?.addEventListener('abort', leave, { once: true });
      this.#startNext();
    });
  }

  #enter(job: HashJob): Entry | null {
    if (this.#running >= this.#config.concurrency && this.waiting >= this.capacity) {
      const displaced = this.#others.oldestToDisplace(job.networks);
      if (displaced === null) return null;
      this.#finish(displaced, 'busy');
    }
    const entry = new Entry(job);
    this.#entries.set(job.key, entry);
    this.#tree(entry).add(job.networks, entry);
    return entry;
  }

  #tree({ job }: Entry): SourceTree<Entry> {
    return job.isProven ? this.#proven : this.#others;
  }

  #startNext(): void {
    if (this.#running >= this.#config.concurrency) return;
    const entry = this.#proven.next() ?? this.#others.next();
    if (entry === null) return;
    this.#tree(entry).delete(entry.job.networks, entry);
    entry.isRunning = true;
    this.#running += 1;
    void this.#hash(entry);
  }

  async #hash(entry: Entry): Promise<void> {
    const startedMs = performance.now();
    let outcome: HashOutcome = 'wrong';
    try {
      if (await entry.job.hash()) outcome = 'right';
    } catch {
      // A login that cannot be checked is refused.
    }
    const tookMs = performance.now() - startedMs;
    this.#meanMs += (tookMs - this.#meanMs) * (this.#meanMs === 0 ? 1 : NEWEST_SHARE);
    this.#running -= 1;
    this.#finish(entry, outcome);
    this.#startNext();
  }

  #finish(entry: Entry, outcome: HashOutcome): void {
    this.#remove(entry);
    for (const settle of entry.waiters) settle(outcome);
  }

  #remove(entry: Entry): void {
    this.#tree(entry).delete(entry.job.networks, entry);
    if (this.#entries.get(entry.job.key) === entry) this.#entries.delete(entry.job.key);
  }
}
