/** A set of rule numbers as a bit each; the lowest number is the lowest bit of word 0. */
export type RuleBits = Int32Array;

const WORD_BITS = 32;

export function wordsFor(rules: number): number {
  return Math.ceil(rules / WORD_BITS);
}

export function setBit(bits: RuleBits, rule: number): void {
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
 * The rules that name one thing. Most things are named by few rules, so it is a list, until
 * bits take less room and less time.
 */
export class RuleSet {
  readonly #list: readonly number[] | null;
  readonly #bits: RuleBits | null;

  /** @param members in ascending order; one may come several times in a row. */
  constructor(rules: number, members: readonly number[]) {
    // A file may name half a million things, nearly all of them once.
    const list =
      members.length === 1 ? members : members.filter((rule, i) => rule !== members[i - 1]);
    const isDense = list.length > wordsFor(rules);
    this.#list = isDense ? null : list;
    this.#bits = isDense ? new Int32Array(wordsFor(rules)) : null;
    if (this.#bits !== null) for (const rule of list) setBit(this.#bits, rule);
  }

  /** Adds this set to `target`. */
  addTo(target: RuleBits): void {
    if (this.#list !== null) {
      for (let i = 0; i < this.#list.length; i += 1) setBit(target, this.#list[i] ?? 0);
      return;
    }
    const bits = this.#bits;
    if (bits === null) return;
    for (let i = 0; i < bits.length; i += 1) target[i] = (target[i] ?? 0) | (bits[i] ?? 0);
  }

  has(rule: number): boolean {
    if (this.#bits !== null) return hasBit(this.#bits, rule);
    return this.#list?.includes(rule) === true;
  }
}
