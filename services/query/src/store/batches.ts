import { unlessAborted } from './unless-aborted.js';

/**
 * Lookups by key that arrive while others run are joined into one query, because most of a lookup's
 * cost comes before its first row. Nobody waits for others to come: while fewer than `running_max`
 * questions are under way, a look-up goes at once.
 */
export interface Batches<V> {
  /** Undefined if nothing has this key. */
  look(key: string, signal: AbortSignal): Promise<V | undefined>;
}

export interface BatchesConfig {
  readonly running_max: number;
  /** Keys of one question; further ones wait for the next. */
  readonly keys_max: number;
}

interface Waiting<V> {
  readonly answer: Promise<V | undefined>;
  readonly settle: (value: V | undefined) => void;
  readonly fail: (error: unknown) => void;
  /** How many wait for it. */
  count: number;
  /** The question that asks for it; null if it waits for the next one. */
  batch: Batch | null;
}

interface Batch {
  readonly controller: AbortController;
  /** Keys that anybody waits for. */
  wanted: number;
}

/**
 * @param ask answers for all keys at once; it is given up when nobody waits for any of them.
 */
export function createBatches<V>(
  config: BatchesConfig,
  ask: (keys: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, V>>,
): Batches<V> {
  /** Asked for, answered or not yet. Bounded by the requests that are let in. */
  const waitings = new Map<string, Waiting<V>>();
  const unasked = new Set<string>();
  let running = 0;

  function begin(): void {
    if (running >= config.running_max || unasked.size === 0) return;
    const keys = [...unasked].slice(0, config.keys_max);
    const batch = { controller: new AbortController(), wanted: keys.length };
    const members = keys.flatMap((key) => {
      unasked.delete(key);
      const waiting = waitings.get(key);
      if (waiting === undefined) return [];
      waiting.batch = batch;
      return [[key, waiting] as const];
    });
    running += 1;
    void run(members, batch.controller.signal).finally(() => {
      running -= 1;
      begin();
    });
  }

  async function run(
    members: readonly (readonly [string, Waiting<V>])[],
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const found = await ask(
        members.map(([key]) => key),
        signal,
      );
      for (const [key, waiting] of members) waiting.settle(found.get(key));
    } catch (error) {
      for (const [, waiting] of members) waiting.fail(error);
    } finally {
      for (const [key, waiting] of members) forget(key, waiting);
    }
  }

  /** The next request for the key starts again. */
  function forget(key: string, waiting: Waiting<V>): void {
    if (waitings.get(key) === waiting) waitings.delete(key);
  }

  function leave(key: string, waiting: Waiting<V>): void {
    waiting.count -= 1;
    if (waiting.count > 0) return;
    forget(key, waiting);
    if (waiting.batch === null) {
      unasked.delete(key);
      return;
    }
    waiting.batch.wanted -= 1;
    if (waiting.batch.wanted === 0) waiting.batch.controller.abort();
  }

  function waitingFor(key: string): Waiting<V> {
    const known = waitings.get(key);
    if (known !== undefined) return known;
    let settle: Waiting<V>['settle'] = () => undefined;
    let fail: Waiting<V>['fail'] = () => undefined;
    const answer = new Promise<V | undefined>((resolve, reject) => {
      settle = resolve;
      fail = reject;
    });
    // Who still waits hears of a failure; there may be nobody.
    answer.catch(() => undefined);
    const waiting = { answer, settle, fail, count: 0, batch: null };
    waitings.set(key, waiting);
    unasked.add(key);
    return waiting;
  }

  return {
    async look(key, signal) {
      if (signal.aborted) throw new Error('aborted before it was asked');
      const waiting = waitingFor(key);
      waiting.count += 1;
      begin();
      try {
        return await unlessAborted(waiting.answer, signal);
      } finally {
        leave(key, waiting);
      }
    },
  };
}
