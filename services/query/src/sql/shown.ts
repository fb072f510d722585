import type { ShownKeys, SumsBy } from './sums.js';

/** An expression over rows of several dimensions, with a column `dimension`: each by the way in which its keys are shown. */
export function byShown(
  all: readonly { readonly by: SumsBy; readonly shown: ShownKeys | null }[],
  sqlOf: (shown: ShownKeys | null) => string,
): string {
  const [first = { shown: null }, ...others] = all;
  const sql = sqlOf(first.shown);
  return others.reduce((before, { by, shown }) => {
    const own = sqlOf(shown);
    return own === sql ? before : `if(dimension = '${by}', ${own}, ${before})`;
  }, sql);
}

/** Keys in the order in which they are shown. */
export function shownOrder(shown: ShownKeys | null): string {
  return shown === null || shown.merges ? 'key' : shown.sql('key');
}
