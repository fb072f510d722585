/** Length of a text that is null. */
export const NO_TEXT = 0xffff;
const LAST_ASCII = 0x7f;
export const LENGTH_BYTES = 2;
export const NUMBER_BYTES = 8;

/**
 * Writes the fields of events as numbers of 64 bits, and as UTF-8 with its length before it. The thread that
 * moves traffic pays for each byte and for each piece of code, so names and JSON come later (json.ts).
 */
export class FieldWriter {
  #buffer: Buffer;
  #view: DataView;
  /** Offset of the next byte. */
  at = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
    this.#view = viewOf(this.#buffer);
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Ensures room for this many bytes. */
  room(bytes: number): void {
    if (this.at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * this.#buffer.length + bytes);
    this.#buffer.copy(larger, 0, 0, this.at);
    this.#buffer = larger;
    this.#view = viewOf(larger);
  }

  number(value: number | null): void {
    this.#view.setFloat64(this.at, value ?? Number.NaN, true);
    this.at += NUMBER_BYTES;
  }

  text(value: string | null): void {
    const buffer = this.#buffer;
    const start = this.at + LENGTH_BYTES;
    let bytes = 0;
    if (value !== null) {
      const { length } = value;
      for (; bytes < length; bytes += 1) {
        const code = value.charCodeAt(bytes);
        if (code > LAST_ASCII) break;
        buffer[start + bytes] = code;
      }
      if (bytes < length) bytes = buffer.write(value, start);
    }
    this.#view.setUint16(this.at, value === null ? NO_TEXT : bytes, true);
    this.at = start + bytes;
  }

  /** ASCII without its length. */
  ascii(value: string): void {
    const { length } = value;
    for (let i = 0; i < length; i += 1) this.#buffer[this.at + i] = value.charCodeAt(i);
    this.at += length;
  }

  bytes(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** Writes a whole number below 2^32 anywhere. */
  word(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }
}

/** The same bytes, for numbers. */
export function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}
