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
 * An hour that still changes is made from the sums of its six slices of ten minutes, so that only slices
 * whose rows have changed are read again. A slice has the same three numbers, in the row of its hour, and the
 * rows that are stored together mark both. Its steps come between reading the hour's marks and drawing the
 * hour's version. Then the argument above holds for slices alone; and a change of the hour that Y has seen
 * was in finished sums of its slice before Y drew its version, so W, which reads the slices later, sees it.
 *
 * While an hour is not over, only its slices are summed, in rounds of their own, and queries read those. Such a
 * round settles what it has finished, so for W it is the same as one that W made itself.
 *
 * That fails if Y made the hour from rows: it settles a change whose slice nobody has summed, and W, which began
 * before that change and draws its version after Y, would lack it. So a round that makes an hour from rows marks
 * a change that names no slice before it draws its version. In the version before, the draw itself shows it.
 * W looks for that after drawing its version, and then takes rows, too. An hour never returns to slices.
 *
 * `model.test.ts` enumerates the interleavings of exactly this order.
 */
export const ROUND = [
  /** If the hour is to be made from its rows: from now on every round makes it from them. */
  'leave_slices',
  /** Comes before the version is drawn: settled rows must be older than the rows that are read. */
  'read_marks',
  /** Slices that have changed are summed from their rows; nothing happens if the hour is made from its rows. */
  'draw_slices',
  'insert_slices',
  'finish_slices',
  'settle_slices',
  /** Unique, and higher than every version that was drawn for the bucket before. After the slices are finished. */
  'draw_version',
  /** Reads the rows, or finer sums, and inserts the sums; in parts if the bucket is big. */
  'insert_sums',
  /** Makes all older rows invalid. */
  'finish',
  /** The bucket that is made from this one has changed. */
  'mark_coarser',
  /** Last: a crash before this repeats the round. */
  'settle',
] as const;

export type RoundStep = (typeof ROUND)[number];

/** A round of slices alone, of an hour that is not over: the hour itself stays dirty. */
export const ROUND_OF_SLICES = [
  'read_marks',
  'draw_slices',
  'insert_slices',
  'finish_slices',
  'settle_slices',
] as const satisfies readonly RoundStep[];

/** Makes the sums of one bucket. A step that throws ends the round; the bucket stays dirty. */
export async function runRound<Step extends RoundStep>(
  order: readonly Step[],
  steps: Readonly<Record<Step, () => Promise<void>>>,
): Promise<void> {
  for (const step of order) await steps[step]();
}
