import { HashIndex } from '../../fold/hash-index.js';
import { bytesOf, FIRST_ROWS, grown } from './column.js';
import type { Column } from './column.js';
import { hashOf, TextColumn } from './text.js';

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
    if (choices.length > 256) throw new RangeError('more choices than a byte can number');
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

  is(row: number, choice: number): boolean {
    return this.#indexes[row] === choice;
  }

  hash(row: number): number {
    return this.#indexes[row] as number;
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

/**
 * LowCardinality of texts that are not known in advance. The dictionary starts again with row 0.
 */
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
      lastKey >= 0 && this.#keys.is(lastKey, text, start, length)
        ? lastKey
        : this.#keyOf(text, start, length);
  }

  is(row: number, text: Uint8Array, start: number, length: number): boolean {
    return this.#keys.is(this.#indexes[row] as number, text, start, length);
  }

  hash(row: number): number {
    return this.#keys.hash(this.#indexes[row] as number);
  }

  /** Sets the row to null, or to the empty text. */
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
      if (!keys.is(found, text, start, length)) continue;
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

/** Sets a row to a text, or to null if the length is negative. */
// oxlint-disable-next-line max-params -- An object for each row would be garbage to collect.
export function setText(
  column: DictionaryColumn,
  row: number,
  text: Uint8Array,
  start: number,
  length: number,
): void {
  if (length < 0) column.clear(row);
  else column.set(row, text, start, length);
}
