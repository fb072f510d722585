/**
 * Columns of rows in ClickHouse's Native format, which is how the server itself holds a block. It takes
 * such a block over nearly as it is, where every value of a RowBinary row is parsed and, for
 * LowCardinality, looked up in a dictionary: with these tables two thirds of what an insert costs.
 *
 * https://clickhouse.com/docs/interfaces/formats/Native, without a protocol revision: per column its
 * name, its type and its values. The server casts where a table's column has another type.
 *
 * A column grows by doubling and is used again for the next batch, so that a steady load allocates
 * nothing. Rows are set in their order, each in every column. What `pieces` returns are views of the
 * memory behind: valid until the column is used again.
 */
import { HashIndex } from '../fold/hash-index.js';

const TWO_32 = 4_294_967_296;
/** Bytes that a text of 20 bytes takes in the first rows. */
const FIRST_TEXT_BYTES = 1 << 16;
/** Of a text's length, as LEB128: up to 2^35. */
const LENGTH_MAX_BYTES = 5;

/** Room for so many rows at first. */
const FIRST_ROWS = 1 << 11;

export interface Column {
  /** ClickHouse's name of the type. */
  readonly type: string;
  /** Makes room for so many rows in all. */
  grow(rows: number): void;
  /** Sets row to what a row holds that has nothing here. */
  clear(row: number): void;
  /** Sets the rows [0, count) to the rows of another column of the same kind. */
  gather(from: this, rows: Uint32Array, count: number): void;
  /** The encoded rows [from, to). */
  pieces(from: number, to: number): Uint8Array[];
  /** Bytes of so many rows, about. */
  size(rows: number): number;
}

function bytesOf(array: Uint32Array | Uint16Array, from: number, to: number): Uint8Array {
  const width = array.BYTES_PER_ELEMENT;
  return new Uint8Array(array.buffer, array.byteOffset + from * width, (to - from) * width);
}

function grown<A extends Uint8Array | Uint16Array | Uint32Array>(array: A, length: number): A {
  if (array.length >= length) return array;
  const larger = new (array.constructor as new (length: number) => A)(length);
  larger.set(array);
  return larger;
}

/** UInt16. */
export class Uint16Column implements Column {
  readonly type = 'UInt16';
  #values = new Uint16Array(FIRST_ROWS);

  grow(rows: number): void {
    this.#values = grown(this.#values, rows);
  }

  set(row: number, value: number): void {
    this.#values[row] = value;
  }

  clear(row: number): void {
    this.#values[row] = 0;
  }

