/** The text of an id of four big-endian words. */
export function uuidText(w0: number, w1: number, w2: number, w3: number): string {
  const hex = (word: number) => word.toString(16).padStart(8, '0');
  const [b, c] = [hex(w1), hex(w2)];
  return `${hex(w0)}-${b.slice(0, 4)}-${b.slice(4)}-${c.slice(0, 4)}-${c.slice(4)}${hex(w3)}`;
}
