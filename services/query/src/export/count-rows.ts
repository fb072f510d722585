import type { ExportFormat } from '@sockscope/schemas/api';

/** Counts the rows of an export while it passes, for the audit log. Keeps a bounded tail at most. */
export interface RowCounter {
  add(bytes: Uint8Array): void;
  /** Null if it is unknown. */
  rows(): number | null;
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;

export function createRowCounter(format: ExportFormat): RowCounter {
  switch (format) {
    case 'ndjson':
      return countLines();
    case 'csv':
      return countCsvLines();
    case 'parquet':
      return readParquetFooter();
  }
}

function countLines(): RowCounter {
  let lines = 0;
  return {
    add(bytes) {
      for (const byte of bytes) if (byte === NEWLINE) lines += 1;
    },
    rows: () => lines,
  };
}

/** A line break inside quotes is part of a cell. Quotes are doubled inside, so they come in pairs. */
function countCsvLines(): RowCounter {
  let lines = 0;
  let isQuoted = false;
  return {
    add(bytes) {
      for (const byte of bytes) {
        if (byte === QUOTE) isQuoted = !isQuoted;
        else if (byte === NEWLINE && !isQuoted) lines += 1;
      }
    },
    // The first line is the header.
    rows: () => Math.max(0, lines - 1),
  };
}

/** A footer beyond this is not read. */
const FOOTER_MAX_BYTES = 4 * 1024 * 1024;
/** Length of the footer and the magic number PAR1. */
const TRAILER_BYTES = 8;

function readParquetFooter(): RowCounter {
  let tail: Buffer[] = [];
  let size = 0;
  return {
    add(bytes) {
      tail.push(Buffer.from(bytes));
      size += bytes.length;
      if (size <= 2 * (FOOTER_MAX_BYTES + TRAILER_BYTES)) return;
      const last = Buffer.concat(tail).subarray(-(FOOTER_MAX_BYTES + TRAILER_BYTES));
      tail = [Buffer.from(last)];
      size = last.length;
    },
    rows() {
      const end = Buffer.concat(tail);
      if (end.length < TRAILER_BYTES || end.subarray(-4).toString('latin1') !== 'PAR1') return null;
      const length = end.readUInt32LE(end.length - TRAILER_BYTES);
      const start = end.length - TRAILER_BYTES - length;
      if (start < 0) return null;
      try {
        return rowsOfMetadata(end.subarray(start, end.length - TRAILER_BYTES));
      } catch {
        return null;
      }
    },
  };
}

/** `num_rows`, the third field of FileMetaData, in Thrift's compact protocol. */
function rowsOfMetadata(bytes: Buffer): number | null {
  const reader = createThriftReader(bytes);
  let id = 0;
  for (;;) {
    const field = reader.field(id);
    if (field === null) return null;
    ({ id } = field);
    if (id === 3) return reader.zigzag();
    reader.skip(field.type);
  }
}

/** Types of the compact protocol. */
const T = {
  true: 1,
  false: 2,
  byte: 3,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  struct: 12,
} as const;

function createThriftReader(bytes: Buffer) {
  let at = 0;
  const byte = () => {
    const value = bytes[at];
    if (value === undefined) throw new RangeError('the metadata ends early');
    at += 1;
    return value;
  };
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const next = byte();
      value += (next & 0x7f) * factor;
      if (next < 0x80) return value;
    }
  };
  const zigzag = () => {
    const value = varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  };
  const field = (previous: number): { id: number; type: number } | null => {
    const head = byte();
    if (head === 0) return null;
    const step = head >> 4;
    return { id: step === 0 ? zigzag() : previous + step, type: head & 0x0f };
  };
  const skip = (type: number): void => {
    switch (type) {
      case T.true:
      case T.false:
        return;
      case T.byte:
        at += 1;
        return;
      case T.double:
        at += 8;
        return;
      case T.binary: {
        const length = varint();
        at += length;
        return;
      }
      case T.list:
      case T.set: {
        const head = byte();
        const count = head >> 4 === 15 ? varint() : head >> 4;
        for (let i = 0; i < count; i += 1) skip(head & 0x0f);
        return;
      }
      case T.struct: {
        let id = 0;
        for (let inner = field(id); inner !== null; inner = field(id)) {
          ({ id } = inner);
          skip(inner.type);
        }
        return;
      }
      default:
        varint();
    }
  };
  return { field, skip, zigzag };
}
