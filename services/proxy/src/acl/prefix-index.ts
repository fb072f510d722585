import { maskOf } from '@sockscope/schemas/net';
import type { Prefix } from '@sockscope/schemas/net';

/** A block and what it stands for. */
export interface PrefixEntry<T> {
  readonly prefix: Pick<Prefix, 'length'> & { readonly ip: { readonly words: readonly number[] } };
  readonly value: T;
}

/**
 * Finds every block that holds an address. Blocks either nest or are apart, so the innermost
 * one is the last that begins at or before the address, or one of those around it: one binary
 * search and a walk outward, at most one step per distinct length.
 *
 * All blocks have `width` words and are distinct.
 */
export class PrefixIndex<T> {
  readonly #width: number;
  readonly #starts: Uint32Array;
  readonly #masks: Uint32Array;
  readonly #parents: Int32Array;
  readonly #values: readonly T[];

  constructor(width: number, entries: readonly PrefixEntry<T>[]) {
    const sorted = entries.toSorted((a, b) => {
      for (let i = 0; i < width; i += 1) {
        const order = (a.prefix.ip.words[i] ?? 0) - (b.prefix.ip.words[i] ?? 0);
        if (order !== 0) return order;
      }
      return a.prefix.length - b.prefix.length;
    });
    this.#width = width;
    this.#starts = new Uint32Array(sorted.length * width);
    this.#masks = new Uint32Array(sorted.length * width);
    this.#parents = new Int32Array(sorted.length).fill(-1);
    this.#values = sorted.map((entry) => entry.value);
    let around = -1;
    for (const [at, { prefix }] of sorted.entries()) {
      for (let i = 0; i < width; i += 1) {
        this.#starts[at * width + i] = prefix.ip.words[i] ?? 0;
        this.#masks[at * width + i] = maskOf(prefix.length, i);
      }
      while (around >= 0 && !this.#holds(around, prefix.ip.words)) {
        around = this.#parents[around] ?? -1;
      }
      this.#parents[at] = around;
      around = at;
    }
  }

  #holds(at: number, words: readonly number[]): boolean {
    const base = at * this.#width;
    for (let i = 0; i < this.#width; i += 1) {
      const masked = ((words[i] ?? 0) & (this.#masks[base + i] ?? 0)) >>> 0;
      if (masked !== this.#starts[base + i]) return false;
    }
    return true;
  }

  #beginsAtOrBefore(at: number, words: readonly number[]): boolean {
    const base = at * this.#width;
    for (let i = 0; i < this.#width; i += 1) {
      const start = this.#starts[base + i] ?? 0;
      const word = words[i] ?? 0;
      if (start !== word) return start < word;
    }
    return true;
  }

  /** Position of the innermost block around the address; -1 if there is none. */
  first(words: readonly number[]): number {
    let low = 0;
    let high = this.#parents.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#beginsAtOrBefore(middle, words)) low = middle + 1;
      else high = middle;
    }
    let at = low - 1;
    while (at >= 0 && !this.#holds(at, words)) at = this.#parents[at] ?? -1;
    return at;
  }

  /** Position of the next block outward; -1 if there is none. */
  next(at: number): number {
    return this.#parents[at] ?? -1;
  }

  valueAt(at: number): T {
    const value = this.#values[at];
    if (value === undefined) throw new RangeError(`no block at ${at}`);
    return value;
  }
}
