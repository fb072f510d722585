import { ColumnSet, HashIndex } from '../fold/hash-index.js';

function createGeneration() {
  return {
    index: new HashIndex(),
    rows: new ColumnSet({
      id0: Uint32Array,
      id1: Uint32Array,
      id2: Uint32Array,
      id3: Uint32Array,
      value: Float64Array,
    }),
  };
}

type Generation = ReturnType<typeof createGeneration>;

/**
 * A number per session for the sessions that were set last, at most `max` of them. Two generations in
 * place of a list by last use: once the younger one holds half of `max`, the older one is forgotten. It
 * is asked for every session of every batch, so it holds no objects.
 *
 * Sessions whose number is 0 are still open and will be asked for again and again, the others hardly
 * ever. So up to a quarter of `max` of them outlive the forgetting: else thousands of short sessions a
 * second would push the long ones out between two of their heartbeats.
 */
export class SessionMemory {
  #young = createGeneration();
  #old = createGeneration();

  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** The session's number, -1 where it is not known. Ids are four big-endian words. */
  get(id0: number, id1: number, id2: number, id3: number): number {
    const found = find(this.#young, id0, id1, id2, id3);
    return found >= 0 ? found : find(this.#old, id0, id1, id2, id3);
  }

  /** @param value 0 or more. */
  set(id0: number, id1: number, id2: number, id3: number, value: number): void {
    if (this.#young.rows.length * 2 >= this.#max) {
      this.#turn();
    }
    put(this.#young, id0, id1, id2, id3, value);
  }

  #turn(): void {
    const gone = this.#old;
    this.#old = this.#young;
    this.#young = createGeneration();
    const { columns, length } = gone.rows;
    const keptMax = Math.floor(this.#max / 4);
    // The ones that were set last come first, should there be too many.
    for (let row = length - 1; row >= 0 && this.#young.rows.length < keptMax; row -= 1) {
      if (columns.value[row] !== 0) continue;
      const id0 = columns.id0[row] as number;
      const id1 = columns.id1[row] as number;
      const id2 = columns.id2[row] as number;
      const id3 = columns.id3[row] as number;
      // What was set since is newer.
      if (find(this.#old, id0, id1, id2, id3) < 0) put(this.#young, id0, id1, id2, id3, 0);
    }
  }

  clear(): void {
    this.#young = createGeneration();
    this.#old = createGeneration();
  }
}

function find(generation: Generation, id0: number, id1: number, id2: number, id3: number): number {
  const { index, rows } = generation;
  let slot = index.begin(id3 ^ id2);
  for (let row = index.at(slot); row >= 0; row = index.at((slot = index.after(slot)))) {
    if (isRow(generation, row, id0, id1, id2, id3)) return rows.columns.value[row] as number;
  }
  return -1;
}

function put(
  generation: Generation,
  id0: number,
  id1: number,
  id2: number,
  id3: number,
  value: number,
): void {
  const { index, rows } = generation;
  let slot = index.begin(id3 ^ id2);
  for (let row = index.at(slot); row >= 0; row = index.at((slot = index.after(slot)))) {
    if (isRow(generation, row, id0, id1, id2, id3)) {
      rows.columns.value[row] = value;
      return;
    }
  }
  const row = rows.add();
  const { columns } = rows;
  columns.id0[row] = id0;
  columns.id1[row] = id1;
  columns.id2[row] = id2;
  columns.id3[row] = id3;
  columns.value[row] = value;
  index.set(slot, row, (i) => (columns.id3[i] as number) ^ (columns.id2[i] as number));
}

function isRow(
  { rows }: Generation,
  row: number,
  id0: number,
  id1: number,
  id2: number,
  id3: number,
): boolean {
  const { columns } = rows;
  return (
    columns.id3[row] === id3 &&
    columns.id2[row] === id2 &&
    columns.id1[row] === id1 &&
    columns.id0[row] === id0
  );
}
