import { createFlights } from './flights.js';

/**
 * Lookups by key that arrive while others run are joined into one query, because most of a lookup's
 * cost comes before its first row. No lookup waits for others to arrive: while fewer than `running_max`
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

interface Request<V> {
  readonly key: string;
  /** Aborted when no caller waits for this key any more. */
  readonly abandoned: AbortSignal;
  readonly settle: (value: V | undefined) => void;
  readonly fail: (error: unknown) => void;
}

/**
 * @param ask answers for all keys at once; it is given up when nobody waits for any of them.
 */
export function createBatches<V>(
  config: BatchesConfig,
  ask: (keys: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, V>>,
): Batches<V> {
  const flights = createFlights<V | undefined>();
  /** Bounded by the requests that are let in. */
  const unasked = new Set<Request<V>>();
  let running = 0;

  function begin(): void {
    if (running >= config.running_max) return;
    const batch = [...unasked].slice(0, config.keys_max);
    if (batch.length === 0) return;
    for (const request of batch) unasked.delete(request);
    running += 1;
    void run(batch).finally(() => {
      running -= 1;
      begin();
    });
  }

  async function run(batch: readonly Request<V>[]): Promise<void> {
    const controller = new AbortController();
    for (const { abandoned } of batch) {
      abandoned.addEventListener('abort', () => {
        if (batch.every((request) => request.abandoned.aborted)) controller.abort();
      });
    }
    try {
      const keys = batch.map(({ key }) => key);
      const found = await ask(keys, controller.signal);
      for (const { key, settle } of batch) settle(found.get(key));
    } catch (error) {
      for (const { fail } of batch) fail(error);
    }
  }

  return {
    look: (key, signal) =>
      flights.join(
        key,
        signal,
        (abandoned) =>
          new Promise<V | undefined>((settle, fail) => {
            const request = { key, abandoned, settle, fail };
            unasked.add(request);
            abandoned.addEventListener('abort', () => unasked.delete(request));
            begin();
          }),
      ),
  };
}
