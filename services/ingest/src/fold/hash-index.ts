/**
 * An open-addressing hash table of row numbers, whose keys its user keeps in columns. It is looked up
 * once or twice per event, while a Map with a text as key costs three times as much and an object
 * for each entry.
 */
const FIRST_SLOTS = 1 << 12;

export class HashIndex {
  /** Row number + 1; 0 is empty. */
  #slots = new Uint32Array(FIRST_SLOTS);
  #count = 0;

  /** The first slot for a hash. */
  begin(hash: number): number {
    return spread(hash) & (this.#slots.length - 1);
  }

  after(slot: number): number {
    return (slot + 1) & (this.#slots.length - 1);
  }

  /** The row number in a slot; -1 if the slot is empty. */
  at(slot: number): number {
    return (this.#slots[slot] as number) - 1;
  }

  /** Puts a row into the empty slot that the search ended at. `hashOf` returns the hash of any row, for growing. */
  set(slot: number, row: number, hashOf: (row: number) => number): void {
    this.#slots[slot] = row + 1;
    this.#count += 1;
    if (this.#count * 2 > this.#slots.length) this.#grow(hashOf);
  }

  /** Forgets all rows; the memory is kept. */
  clear(): void {
    this.#slots.fill(0);
    this.#count = 0;
  }

  #grow(hashOf: (row: number) => number): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    for (const entry of old) {
      if (entry === 0) continue;
      let slot = this.begin(hashOf(entry - 1));
      while (this.#slots[slot] !== 0) slot = this.after(slot);
      this.#slots[slot] = entry;
    }
  }
}

/** Spreads neighbours (the finalizer of MurmurHash3). */
function spread(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

type NumberArray = Uint32Array | Uint16Array | Int8Array | Float64Array;
type NumberArrayClass<A extends NumberArray> = new (length: number) => A;

const FIRST_ROWS = 1 << 11;

/** A table of numbers, column by column, that grows by doubling. A new row is all zeros. */
export class ColumnSet<C extends Record<string, NumberArrayClass<NumberArray>>> {
  /** Columns of values. Read them again after `add`, which may replace them. */
  columns: { [K in keyof C]: InstanceType<C[K]> };
  length = 0;
  #capacity = FIRST_ROWS;

  readonly #classes: C;

  constructor(classes: C) {
    this.#classes = classes;
    this.columns = this.#allocate((array) => new array(FIRST_ROWS));
  }

  /** Adds a row and returns its number. */
  add(): number {
    if (this.length === this.#capacity) {
      this.#capacity *= 2;
      const old = this.columns;
      this.columns = this.#allocate((array, name) => {
        const grown = new array(this.#capacity);
        grown.set(old[name]);
        return grown;
      });
    }
    this.length += 1;
    return this.length - 1;
  }

  /** Forgets all rows; the memory is kept. */
  clear(): void {
    for (const column of Object.values<NumberArray>(this.columns)) column.fill(0, 0, this.length);
    this.length = 0;
  }

  #allocate(make: (array: NumberArrayClass<NumberArray>, name: keyof C) => NumberArray): {
    [K in keyof C]: InstanceType<C[K]>;
  } {
    const entries = Object.entries(this.#classes).map(([name, array]) => [name, make(array, name)]);
    return Object.fromEntries(entries) as { [K in keyof C]: InstanceType<C[K]> };
  }
}
