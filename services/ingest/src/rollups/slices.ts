/**
 * Which hours are made from the sums of their slices of ten minutes, and which slices are summed together.
 * See round.ts for why that is right.
 */
import { DAY_MS, MINUTE_MS, SLICE_MS } from '@sockscope/schemas/sums';
import { sliceStart } from './buckets.js';
import { dayOf } from './expiry.js';
import type { WholeSince } from './expiry.js';
import type { Expired } from './sql.js';

/** Hours that began earlier are made from their rows. */
const SLICED_MS = DAY_MS;
/** Sums of slices are kept for this long, and their marks for longer; see migrations/0026_rollup_slices.sql. */
const SLICES_KEPT_DAYS = 3;
/** An hour that is over and of which more slices have changed is cheaper to make from its rows. */
export const LATE_SLICES_MAX = 3;
/** Nothing has expired of an hour that may be made from slices. */
export const NOTHING_EXPIRED: Expired = { sessions: false, traffic: false };

/** The slices of the last minutes, which change all the time, and the earlier slices of the present hour. */
export type SlicePart = 'newest' | 'earlier';

/** Time after its end for which a slice belongs to the newest: ends and delayed events still change it. */
const NEWEST_MS = 2 * MINUTE_MS;

/** Returns the slices of a part. @param slices numbers of slices of an hour that begins at `hourS`. */
export function partOf(
  part: SlicePart,
  hourS: number,
  slices: readonly number[],
  nowMs: number,
): number[] {
  const isNewest = (slice: number) =>
    sliceStart(hourS, slice) * 1_000 + SLICE_MS + NEWEST_MS > nowMs;
  return slices.filter((slice) => isNewest(slice) === (part === 'newest'));
}

/** @param hourS seconds since 1970. */
export function mayHaveSlices(hourS: number, nowMs: number, whole: WholeSince): boolean {
  const isWhole = dayOf(hourS) >= whole.sources && !whole.hasOldEnd(hourS);
  return isWhole && hourS * 1_000 >= nowMs - SLICED_MS;
}

/** Hours of which another round may be using slices; those of earlier ones have expired. */
export function maybeInUse(hoursS: readonly number[], nowMs: number): number[] {
  return hoursS.filter((hour) => hour * 1_000 >= nowMs - SLICES_KEPT_DAYS * DAY_MS);
}

/** Sums of slices were too much for one statement. */
export class SlicesTooMuchError extends Error {
  /** Whether it was the only slice of its round. */
  readonly wasAlone: boolean;

  constructor(message: string, { cause, wasAlone }: { cause: unknown; wasAlone: boolean }) {
    super(message, { cause });
    this.wasAlone = wasAlone;
  }
}

/** Neighbours among slices: each run is one statement, so slices between two runs are not read. */
export function runsOf(slices: readonly number[]): number[][] {
  const runs: number[][] = [];
  for (const slice of slices.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last?.at(-1) === slice - 1) last.push(slice);
    else runs.push([slice]);
  }
  return runs;
}
