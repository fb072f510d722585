import { FIRST_ROWS, grown } from './column.js';
import type { Column } from './column.js';

/** Bytes that a text of 20 bytes takes in the first rows. */
const FIRST_TEXT_BYTES = 1 << 16;
/** Bytes of a text's length as LEB128: up to 2^35. */
const LENGTH_MAX_BYTES = 5;

/** String: each text with its length before it. */
export class TextColumn implements Column {
  readonly type = 'String';
  #bytes = new Uint8Array(FIRST_TEXT_BYTES);
  /** The end of each row's text. */
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
  is(row: number, text: Uint8Array, start: number, length: number): boolean {
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

  /** The start of a row's text, behind its length. */
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

/** FNV-1a. */
export function hashOf(text: Uint8Array, start: number, length: number): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < length; i += 1) h = Math.imul(h ^ (text[start + i] as number), 0x01000193);
  return h;
}
