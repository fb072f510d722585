/** Tables from what a condition looks at to the set of rules for which it holds. */
import type { IpAddress, Prefix } from '@sockscope/schemas/net';
import { PrefixIndex } from './prefix-index.js';
import type { PrefixEntry } from './prefix-index.js';
import { RuleSet } from './rule-set.js';
import type { RuleBits } from './rule-set.js';
import type { AclRule, PortRange } from './rules.js';

/** Names and groups of names to the rules that mention them. */
type NameTable = ReadonlyMap<string, RuleSet>;

/** Work that may be left off at each step and gone on with later. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Things that are looked at in one step: a fraction of a millisecond. */
const STEP = 64;

export function isStep(count: number): boolean {
  return count % STEP === 0;
}

/** Collects members by key, to become RuleSets. */
export class Collector<K> {
  readonly #members = new Map<K, number[]>();

  add(key: K, rule: number): void {
    const members = this.#members.get(key);
    if (members === undefined) this.#members.set(key, [rule]);
    else members.push(rule);
  }

  *sets(rules: number): Steps<Map<K, RuleSet>> {
    const sets = new Map<K, RuleSet>();
    for (const [key, members] of this.#members) {
      sets.set(key, new RuleSet(rules, members));
      if (isStep(sets.size)) yield;
    }
    return sets;
  }
}

/** Blocks of one width, without repetition, each with its rules. */
export class BlockCollector {
  readonly #blocks = new Map<string, { readonly prefix: Prefix; readonly members: number[] }>();

  add(prefix: Prefix, rule: number): void {
    const key = `${prefix.ip.words.join('.')}/${prefix.length}`;
    const block = this.#blocks.get(key);
    if (block === undefined) this.#blocks.set(key, { prefix, members: [rule] });
    else block.members.push(rule);
  }

  *index<T>(
    width: number,
    value: (prefix: Prefix, members: readonly number[]) => T,
  ): Steps<PrefixIndex<T>> {
    const entries: PrefixEntry<T>[] = [];
    for (const { prefix, members } of this.#blocks.values()) {
      entries.push({ prefix, value: value(prefix, members) });
      if (isStep(entries.length)) yield;
    }
    return new PrefixIndex(width, entries);
  }
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

/** Every label less than `name` has, from the longest suffix to the shortest. */
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
    table.get(name.slice(end + 1))?.addTo(target);
  }
}

export function addBlocks<T>(
  index: PrefixIndex<T>,
  words: readonly number[],
  setOf: (value: T) => RuleSet,
  target: RuleBits,
): void {
  for (let at = index.first(words); at >= 0; at = index.next(at)) {
    setOf(index.valueAt(at)).addTo(target);
  }
}

export const sameSet = (set: RuleSet): RuleSet => set;

/** Indexes of the two address families under one roof. */
export class FamilyIndex<T> {
  readonly #v4: PrefixIndex<T>;
  readonly #v6: PrefixIndex<T>;

  constructor(v4: PrefixIndex<T>, v6: PrefixIndex<T>) {
    this.#v4 = v4;
    this.#v6 = v6;
  }

  static *build<T>(
    rules: readonly AclRule[],
    prefixesOf: (rule: AclRule) => readonly Prefix[],
    value: (prefix: Prefix, members: readonly number[]) => T,
  ): Steps<FamilyIndex<T>> {
    const v4 = new BlockCollector();
    const v6 = new BlockCollector();
    for (const [number, rule] of rules.entries()) {
      for (const prefix of prefixesOf(rule)) (prefix.ip.bits === 32 ? v4 : v6).add(prefix, number);
      if (isStep(number)) yield;
    }
    const v4Index = yield* v4.index(1, value);
    yield;
    return new FamilyIndex(v4Index, yield* v6.index(4, value));
  }

  of(ip: IpAddress): PrefixIndex<T> {
    return ip.bits === 32 ? this.#v4 : this.#v6;
  }
}
