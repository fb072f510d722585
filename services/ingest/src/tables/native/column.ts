/**
 * Columns of rows in ClickHouse's Native format, which is how the server itself holds a block. It takes
 * such a block over nearly as it is, while every value of a RowBinary row is parsed and, for
 * LowCardinality, looked up in a dictionary: with these tables two thirds of the cost of an insert.
 *
 * https://clickhouse.com/docs/interfaces/formats/Native, without a protocol revision: per column its
 * name, its type and its values. The server casts if a table's column has another type.
 *
 * A column grows by doubling and is used again for the next batch, so that a steady load allocates
 * nothing. Rows are set in their order, each in every column. `pieces` returns views of the
 * column's memory: valid until the column is used again.
 */
/** Rows that a new column has room for. */
export const FIRST_ROWS = 1 << 11;

export interface Column {
  /** ClickHouse's name of the type. */
  readonly type: string;
  /** Makes room for this number of rows in all. */
  grow(rows: number): void;
  /** Sets row to the value of an absent field. */
  clear(row: number): void;
  /** Sets the rows [0, count) to the rows of another column of the same kind. */
  gather(from: this, rows: Uint32Array, count: number): void;
  /** The encoded rows [from, to). */
  pieces(from: number, to: number): Uint8Array[];
  /** Bytes of this number of rows, about. */
  size(rows: number): number;
}

/** The bytes of the values [from, to). */
export function bytesOf(array: Uint32Array | Uint16Array, from: number, to: number): Uint8Array {
  const width = array.BYTES_PER_ELEMENT;
  return new Uint8Array(array.buffer, array.byteOffset + from * width, (to - from) * width);
}

/** The array, or a longer copy of it. */
export function grown<A extends Uint8Array | Uint16Array | Uint32Array>(
  array: A,
  length: number,
): A {
  if (array.length >= length) return array;
  const larger = new (array.constructor as new (length: number) => A)(length);
  larger.set(array);
  return larger;
}
