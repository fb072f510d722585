import { FIRST_ROWS, grown } from './column.js';
import type { Column } from './column.js';
import type { Uint16Column, Uint64Column } from './numbers.js';

/** Nullable: which rows are null, then the values, null rows included. */
export class NullableColumn<C extends Column & { hash(row: number): number }> implements Column {
  readonly type: string;
  #nulls = new Uint8Array(FIRST_ROWS);

  readonly #inner: C;

  constructor(inner: C) {
    this.#inner = inner;
    this.type = `Nullable(${inner.type})`;
  }

  grow(rows: number): void {
    this.#nulls = grown(this.#nulls, rows);
    this.#inner.grow(rows);
  }

  /** The column to set the row's value in, which is not null. */
  present(row: number): C {
    this.#nulls[row] = 0;
    return this.#inner;
  }

  isNull(row: number): boolean {
    return this.#nulls[row] === 1;
  }

  /** The column that holds the values of rows that are not null. */
  get values(): C {
    return this.#inner;
  }

  /** A hash of this many bits; 0 for null only. */
  hash(row: number, bits: number): number {
    if (this.isNull(row)) return 0;
    return Math.imul(this.#inner.hash(row), 0x9e3779b1) >>> (32 - bits) || 1;
  }

  clear(row: number): void {
    this.#nulls[row] = 1;
    this.#inner.clear(row);
  }

  gather(from: this, rows: Uint32Array, count: number): void {
    const nulls = this.#nulls;
    const source = from.#nulls;
    for (let i = 0; i < count; i += 1) nulls[i] = source[rows[i] as number] as number;
    this.#inner.gather(from.#inner, rows, count);
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [this.#nulls.subarray(from, to), ...this.#inner.pieces(from, to)];
  }

  size(rows: number): number {
    return rows + this.#inner.size(rows);
  }
}

/** Sets a row to a number, or to null if the number is negative. */
export function setNumber(
  column: NullableColumn<Uint16Column | Uint64Column>,
  row: number,
  value: number,
): void {
  if (value < 0) column.clear(row);
  else column.present(row).set(row, value);
}
