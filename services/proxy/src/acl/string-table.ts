/** Finds strings by a hash in typed arrays, which one thread hands to another without a copy. */
export interface StringTable {
  /** Number of a string plus 1; 0 for a free slot. The length is a power of two. */
  readonly slots: Int32Array;
  /** The start of each string in `units`, then the end of the last one. */
  readonly starts: Int32Array;
  /** UTF-16. */
  readonly units: Uint16Array;
}

/** FNV-1a over the UTF-16 units, with the high bits mixed in. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash ^ (hash >>> 15);
}

/** @param strings distinct; the table numbers them in this order. */
export function createStringTable(strings: readonly string[]): StringTable {
  const slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * strings.length + 1)));
  const starts = new Int32Array(strings.length + 1);
  const units = new Uint16Array(strings.reduce((sum, text) => sum + text.length, 0));
  for (const [number, text] of strings.entries()) {
    const start = starts[number] ?? 0;
    for (let i = 0; i < text.length; i += 1) units[start + i] = text.charCodeAt(i);
    starts[number + 1] = start + text.length;
    let slot = hashOf(text) & (slots.length - 1);
    while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
    slots[slot] = number + 1;
  }
  return { slots, starts, units };
}

/** The number of a string; -1 if the table does not have it. */
export function numberOf({ slots, starts, units }: StringTable, text: string): number {
  let slot = hashOf(text) & (slots.length - 1);
  // At most half of the slots are taken, so the search ends.
  for (let entry = slots[slot] ?? 0; entry !== 0; entry = slots[slot] ?? 0) {
    const start = starts[entry - 1] ?? 0;
    if ((starts[entry] ?? 0) - start === text.length) {
      let i = 0;
      while (i < text.length && units[start + i] === text.charCodeAt(i)) i += 1;
      if (i === text.length) return entry - 1;
    }
    slot = (slot + 1) & (slots.length - 1);
  }
  return -1;
}
