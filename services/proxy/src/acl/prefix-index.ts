import { maskOf } from '@sockscope/schemas/net';
import type { Prefix } from '@sockscope/schemas/net';

/** Blocks of addresses in typed arrays, which one thread hands to another without a copy. */
export interface PrefixIndex {
  /** Words of an address. */
  readonly width: number;
  readonly starts: Uint32Array;
  readonly masks: Uint32Array;
  /** Position of the next block outward; -1 if there is none. */
  readonly parents: Int32Array;
}

/** Blocks in the order of an index. */
export function sortPrefixes<T extends { readonly prefix: Prefix }>(blocks: readonly T[]): T[] {
  return blocks.toSorted(({ prefix: a }, { prefix: b }) => {
    for (const [i, word] of a.ip.words.entries()) {
      const order = word - (b.ip.words[i] ?? 0);
      if (order !== 0) return order;
    }
    return a.length - b.length;
  });
}

/**
 * Finds every block that holds an address. Blocks either nest or are apart, so the innermost
 * one is the last that begins at or before the address, or one of those around it: one binary
 * search and a walk outward, at most one step per distinct length.
 *
 * @param blocks all of `width` words, distinct and as `sortPrefixes` orders them.
 */
export function createPrefixIndex(
  width: number,
  blocks: readonly { readonly prefix: Prefix }[],
): PrefixIndex {
  const index = {
    width,
    starts: new Uint32Array(blocks.length * width),
    masks: new Uint32Array(blocks.length * width),
    parents: new Int32Array(blocks.length).fill(-1),
  };
  let around = -1;
  for (const [at, { prefix }] of blocks.entries()) {
    for (let i = 0; i < width; i += 1) {
      index.starts[at * width + i] = prefix.ip.words[i] ?? 0;
      index.masks[at * width + i] = maskOf(prefix.length, i);
    }
    while (around >= 0 && !holds(index, around, prefix.ip.words)) {
      around = index.parents[around] ?? -1;
    }
    index.parents[at] = around;
    around = at;
  }
  return index;
}

function holds({ width, starts, masks }: PrefixIndex, at: number, words: readonly number[]) {
  const base = at * width;
  for (let i = 0; i < width; i += 1) {
    const masked = ((words[i] ?? 0) & (masks[base + i] ?? 0)) >>> 0;
    if (masked !== starts[base + i]) return false;
  }
  return true;
}

function beginsAtOrBefore({ width, starts }: PrefixIndex, at: number, words: readonly number[]) {
  const base = at * width;
  for (let i = 0; i < width; i += 1) {
    const start = starts[base + i] ?? 0;
    const word = words[i] ?? 0;
    if (start !== word) return start < word;
  }
  return true;
}

/** Position of the innermost block around the address; -1 if there is none. */
export function firstAround(index: PrefixIndex, words: readonly number[]): number {
  let low = 0;
  let high = index.parents.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (beginsAtOrBefore(index, middle, words)) low = middle + 1;
    else high = middle;
  }
  let at = low - 1;
  while (at >= 0 && !holds(index, at, words)) at = index.parents[at] ?? -1;
  return at;
}

/** Position of the next block outward; -1 if there is none. */
export function nextAround(index: PrefixIndex, at: number): number {
  return index.parents[at] ?? -1;
}

/** Whether a block is one address. */
export function isHost({ width, masks }: PrefixIndex, at: number): boolean {
  return masks[at * width + width - 1] === 0xffff_ffff;
}
