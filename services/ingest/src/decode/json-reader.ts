const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const DOT = 0x2e;
const SMALL_N = 0x6e;

/** The bytes of a text that is plain ASCII. */
export const literal = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

export const literals = (texts: readonly string[]): readonly Uint8Array[] => texts.map(literal);

const NULL = literal('null');
const TRUE = literal('true');
const FALSE = literal('false');

/** 0 to 15 for a hexadecimal digit in lower case, else -1. */
const HEX = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit += 1) HEX[digit.toString(16).charCodeAt(0)] = digit;

/**
 * Reads values where they stand in the bytes of a JSON text without white space, plain ASCII
 * without escapes. Fields instead of return values, so that nothing is allocated. `at` is -1 once
 * something did not fit; every read after that does nothing.
 */
export class JsonReader {
  #bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  /** The day that was parsed last: events of one batch lie within few. */
  #dayKey = 0;
  #dayMs = 0;
  /** The start of the last text, and the words of the last id or address, big-endian. */
  start = 0;
  word0 = 0;
  word1 = 0;
  word2 = 0;
  word3 = 0;

  /** Begins to read at `start`. */
  begin(bytes: Uint8Array, start: number): void {
    this.#bytes = bytes;
    this.at = start;
  }

  /** Passes over these very bytes. */
  skip(expected: Uint8Array): void {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return;
    const { length } = expected;
    for (let i = 0; i < length; i += 1) {
      if (bytes[at + i] !== expected[i]) {
        this.at = -1;
        return;
      }
    }
    this.at = at + length;
  }

