/**
 * How the sums of one bucket are made, in which order, and why they cannot be wrong.
 *
 * A bucket is an hour, day or week. Three numbers are kept for it, which only grow:
 *
 * - per writer, *changed through*: drawn after the rows that it stands for are acknowledged;
 * - per writer, *summed through*: how far the sums contain its rows. A bucket is dirty while it is lower;
 * - the *finished version*: the newest version of which every row is stored.
 *
 * Each round inserts all sums of its bucket under a version of its own. Of each key the row with the
 * highest version counts, if that is at least the finished version. So a row that lands late counts for
 * nothing, and neither does a key that is gone.
 *
 * Why this holds with any number of rounds at once, each killed anywhere: let W be the round whose rows
 * count, and let Y be any round that has settled a mark, with a lower version. Y read its marks before it
 * drew its version, W read the rows after it drew its own, and versions grow with time. So W has seen every
 * change that Y settled. Rows of an unfinished round may count too: they are newer than the finished
 * version, and the missing rows are still marked, because the round that would settle them has not finished.
 *
 * `model.test.ts` enumerates the interleavings of exactly this order.
 */
export const ROUND = [
  /** Comes before the version is drawn: settled rows must be older than the rows that are read. */
  'read_marks',
  /** Unique, and higher than every version that was drawn for the bucket before. */
  'draw_version',
  /** Reads the rows and inserts the sums; in slices if the bucket is big. */
  'insert_sums',
  /** Makes all older rows invalid. */
  'finish',
  /** The bucket that is made from this one has changed. */
  'mark_coarser',
  /** Last: a crash before this repeats the round. */
  'settle',
] as const;

export type RoundStep = (typeof ROUND)[number];

/** Makes the sums of one bucket. A step that throws ends the round; the bucket stays dirty. */
export async function runRound(
  steps: Readonly<Record<RoundStep, () => Promise<void>>>,
): Promise<void> {
  for (const step of ROUND) await steps[step]();
}
