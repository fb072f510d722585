/**
 * A growing run of RowBinary rows in pieces of equal size, so that growing copies nothing and the
 * pieces can be used again. A row lies within one piece. Positions count over all pieces.
 *
 * https://clickhouse.com/docs/interfaces/formats/RowBinary
 */
export const PIECE_BYTES = 4 * 1024 ** 2;
/** More than the largest row: an event has at most 16 KiB of JSON, and a row repeats none of it. */
export const ROW_MAX_BYTES = 64 * 1024;

const FIRST_ROWS = 1 << 11;
const PIECE_SHIFT = 22;
const PIECE_MASK = PIECE_BYTES - 1;
const TWO_32 = 4_294_967_296;

/** Pieces that are not in use, so that a steady load allocates nothing. */
export interface PiecePool {
  take(): Piece;
  give(pieces: readonly Piece[]): void;
}

export class Piece {
  readonly bytes = new Uint8Array(Buffer.allocUnsafeSlow(PIECE_BYTES).buffer);
  readonly view = new DataView(this.bytes.buffer);
}

/** @param keep so many pieces are kept for later; more are left to the garbage collector. */
export function createPiecePool(keep: number): PiecePool {
  const idle: Piece[] = [];
  return {
    take: () => idle.pop() ?? new Piece(),
    give(pieces) {
      for (const piece of pieces) if (idle.length < keep) idle.push(piece);
    },
  };
}

export class RowBuffer {
  private readonly pieces: Piece[] = [];
  private readonly ends: number[] = [];
  private piece: Piece;
  private at = 0;
  rows = 0;
  /** Where each row begins. */
  private starts = new Float64Array(FIRST_ROWS);

  constructor(private readonly pool: PiecePool) {
    this.piece = pool.take();
    this.pieces.push(this.piece);
  }

  /** Begins a row and returns its position. */
  begin(): number {
    if (this.at + ROW_MAX_BYTES > PIECE_BYTES) {
      this.ends.push(this.at);
      this.piece = this.pool.take();
      this.pieces.push(this.piece);
      this.at = 0;
    }
    if (this.rows === this.starts.length) {
      const grown = new Float64Array(this.rows * 2);
      grown.set(this.starts);
      this.starts = grown;
    }
    const position = this.position();
    this.starts[this.rows] = position;
    this.rows += 1;
    return position;
  }

  /** Where the next value will stand. */
  position(): number {
    return ((this.pieces.length - 1) << PIECE_SHIFT) + this.at;
  }

  get length(): number {
    let length = this.at;
    for (const end of this.ends) length += end;
    return length;
  }

  /** The bytes of the rows [from, to), in order. */
  chunks(from = 0, to = this.rows): Uint8Array[] {
    if (from >= to) return [];
    const start = this.starts[from] as number;
    const end = to === this.rows ? this.position() : (this.starts[to] as number);
    const first = start >>> PIECE_SHIFT;
    const last = end >>> PIECE_SHIFT;
    const chunks: Uint8Array[] = [];
    for (let i = first; i <= last; i += 1) {
      const piece = this.pieces[i] as Piece;
      const chunk = piece.bytes.subarray(
        i === first ? start & PIECE_MASK : 0,
        i === last ? end & PIECE_MASK : this.ends[i],
      );
      if (chunk.length > 0) chunks.push(chunk);
    }
    return chunks;
  }

  /** Gives the pieces back: nothing of this buffer may be used afterwards. */
  release(): void {
    this.pool.give(this.pieces);
    this.pieces.length = 0;
  }

  uint8(value: number): void {
    this.piece.bytes[this.at] = value;
    this.at += 1;
  }

  uint16(value: number): void {
    this.piece.view.setUint16(this.at, value, true);
    this.at += 2;
  }

  uint32(value: number): void {
    this.piece.view.setUint32(this.at, value, true);
    this.at += 4;
  }

  /** A whole number from 0 to 2^53 - 1, as UInt64, Int64 or DateTime64. */
  uint64(value: number): void {
    const { view } = this.piece;
    const high = Math.floor(value / TWO_32);
    view.setUint32(this.at, value - high * TWO_32, true);
    view.setUint32(this.at + 4, high, true);
    this.at += 8;
  }

  /** -1 is null. */
  nullableUint64(value: number): void {
    if (value < 0) {
      this.uint8(1);
      return;
    }
    this.uint8(0);
    this.uint64(value);
  }

  /** ClickHouse holds a UUID as two little-endian numbers of 64 bits, the first half first. */
  uuid(w0: number, w1: number, w2: number, w3: number): void {
    const { view } = this.piece;
    view.setUint32(this.at, w1, true);
    view.setUint32(this.at + 4, w0, true);
    view.setUint32(this.at + 8, w3, true);
    view.setUint32(this.at + 12, w2, true);
    this.at += 16;
  }

  ipv6(w0: number, w1: number, w2: number, w3: number): void {
    const { view } = this.piece;
    view.setUint32(this.at, w0, false);
    view.setUint32(this.at + 4, w1, false);
    view.setUint32(this.at + 8, w2, false);
    view.setUint32(this.at + 12, w3, false);
    this.at += 16;
  }

  string(text: Uint8Array, start: number, length: number): void {
    this.lengthPrefix(length);
    const { bytes } = this.piece;
    const { at } = this;
    // A loop: these texts are short, and a call of `set` costs more than they do.
    for (let i = 0; i < length; i += 1) bytes[at + i] = text[start + i] as number;
    this.at = at + length;
  }

  /** A length of -1 is null. */
  nullableString(text: Uint8Array, start: number, length: number): void {
    if (length < 0) {
      this.uint8(1);
      return;
    }
    this.uint8(0);
    this.string(text, start, length);
  }

  /** Bytes that are encoded already. */
  raw(encoded: Uint8Array): void {
    const { bytes } = this.piece;
    const { at } = this;
    const { length } = encoded;
    for (let i = 0; i < length; i += 1) bytes[at + i] = encoded[i] as number;
    this.at = at + length;
  }

  /** A part of a row of another buffer, which lies at `position` there. */
  copy(from: RowBuffer, position: number, length: number): void {
    const source = from.pieces[position >>> PIECE_SHIFT] as Piece;
    const start = position & PIECE_MASK;
    this.piece.bytes.set(source.bytes.subarray(start, start + length), this.at);
    this.at += length;
  }

  /** Bytes 0 to 127 of the length in each byte, as in LEB128. */
  private lengthPrefix(length: number): void {
    let rest = length;
    while (rest >= 0x80) {
      this.uint8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.uint8(rest);
  }
}

/** A text that is written often: with its length before it. */
export function encodedString(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length >= 0x80) throw new RangeError('a constant of 128 bytes or more');
  return Uint8Array.from([bytes.length, ...bytes]);
}
