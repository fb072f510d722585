import type { LimitName, SharedCounts } from '../limits/admission.js';
import type { HeldCount } from './messages.js';

/**
 * A worker's side of the limits that hold for all workers together: remembers which of its counts
 * changed, and the counts of the others. Changes travel every `EXCHANGE_MS`; meanwhile several
 * workers together can exceed a limit.
 */
export class CountShare implements SharedCounts {
  readonly #others = new Map<string, number>();
  readonly #changed = new Map<string, HeldCount>();

  /** Called with every change of an own count. */
  changed(limit: LimitName, key: string, count: number): void {
    this.#changed.set(`${limit} ${key}`, [limit, key, count]);
  }

  /** The counts of the other workers, as far as is known. */
  others(limit: LimitName, key: string): number {
    return this.#others.get(`${limit} ${key}`) ?? 0;
  }

  takeChanges(): HeldCount[] {
    const changes = [...this.#changed.values()];
    this.#changed.clear();
    return changes;
  }

  learn(counts: readonly HeldCount[]): void {
    for (const [limit, key, count] of counts) {
      if (count === 0) this.#others.delete(`${limit} ${key}`);
      else this.#others.set(`${limit} ${key}`, count);
    }
  }
}
