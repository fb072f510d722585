/** A set of rule numbers as a bit each; the lowest number is the lowest bit of word 0. */
export type RuleBits = Int32Array;

const WORD_BITS = 32;

export function wordsFor(rules: number): number {
  return Math.ceil(rules / WORD_BITS);
}

function setBit(bits: RuleBits, rule: number): void {
  const word = rule >>> 5;
  bits[word] = (bits[word] ?? 0) | (1 << (rule & 31));
}

export function hasBit(bits: RuleBits, rule: number): boolean {
  return ((bits[rule >>> 5] ?? 0) & (1 << (rule & 31))) !== 0;
}

/** The bits of the rules for which `holds` is true. */
export function bitsWhere(rules: number, holds: (rule: number) => boolean): RuleBits {
  const bits = new Int32Array(wordsFor(rules));
  for (let rule = 0; rule < rules; rule += 1) if (holds(rule)) setBit(bits, rule);
  return bits;
}

/**
 * Numbered sets of rules, one after the other. A set that is as long as its bits would be is those
 * bits; a shorter one, as nearly all are, is the list of its rules.
 */
export interface RuleSets {
  /** Words of a set as bits. */
  readonly words: number;
  /** The start of each set in `content`, then the end of the last one. */
  readonly starts: Int32Array;
  readonly content: Int32Array;
}

/** @param sets rules in ascending order; one may come several times in a row. */
export function createRuleSets(rules: number, sets: readonly (readonly number[])[]): RuleSets {
  const words = wordsFor(rules);
  const starts = new Int32Array(sets.length + 1);
  const contents = sets.map((members) => {
    // A file may name half a million things, nearly all of them once.
    const list =
      members.length === 1 ? members : members.filter((rule, i) => rule !== members[i - 1]);
    if (list.length < words) return list;
    const bits = new Int32Array(words);
    for (const rule of list) setBit(bits, rule);
    return bits;
  });
  for (const [number, { length }] of contents.entries()) {
    starts[number + 1] = (starts[number] ?? 0) + length;
  }
  const content = new Int32Array(starts[sets.length] ?? 0);
  for (const [number, one] of contents.entries()) content.set(one, starts[number]);
  return { words, starts, content };
}

/** Adds a set to `target`; -1 adds nothing. */
export function addSet(sets: RuleSets, number: number, target: RuleBits): void {
  if (number < 0) return;
  const { words, starts, content } = sets;
  const start = starts[number] ?? 0;
  const end = starts[number + 1] ?? 0;
  if (end - start < words) {
    for (let i = start; i < end; i += 1) setBit(target, content[i] ?? 0);
    return;
  }
  for (let i = 0; i < words; i += 1) target[i] = (target[i] ?? 0) | (content[start + i] ?? 0);
}

export function setHas(sets: RuleSets, number: number, rule: number): boolean {
  const { words, starts, content } = sets;
  const start = starts[number] ?? 0;
  const end = starts[number + 1] ?? 0;
  if (end - start >= words)
    return ((content[start + (rule >>> 5)] ?? 0) & (1 << (rule & 31))) !== 0;
  for (let i = start; i < end; i += 1) if (content[i] === rule) return true;
  return false;
}
