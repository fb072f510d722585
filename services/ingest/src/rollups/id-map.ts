/** Four words. */
export type Id = readonly [number, number, number, number];
/** Unsigned integers of 32 bits. */
export type Value = readonly [number, number, number];

/** The smallest table. */
const FIRST_SLOTS = 1 << 8;
const ID_WORDS = 4;
/** An id and its value. */
const WORDS = ID_WORDS + 3;

/**
 * A few numbers for each of many session ids. Every batch looks up all of its sessions here, so it holds
 * no objects: 500,000 ids take 28 MiB at most. Open addressing, linear probing; a removed id leaves no gap.
 */
export class IdMap {
  /** An id is never all zeros. */
  #slots = new Uint32Array(FIRST_SLOTS * WORDS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(id: Id): boolean {
    return !this.#isEmpty(this.#find(id));
  }

  /** The value of an id; undefined if it has none. */
  get(id: Id): Value | undefined {
    const slot = this.#find(id);
    if (this.#isEmpty(slot)) return undefined;
    const at = slot * WORDS + ID_WORDS;
    const slots = this.#slots;
    return [slots[at] as number, slots[at + 1] as number, slots[at + 2] as number];
  }

  set(id: Id, value: Value): void {
    const slot = this.#find(id);
    const isNew = this.#isEmpty(slot);
    // Word by word: an array for each event of a session would be garbage.
    const at = slot * WORDS;
    const slots = this.#slots;
    slots[at] = id[0];
    slots[at + 1] = id[1];
    slots[at + 2] = id[2];
    slots[at + 3] = id[3];
    slots[at + ID_WORDS] = value[0];
    slots[at + ID_WORDS + 1] = value[1];
    slots[at + ID_WORDS + 2] = value[2];
    if (!isNew) return;
    this.#size += 1;
    if (this.#size * 2 > this.#capacity) this.#resize(this.#capacity * 2);
  }

  delete(id: Id): void {
    let gap = this.#find(id);
    if (this.#isEmpty(gap)) return;
    this.#size -= 1;
    const mask = this.#capacity - 1;
    // The following entries move up, but never before their own first slot.
    for (let slot = (gap + 1) & mask; !this.#isEmpty(slot); slot = (slot + 1) & mask) {
      const home = this.#home(
        this.#slots[slot * WORDS + 2] ?? 0,
        this.#slots[slot * WORDS + 3] ?? 0,
      );
      if (((slot - home) & mask) >= ((slot - gap) & mask)) {
        this.#slots.copyWithin(gap * WORDS, slot * WORDS, (slot + 1) * WORDS);
        gap = slot;
      }
    }
    this.#slots.fill(0, gap * WORDS, (gap + 1) * WORDS);
    if (this.#size * 8 < this.#capacity && this.#capacity > FIRST_SLOTS) {
      this.#resize(this.#capacity / 2);
    }
  }

  get #capacity(): number {
    return this.#slots.length / WORDS;
  }

  /** The last words of a UUIDv7 are random. */
  #home(id2: number, id3: number): number {
    return Math.imul(id3 ^ id2, 0x9e3779b1) & (this.#capacity - 1);
  }

  /** The slot of an id, or the empty slot for it. */
  #find(id: Id): number {
    const slots = this.#slots;
    let slot = this.#home(id[2], id[3]);
    while (!this.#isEmpty(slot)) {
      const at = slot * WORDS;
      if (
        slots[at + 3] === id[3] &&
        slots[at + 2] === id[2] &&
        slots[at + 1] === id[1] &&
        slots[at] === id[0]
      ) {
        return slot;
      }
      slot = (slot + 1) & (this.#capacity - 1);
    }
    return slot;
  }

  #isEmpty(slot: number): boolean {
    const at = slot * WORDS;
    const slots = this.#slots;
    return slots[at] === 0 && slots[at + 1] === 0 && slots[at + 2] === 0 && slots[at + 3] === 0;
  }

  #resize(capacity: number): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(capacity * WORDS);
    this.#size = 0;
    for (let at = 0; at < old.length; at += WORDS) {
      const word = (i: number) => old[at + i] as number;
      const id: Id = [word(0), word(1), word(2), word(3)];
      if ((id[0] | id[1] | id[2] | id[3]) !== 0) this.set(id, [word(4), word(5), word(6)]);
    }
  }
}
