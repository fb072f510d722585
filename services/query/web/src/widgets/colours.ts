/** Colours of categories. */
const CATEGORIES = 5;

/**
 * Gives each key one of five colours, and none twice. A key keeps its colour, so that a redrawn chart
 * uses it for the same value; a key that is no longer shown frees its colour.
 *
 * @param memory of the chart, by key; it is changed.
 */
export function coloursOf(keys: readonly string[], memory: Map<string, number>): number[] {
  const free = Array.from({ length: CATEGORIES }, (_, at) => at + 1).filter(
    (colour) => !keys.some((key) => memory.get(key) === colour),
  );
  for (const key of memory.keys()) if (!keys.includes(key)) memory.delete(key);
  return keys.map((key) => {
    const known = memory.get(key);
    if (known !== undefined) return known;
    const next = free.shift() ?? CATEGORIES;
    memory.set(key, next);
    return next;
  });
}