  #quote(): void {
    if (this.at >= 0) this.at = this.#bytes[this.at] === QUOTE ? this.at + 1 : -1;
  }

  /** Passes over these very bytes if they stand here. */
  skipIf(expected: Uint8Array): boolean {
    const at = this.at;
    if (at < 0) return false;
    this.skip(expected);
    if (this.at >= 0) return true;
    this.at = at;
    return false;
  }

  /** Passes over `null`, if it stands here. */
  isNull(): boolean {
    if (this.at < 0 || this.#bytes[this.at] !== SMALL_N) return false;
    this.skip(NULL);
    return true;
  }

  /** `true` or `false`. */
  flag(): boolean {
    if (this.skipIf(TRUE)) return true;
    this.skip(FALSE);
    return false;
  }

  /** Which of these texts stands here, before a quotation mark. */
  oneOf(choices: readonly Uint8Array[]): number {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return -1;
    for (let choice = 0; choice < choices.length; choice += 1) {
      const text = choices[choice] as Uint8Array;
      const { length } = text;
      if (bytes[at + length] !== QUOTE) continue;
      let i = 0;
      while (i < length && bytes[at + i] === text[i]) i += 1;
      if (i < length) continue;
      this.at = at + length;
      return choice;
    }
    this.at = -1;
    return -1;
  }

  /** The length of a text of 1 to `max` plain characters up to a quotation mark; it begins at `start`. */
  text(max: number): number {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return -1;
    let end = at;
    const limit = at + max;
    for (;;) {
      const byte = bytes[end] as number;
      if (byte === QUOTE) break;
      // Also false behind the end of the bytes.
      if (!(byte >= 0x20 && byte < 0x80) || byte === BACKSLASH || end >= limit) {
        this.at = -1;
        return -1;
      }
      end += 1;
    }
    this.start = at;
    this.at = end > at ? end : -1;
    return end - at;
  }

  nullableText(max: number): number {
    if (this.isNull()) return -1;
    this.#quote();
    const length = this.text(max);
    this.#quote();
    return length;
  }

  /** A whole number from 0 to `max`, without a sign, a fraction or leading zeros. */
  integer(max: number): number {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return -1;
    let end = at;
    let value = 0;
    for (;;) {
      const digit = (bytes[end] as number) - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      value = value * 10 + digit;
      end += 1;
    }
    const length = end - at;
    const isFine =
      length > 0 && length <= 16 && value <= max && (length === 1 || bytes[at] !== ZERO);
    this.at = isFine ? end : -1;
    return value;
  }

  #pair(at: number): number {
    const tens = (this.#bytes[at] as number) - ZERO;
    const ones = (this.#bytes[at + 1] as number) - ZERO;
    return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
  }

  /** `2026-01-31T23:59:59.999Z` as milliseconds since 1970. */
  time(): number {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return -1;
    const century = this.#pair(at);
    const year = this.#pair(at + 2);
    const month = this.#pair(at + 5);
    const day = this.#pair(at + 8);
    const hour = this.#pair(at + 11);
    const minute = this.#pair(at + 14);
    const second = this.#pair(at + 17);
    const centis = this.#pair(at + 20);
    const millis = (bytes[at + 22] as number) - ZERO;
    const isFine =
      century === 20 &&
      year >= 20 &&
      month >= 1 &&
      month <= 12 &&
      day >= 1 &&
      day <= 31 &&
      hour >= 0 &&
      hour <= 23 &&
      minute >= 0 &&
      minute <= 59 &&
      second >= 0 &&
      second <= 59 &&
      centis >= 0 &&
      millis >= 0 &&
      millis <= 9 &&
      bytes[at + 4] === 0x2d &&
      bytes[at + 7] === 0x2d &&
      bytes[at + 10] === 0x54 &&
      bytes[at + 13] === COLON &&
      bytes[at + 16] === COLON &&
      bytes[at + 19] === DOT &&
      bytes[at + 23] === 0x5a;
    if (!isFine) {
      this.at = -1;
      return -1;
    }
    const dayKey = (year * 16 + month) * 32 + day;
    if (dayKey !== this.#dayKey) {
      const date = new Date(Date.UTC(2000 + year, month - 1, day));
      if (date.getUTCDate() !== day) {
        this.at = -1;
        return -1;
      }
      this.#dayKey = dayKey;
      this.#dayMs = date.getTime();
    }
    this.at = at + 24;
    return this.#dayMs + ((hour * 60 + minute) * 60 + second) * 1_000 + centis * 10 + millis;
  }

  /** Returns four hexadecimal digits as a number; negative if they are invalid. */
  #hex4(at: number): number {
    const bytes = this.#bytes;
    const a = HEX[bytes[at] as number] as number;
    const b = HEX[bytes[at + 1] as number] as number;
    const c = HEX[bytes[at + 2] as number] as number;
    const d = HEX[bytes[at + 3] as number] as number;
    // Any -1 makes the whole negative; `undefined`, behind the end, becomes 0 and fails elsewhere.
    return (a << 12) | (b << 8) | (c << 4) | d;
  }

  /** A UUIDv7 in lower case, into the words. */
  uuid(): void {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return;
    const p0 = this.#hex4(at);
    const p1 = this.#hex4(at + 4);
    const p2 = this.#hex4(at + 9);
    const p3 = this.#hex4(at + 14);
    const p4 = this.#hex4(at + 19);
    const p5 = this.#hex4(at + 24);
    const p6 = this.#hex4(at + 28);
    const p7 = this.#hex4(at + 32);
    const isFine =
      (p0 | p1 | p2 | p3 | p4 | p5 | p6 | p7) >= 0 &&
      at + 36 <= bytes.length &&
      bytes[at + 8] === 0x2d &&
      bytes[at + 13] === 0x2d &&
      bytes[at + 18] === 0x2d &&
      bytes[at + 23] === 0x2d &&
      p3 >> 12 === 7 &&
      p4 >> 14 === 2;
    if (!isFine) {
      this.at = -1;
      return;
    }
    this.word0 = ((p0 << 16) | p1) >>> 0;
    this.word1 = ((p2 << 16) | p3) >>> 0;
    this.word2 = ((p4 << 16) | p5) >>> 0;
    this.word3 = ((p6 << 16) | p7) >>> 0;
    this.at = at + 36;
  }

  /** An address up to a quotation mark, into the words. */
  address(): void {
    const bytes = this.#bytes;
    const at = this.at;
    if (at < 0) return;
    let end = at;
    let value = 0;
    let part = 0;
    let dots = 0;
    let digits = 0;
    for (;;) {
      const byte = bytes[end] as number;
      if (byte >= ZERO && byte <= NINE) {
        // No leading zeros: they would be octal to some.
        if (digits > 0 && part === 0) break;
        part = part * 10 + byte - ZERO;
        digits += 1;
        if (part > 255) break;
      } else if (byte === DOT || byte === QUOTE) {
        if (digits === 0) break;
        value = ((value << 8) | part) >>> 0;
        part = 0;
        digits = 0;
        if (byte === QUOTE) {
          if (dots !== 3) break;
          this.word0 = 0;
          this.word1 = 0;
          this.word2 = 0xffff;
          this.word3 = value;
          this.at = end;
          return;
        }
        dots += 1;
        if (dots > 3) break;
      } else {
        break;
      }
      end += 1;
    }
    this.#address6();
  }

  quotedAddress(): void {
    this.#quote();
    this.address();
    this.#quote();
  }

  /** IPv6 of groups in hexadecimal, any of them left out once by `::`. */
  #address6(): void {
    const bytes = this.#bytes;
    let at = this.at;
    const groups = this.#groups;
    let count = 0;
    let gap = -1;
    if (bytes[at] === COLON) {
      // Only as a part of `::`.
      if (bytes[at + 1] !== COLON) {
        this.at = -1;
        return;
      }
      gap = 0;
      at += 2;
    }
    while (bytes[at] !== QUOTE) {
      let group = 0;
      let digits = 0;
      for (;;) {
        const byte = bytes[at] as number;
        // Upper case counts too.
        const digit = HEX[byte >= 0x41 && byte <= 0x46 ? byte + 0x20 : byte] ?? -1;
        if (digit < 0) break;
        group = (group << 4) | digit;
        digits += 1;
        at += 1;
        if (digits > 4) break;
      }
      if (digits === 0 || digits > 4 || count === 8) {
        this.at = -1;
        return;
      }
      groups[count] = group;
      count += 1;
      if (bytes[at] === QUOTE) break;
      if (bytes[at] !== COLON || bytes[at + 1] === QUOTE) {
        this.at = -1;
        return;
      }
      at += 1;
      if (bytes[at] === COLON) {
        if (gap >= 0) {
          this.at = -1;
          return;
        }
        gap = count;
        at += 1;
      }
    }
    if (gap < 0 ? count !== 8 : count > 7) {
      this.at = -1;
      return;
    }
    if (gap >= 0) {
      groups.copyWithin(8 - (count - gap), gap, count);
      groups.fill(0, gap, 8 - (count - gap));
    }
    this.word0 = (((groups[0] as number) << 16) | (groups[1] as number)) >>> 0;
    this.word1 = (((groups[2] as number) << 16) | (groups[3] as number)) >>> 0;
    this.word2 = (((groups[4] as number) << 16) | (groups[5] as number)) >>> 0;
    this.word3 = (((groups[6] as number) << 16) | (groups[7] as number)) >>> 0;
    this.at = at;
  }
  readonly #groups = new Uint16Array(8);
}
