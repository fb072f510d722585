import type { LimitName } from '../limits/admission.js';
import type { HeldCount } from './messages.js';

interface Holding {
  readonly limit: LimitName;
  readonly key: string;
  readonly byWorker: Map<number, number>;
  /** The workers whose count changed since the last updates. */
  readonly changed: Set<number>;
}

/**
 * The counts of each worker under each limit, and the changes that it must learn about the others. Only keys with
 * a count are kept, so the size is bounded by the limits themselves.
 */
export class CountLedger {
  readonly #holdings = new Map<string, Holding>();
  readonly #changed = new Set<string>();

  #set(worker: number, limit: LimitName, key: string, count: number): void {
    const id = `${limit} ${key}`;
    let holding = this.#holdings.get(id);
    if (holding === undefined) {
      holding = { limit, key, byWorker: new Map(), changed: new Set() };
      this.#holdings.set(id, holding);
    }
    if (count === 0) holding.byWorker.delete(worker);
    else holding.byWorker.set(worker, count);
    holding.changed.add(worker);
    this.#changed.add(id);
  }

  /** Stores the present counts that a worker reports, for the keys that changed there. */
  report(worker: number, counts: readonly HeldCount[]): void {
    for (const [limit, key, count] of counts) this.#set(worker, limit, key, count);
  }

  /** A worker is gone, and holds nothing. */
  forget(worker: number): void {
    for (const { limit, key, byWorker } of this.#holdings.values()) {
      if (byWorker.has(worker)) this.#set(worker, limit, key, 0);
    }
  }

  /** The counts of the others, for a worker that has just begun. */
  snapshotFor(worker: number): HeldCount[] {
    return [...this.#holdings.values()].map(({ limit, key, byWorker }): HeldCount => {
      const others = sum(byWorker) - (byWorker.get(worker) ?? 0);
      return [limit, key, others];
    });
  }

  /** Returns the changes of the others since the last call, for each worker. A worker knows its own changes. */
  takeUpdates(workers: readonly number[]): Map<number, HeldCount[]> {
    const updates = new Map<number, HeldCount[]>();
    for (const id of this.#changed) {
      const holding = this.#holdings.get(id);
      if (holding === undefined) continue;
      const { limit, key, byWorker, changed } = holding;
      const total = sum(byWorker);
      for (const worker of workers) {
        if (changed.size === 1 && changed.has(worker)) continue;
        const list = updates.get(worker) ?? [];
        list.push([limit, key, total - (byWorker.get(worker) ?? 0)]);
        updates.set(worker, list);
      }
      changed.clear();
      if (byWorker.size === 0) this.#holdings.delete(id);
    }
    this.#changed.clear();
    return updates;
  }
}

function sum(counts: ReadonlyMap<number, number>): number {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}
