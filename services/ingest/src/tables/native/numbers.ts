import { bytesOf, FIRST_ROWS, grown } from './column.js';
import type { Column } from './column.js';

const TWO_32 = 4_294_967_296;

/** UInt8. */
export class Uint8Column implements Column {
  readonly type = 'UInt8';
  #values = new Uint8Array(FIRST_ROWS);

  grow(rows: number): void {
    this.#values = grown(this.#values, rows);
  }

  set(row: number, value: number): void {
    this.#values[row] = value;
  }

  clear(row: number): void {
    this.#values[row] = 0;
  }

  gather(from: Uint8Column, rows: Uint32Array, count: number): void {
    for (let i = 0; i < count; i += 1) this.#values[i] = from.#values[rows[i] as number] as number;
  }

  pieces(from: number, to: number): Uint8Array[] {
    return [this.#values.subarray(from, to)];
  }

  size(rows: number): number {
    return rows;
  }
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

  is(row: number, value: number): boolean {
    return this.#values[row] === value;
  }

  hash(row: number): number {
    return this.#values[row] as number;
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

  is(row: number, value: number): boolean {
    return this.#values[row] === value;
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
    // A typed array keeps the lowest 32 bits of a value.
    words[2 * row] = value;
    words[2 * row + 1] = value / TWO_32;
  }

  is(row: number, value: number): boolean {
    const words = this.#words;
    return words[2 * row] === value >>> 0 && words[2 * row + 1] === Math.floor(value / TWO_32);
  }

  hash(row: number): number {
    return Math.imul(this.#words[2 * row] as number, 31) ^ (this.#words[2 * row + 1] as number);
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

  hash(row: number): number {
    const word = (i: number) => this.words[4 * row + i] as number;
    return Math.imul(Math.imul(Math.imul(word(0), 31) ^ word(1), 31) ^ word(2), 31) ^ word(3);
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

  /** Takes four big-endian words. ClickHouse holds two little-endian numbers of 64 bits, the first half first. */
  // oxlint-disable-next-line max-params -- An object for each row would be garbage to collect.
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

  /** Takes four big-endian words, which are also ClickHouse's order of bytes. */
  // oxlint-disable-next-line max-params -- An object for each row would be garbage to collect.
  set(row: number, w0: number, w1: number, w2: number, w3: number): void {
    const words = this.words;
    words[4 * row] = swapped(w0);
    words[4 * row + 1] = swapped(w1);
    words[4 * row + 2] = swapped(w2);
    words[4 * row + 3] = swapped(w3);
  }

  // oxlint-disable-next-line max-params -- An object for each row would be garbage to collect.
  is(row: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const words = this.words;
    return (
      words[4 * row] === swapped(w0) >>> 0 &&
      words[4 * row + 1] === swapped(w1) >>> 0 &&
      words[4 * row + 2] === swapped(w2) >>> 0 &&
      words[4 * row + 3] === swapped(w3) >>> 0
    );
  }
}

function swapped(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
