/** Tables from a condition's input to the set of rules for which it holds, as typed arrays. */
import type { IpAddress, Prefix } from '@sockscope/schemas/net';
import { createPrefixIndex, firstAround, nextAround, sortPrefixes } from './prefix-index.js';
import type { PrefixIndex } from './prefix-index.js';
import { addSet, createRuleSets } from './rule-set.js';
import type { RuleBits, RuleSets } from './rule-set.js';
import type { PortRange } from './rules.js';
import { createStringTable, numberOf } from './string-table.js';
import type { StringTable } from './string-table.js';

/** Collects the rules that name something. */
export class Collector<K> {
  readonly #members = new Map<K, number[]>();

  add(key: K, rule: number): void {
    const members = this.#members.get(key);
    if (members === undefined) this.#members.set(key, [rule]);
    else members.push(rule);
  }

  keys(): readonly K[] {
    return [...this.#members.keys()];
  }

  /** Returns the sets in the order of the keys. */
  sets(rules: number): RuleSets {
    return createRuleSets(rules, [...this.#members.values()]);
  }
}

/** Names to the rules that mention them. */
export interface NameTable {
  readonly names: StringTable;
  readonly sets: RuleSets;
}

export function createNameTable(collector: Collector<string>, rules: number): NameTable {
  return { names: createStringTable(collector.keys()), sets: collector.sets(rules) };
}

export function addName({ names, sets }: NameTable, name: string, target: RuleBits): void {
  addSet(sets, numberOf(names, name), target);
}

/** Adds the rules of every suffix of `name` that has fewer labels, up to `maxLabels`. */
export function addSuffixes(
  table: NameTable,
  maxLabels: number,
  name: string,
  target: RuleBits,
): void {
  // Only as many labels as the deepest rule has can match: a name of 127 labels costs no more.
  let end = name.length;
  for (let labels = 0; labels < maxLabels && end > 0; labels += 1) {
    end = name.lastIndexOf('.', end - 1);
    if (end < 0) return;
    addName(table, name.slice(end + 1), target);
  }
}

/** Blocks of addresses of one family to the rules that mention them. */
export interface BlockTable {
  readonly blocks: PrefixIndex;
  /** Sets by position in `blocks`. */
  readonly sets: RuleSets;
}

/** Collects the rules that name a block of addresses. */
export class BlockCollector {
  readonly #blocks = new Map<string, { readonly prefix: Prefix; readonly members: number[] }>();

  add(prefix: Prefix, rule: number): void {
    const key = `${prefix.ip.words.join('.')}/${prefix.length}`;
    const block = this.#blocks.get(key);
    if (block === undefined) this.#blocks.set(key, { prefix, members: [rule] });
    else block.members.push(rule);
  }

  /** The blocks in the order of the table. */
  table(width: number, rules: number): BlockTable & { readonly prefixes: readonly Prefix[] } {
    const sorted = sortPrefixes([...this.#blocks.values()]);
    return {
      blocks: createPrefixIndex(width, sorted),
      sets: createRuleSets(
        rules,
        sorted.map((block) => block.members),
      ),
      prefixes: sorted.map((block) => block.prefix),
    };
  }
}

export function addBlocks(
  { blocks, sets }: BlockTable,
  words: readonly number[],
  target: RuleBits,
): void {
  for (let at = firstAround(blocks, words); at >= 0; at = nextAround(blocks, at)) {
    addSet(sets, at, target);
  }
}

/** The same of both families of addresses. */
export interface OfFamily<T> {
  readonly v4: T;
  readonly v6: T;
}

export function ofFamily<T>({ v4, v6 }: OfFamily<T>, ip: IpAddress): T {
  return ip.bits === 32 ? v4 : v6;
}

const PORT_BITS = 16;

/** A port as the upper half of a word, so that ranges of ports become blocks of addresses. */
export function portKey(port: number): number {
  return (port << PORT_BITS) >>> 0;
}

/** The fewest blocks that make up a range: at most 30. */
export function blocksOfRange(range: PortRange): Prefix[] {
  const blocks: Prefix[] = [];
  let from = range.from;
  while (from <= range.to) {
    let free = from === 0 ? PORT_BITS : Math.min(PORT_BITS, 31 - Math.clz32(from & -from));
    while (from + 2 ** free - 1 > range.to) free -= 1;
    blocks.push({ ip: { bits: 32, words: [portKey(from)] }, length: PORT_BITS - free });
    from += 2 ** free;
  }
  return blocks;
}
