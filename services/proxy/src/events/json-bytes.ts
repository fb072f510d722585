/**
 * Pieces of JSON, written straight into a buffer. A text that is put together first is garbage of several times its
 * size, and memory that no cache holds. Each function returns the place behind what it wrote.
 */
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;
const LAST_PRINTABLE = 0x7e;
const ZERO = 0x30;
/** All bits of the numbers that V8 keeps without an object. */
const SMALL = 0x3fff_ffff;

/** Writes bytes. For a constant text this takes less time, and above all less code, than its characters one by one. */
export function putBytes(out: Buffer, start: number, bytes: Buffer): number {
  out.set(bytes, start);
  return start + bytes.length;
}

/** Writes ASCII that needs no escaping. */
export function put(out: Buffer, start: number, text: string): number {
  const { length } = text;
  for (let i = 0; i < length; i += 1) out[start + i] = text.charCodeAt(i);
  return start + length;
}

/** Writes a text as JSON carries it. */
export function putText(out: Buffer, start: number, text: string | null): number {
  if (text === null) return put(out, start, 'null');
  const { length } = text;
  let at = start;
  out[at] = QUOTE;
  at += 1;
  for (let i = 0; i < length; i += 1) {
    const code = text.charCodeAt(i);
    const isPlain =
      code >= FIRST_PRINTABLE && code <= LAST_PRINTABLE && code !== QUOTE && code !== BACKSLASH;
    if (!isPlain) return start + out.write(JSON.stringify(text), start);
    out[at] = code;
    at += 1;
  }
  out[at] = QUOTE;
  return at + 1;
}

/** Writes a number: fast if it is whole and small. */
export function putNumber(out: Buffer, start: number, value: number | null): number {
  if (value === null || value !== (value & SMALL)) return put(out, start, String(value));
  let end = start + 1;
  for (let rest = value; rest >= 10; rest = (rest / 10) | 0) end += 1;
  let rest = value;
  for (let at = end - 1; at >= start; at -= 1) {
    const tenth = (rest / 10) | 0;
    out[at] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return end;
}