  gather(from: Uint16Column, rows: Uint32Array, count: number): void {
    const values = this.#values;
    const source = from.#values;
    for (let i = 0; i < count; i += 1) values[i] = source[rows[i] as number] as number;
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [bytesOf(this.#values, from, to)];
  }

  size(rows: number): number {
    return rows * 2;
  }
}

/** UInt32, and DateTime. */
export class Uint32Column implements Column {
  #values = new Uint32Array(FIRST_ROWS);

  constructor(readonly type: string) {}

  grow(rows: number): void {
    this.#values = grown(this.#values, rows);
  }

  set(row: number, value: number): void {
    this.#values[row] = value;
  }

  clear(row: number): void {
    this.#values[row] = 0;
  }

  gather(from: Uint32Column, rows: Uint32Array, count: number): void {
    const values = this.#values;
    const source = from.#values;
    for (let i = 0; i < count; i += 1) values[i] = source[rows[i] as number] as number;
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [bytesOf(this.#values, from, to)];
  }

  size(rows: number): number {
    return rows * 4;
  }
}

/** UInt64 and DateTime64 of whole numbers from 0 to 2^53 - 1. */
export class Uint64Column implements Column {
  #words = new Uint32Array(2 * FIRST_ROWS);

  constructor(readonly type: string) {}

  grow(rows: number): void {
    this.#words = grown(this.#words, 2 * rows);
  }

  set(row: number, value: number): void {
    const words = this.#words;
    // A typed array keeps the lowest 32 bits of what it is given.
    words[2 * row] = value;
    words[2 * row + 1] = value / TWO_32;
  }

  clear(row: number): void {
    this.#words[2 * row] = 0;
    this.#words[2 * row + 1] = 0;
  }

  gather(from: Uint64Column, rows: Uint32Array, count: number): void {
    const words = this.#words;
    const source = from.#words;
    for (let i = 0; i < count; i += 1) {
      const at = 2 * (rows[i] as number);
      words[2 * i] = source[at] as number;
      words[2 * i + 1] = source[at + 1] as number;
    }
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [bytesOf(this.#words, 2 * from, 2 * to)];
  }

  size(rows: number): number {
    return rows * 8;
  }
}

/** Values of 128 bits, in the four words in which they lie in memory. */
abstract class Uint128Column implements Column {
  abstract readonly type: string;
  protected words = new Uint32Array(4 * FIRST_ROWS);

  grow(rows: number): void {
    this.words = grown(this.words, 4 * rows);
  }

  clear(row: number): void {
    this.words.fill(0, 4 * row, 4 * row + 4);
  }

  gather(from: this, rows: Uint32Array, count: number): void {
    const words = this.words;
    const source = from.words;
    for (let i = 0; i < count; i += 1) {
      const at = 4 * (rows[i] as number);
      words[4 * i] = source[at] as number;
      words[4 * i + 1] = source[at + 1] as number;
      words[4 * i + 2] = source[at + 2] as number;
      words[4 * i + 3] = source[at + 3] as number;
    }
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [bytesOf(this.words, 4 * from, 4 * to)];
  }

  size(rows: number): number {
    return rows * 16;
  }
}

export class UuidColumn extends Uint128Column {
  readonly type = 'UUID';

  /** From four big-endian words. ClickHouse holds two little-endian numbers of 64 bits, the first half first. */
  set(row: number, w0: number, w1: number, w2: number, w3: number): void {
    const words = this.words;
    words[4 * row] = w1;
    words[4 * row + 1] = w0;
    words[4 * row + 2] = w3;
    words[4 * row + 3] = w2;
  }
}

export class Ipv6Column extends Uint128Column {
  readonly type = 'IPv6';

  /** From four big-endian words, which are also ClickHouse's order of bytes. */
  set(row: number, w0: number, w1: number, w2: number, w3: number): void {
    const words = this.words;
    words[4 * row] = swapped(w0);
    words[4 * row + 1] = swapped(w1);
    words[4 * row + 2] = swapped(w2);
    words[4 * row + 3] = swapped(w3);
  }
}

function swapped(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** String: each text with its length before it. */
export class TextColumn implements Column {
  readonly type = 'String';
  #bytes = new Uint8Array(FIRST_TEXT_BYTES);
  /** Where the text of each row ends. */
  #ends = new Uint32Array(FIRST_ROWS);

  grow(rows: number): void {
    this.#ends = grown(this.#ends, rows);
  }

  set(row: number, text: Uint8Array, start: number, length: number): void {
    let at = this.#startOf(row);
    const bytes = this.#room(at + length + LENGTH_MAX_BYTES);
    let rest = length;
    while (rest >= 0x80) {
      bytes[at] = (rest & 0x7f) | 0x80;
      at += 1;
      rest >>>= 7;
    }
    bytes[at] = rest;
    at += 1;
    // A loop: these texts are short, and a call of `set` costs more than they do.
    for (let i = 0; i < length; i += 1) bytes[at + i] = text[start + i] as number;
    this.#ends[row] = at + length;
  }

  clear(row: number): void {
    const at = this.#startOf(row);
    this.#room(at + 1)[at] = 0;
    this.#ends[row] = at + 1;
  }

  gather(from: TextColumn, rows: Uint32Array, count: number): void {
    const source = from.#bytes;
    const ends = this.#ends;
    let at = 0;
    for (let i = 0; i < count; i += 1) {
      const row = rows[i] as number;
      const start = from.#startOf(row);
      const length = (from.#ends[row] as number) - start;
      const bytes = this.#room(at + length);
      for (let k = 0; k < length; k += 1) bytes[at + k] = source[start + k] as number;
      at += length;
      ends[i] = at;
    }
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [this.#bytes.subarray(this.#startOf(from), this.#startOf(to))];
  }

  size(rows: number): number {
    return this.#startOf(rows);
  }

  /** Whether the text of a row is this one. */
  holds(row: number, text: Uint8Array, start: number, length: number): boolean {
    const bytes = this.#bytes;
    const at = this.#textOf(row);
    if ((this.#ends[row] as number) - at !== length) return false;
    for (let i = 0; i < length; i += 1) if (bytes[at + i] !== text[start + i]) return false;
    return true;
  }

  hash(row: number): number {
    const at = this.#textOf(row);
    return hashOf(this.#bytes, at, (this.#ends[row] as number) - at);
  }

  /** Where a row's text begins, behind its length. */
  #textOf(row: number): number {
    let at = this.#startOf(row);
    while ((this.#bytes[at] as number) >= 0x80) at += 1;
    return at + 1;
  }

  #startOf(row: number): number {
    return row === 0 ? 0 : (this.#ends[row - 1] as number);
  }

  #room(length: number): Uint8Array {
    if (length > this.#bytes.length) {
      this.#bytes = grown(this.#bytes, Math.max(length, 2 * this.#bytes.length));
    }
    return this.#bytes;
  }
}

/** Nullable: which rows are null, then the values, those of null rows included. */
export class NullableColumn<C extends Column> implements Column {
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

/** The version of LowCardinality's encoding that has the keys with the block. */
const DICTIONARY_VERSION = uint64(1);
const HAS_KEYS = 1 << 9;
const INDEX_UINT8 = 0;
const INDEX_UINT32 = 2;

function uint64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** LowCardinality of a closed set of texts: rows hold the number of theirs. */
export class ChoiceColumn implements Column {
  readonly type: string;
  readonly #keys: Uint8Array;
  #indexes = new Uint8Array(FIRST_ROWS);

  /**
   * @param choices at most 256.
   * @param isNullable the first choice then stands for null.
   */
  readonly #choices: readonly string[];

  constructor(choices: readonly string[], isNullable = false) {
    this.#choices = choices;
    if (choices.length > 256) throw new RangeError('more choices than a byte can tell apart');
    this.type = `LowCardinality(${isNullable ? 'Nullable(String)' : 'String'})`;
    const texts = new TextColumn();
    texts.grow(choices.length);
    for (const [i, choice] of choices.entries()) {
      const bytes = Buffer.from(choice, 'utf8');
      texts.set(i, bytes, 0, bytes.length);
    }
    this.#keys = Buffer.concat(texts.pieces(0, choices.length));
  }

  grow(rows: number): void {
    this.#indexes = grown(this.#indexes, rows);
  }

  set(row: number, choice: number): void {
    this.#indexes[row] = choice;
  }

  clear(row: number): void {
    this.#indexes[row] = 0;
  }

  gather(from: ChoiceColumn, rows: Uint32Array, count: number): void {
    const indexes = this.#indexes;
    const source = from.#indexes;
    for (let i = 0; i < count; i += 1) indexes[i] = source[rows[i] as number] as number;
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [
      DICTIONARY_VERSION,
      uint64(INDEX_UINT8 | HAS_KEYS),
      uint64(this.#choices.length),
      this.#keys,
      uint64(to - from),
      this.#indexes.subarray(from, to),
    ];
  }

  size(rows: number): number {
    return rows;
  }
}

/** LowCardinality of texts that are not known beforehand. The dictionary begins anew with row 0. */
export class DictionaryColumn implements Column {
  readonly type: string;
  #keys = new TextColumn();
  #keyCount = 0;
  #keyRoom = FIRST_ROWS;
  readonly #index = new HashIndex();
  #lastKey = -1;
  #indexes = new Uint32Array(FIRST_ROWS);

  /** @param isNullable key 0 then stands for null. */
  readonly #isNullable;

  constructor(isNullable = false) {
    this.#isNullable = isNullable;
    this.type = `LowCardinality(${isNullable ? 'Nullable(String)' : 'String'})`;
  }

  grow(rows: number): void {
    this.#indexes = grown(this.#indexes, rows);
  }

  set(row: number, text: Uint8Array, start: number, length: number): void {
    if (row === 0) this.#begin();
    const lastKey = this.#lastKey;
    this.#indexes[row] =
      lastKey >= 0 && this.#keys.holds(lastKey, text, start, length)
        ? lastKey
        : this.#keyOf(text, start, length);
  }

  /** To null, or to the empty text. */
  clear(row: number): void {
    if (row === 0) this.#begin();
    this.#indexes[row] = this.#isNullable ? 0 : this.#keyOf(NOTHING, 0, 0);
  }

  gather(from: this, rows: Uint32Array, count: number): void {
    const indexes = this.#indexes;
    const source = from.#indexes;
    for (let i = 0; i < count; i += 1) indexes[i] = source[rows[i] as number] as number;
    // Read from now on, and never added to.
    this.#keys = from.#keys;
    this.#keyCount = from.#keyCount;
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [
      DICTIONARY_VERSION,
      uint64(INDEX_UINT32 | HAS_KEYS),
      uint64(this.#keyCount),
      ...this.#keys.pieces(0, this.#keyCount),
      uint64(to - from),
      bytesOf(this.#indexes, from, to),
    ];
  }

  size(rows: number): number {
    return rows * 4 + this.#keys.size(this.#keyCount);
  }

  #begin(): void {
    this.#index.clear();
    this.#keyCount = 0;
    this.#lastKey = -1;
    if (!this.#isNullable) return;
    this.#keys.clear(0);
    this.#keyCount = 1;
  }

  #keyOf(text: Uint8Array, start: number, length: number): number {
    const index = this.#index;
    const keys = this.#keys;
    let slot = index.begin(hashOf(text, start, length));
    for (let found = index.at(slot); found >= 0; found = index.at((slot = index.after(slot)))) {
      if (!keys.holds(found, text, start, length)) continue;
      this.#lastKey = found;
      return found;
    }
    const key = this.#keyCount;
    if (key === this.#keyRoom) {
      this.#keyRoom *= 2;
      keys.grow(this.#keyRoom);
    }
    keys.set(key, text, start, length);
    this.#keyCount += 1;
    index.set(slot, key, (each) => keys.hash(each));
    this.#lastKey = key;
    return key;
  }
}

const NOTHING = new Uint8Array(0);

/** FNV-1a. */
function hashOf(text: Uint8Array, start: number, length: number): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < length; i += 1) h = Math.imul(h ^ (text[start + i] as number), 0x01000193);
  return h;
}

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

  /** Takes over so many rows that the caller sets column by column. */
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
