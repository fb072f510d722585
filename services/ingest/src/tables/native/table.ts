import { FIRST_ROWS } from './column.js';
import type { Column } from './column.js';

/** Columns that have the same rows, by their names. */
export class NativeTable<C extends Readonly<Record<string, Column>>> {
  rows = 0;
  #room = FIRST_ROWS;
  readonly #list: readonly Column[];
  readonly #headers: readonly Uint8Array[];

  constructor(readonly columns: C) {
    this.#list = Object.values(columns);
    this.#headers = Object.entries(columns).map(([name, { type }]) =>
      Buffer.concat([prefixed(name), prefixed(type)]),
    );
  }

  /** A new row, to be set in every column before the next one. */
  add(): number {
    if (this.rows === this.#room) this.#reserve(2 * this.#room);
    this.rows += 1;
    return this.rows - 1;
  }

  /** Takes over the number of rows that the caller has set column by column. */
  replace(rows: number): void {
    if (rows > this.#room) this.#reserve(Math.max(rows, 2 * this.#room));
    this.rows = rows;
  }

  /** Forgets all rows; their memory is kept for the next ones. */
  clear(): void {
    this.rows = 0;
  }

  get bytes(): number {
    let bytes = 0;
    for (const column of this.#list) bytes += column.size(this.rows);
    return bytes;
  }

  /** The rows [from, to) as one block; there must be one. */
  encode(from = 0, to = this.rows): Uint8Array[] {
    return [
      Buffer.concat([leb128(this.#list.length), leb128(to - from)]),
      ...this.#list.flatMap((column, i) => [
        this.#headers[i] as Uint8Array,
        ...column.pieces(from, to).filter(({ length }) => length > 0),
      ]),
    ];
  }

  #reserve(rows: number): void {
    this.#room = rows;
    for (const column of this.#list) column.grow(rows);
  }
}

function prefixed(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([leb128(bytes.length), bytes]);
}

function leb128(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Uint8Array.from([...bytes, rest]);
}
