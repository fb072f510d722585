/** Which buckets are summed next. */
import { SPAN_MS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import type { DirtyBucket } from './buckets.js';
import type { RollupsConfig } from './config.js';
import { dayOf, weekOfS } from './expiry.js';
import { partOf } from './slices.js';
import type { SlicePart } from './slices.js';

/** Buckets that are summed together: of one kind, and near each other. */
export interface Group {
  readonly span: BucketSpan;
  /** Seconds since 1970. */
  readonly starts: readonly number[];
  /** Whether it is the present hour, which changes all the time. */
  readonly isPresent: boolean;
  /** The slices that are summed if it is the present hour; null: the whole bucket is. */
  readonly part: SlicePart | null;
  /** The server's time, milliseconds since 1970. */
  readonly nowMs: number;
  /** Buckets that stay dirty. */
  readonly left: number;
}

/** Work that waits for none that comes later here: the newest slices of the present hour, other sums, details. */
export const LANES = ['present', 'others', 'details'] as const;
export type Lane = (typeof LANES)[number];

const PART_OF: Readonly<Record<Lane, SlicePart | null>> = {
  present: 'newest',
  others: 'earlier',
  details: null,
};

export interface Pace {
  /** `all` means that everything is due, and sums of sums come last. */
  readonly lane: Lane | 'all';
  /** Time for which an hour must be over and unchanged before its details are summed. */
  readonly quietMs: number;
  /** Buckets that are summed together at most. */
  readonly most: Readonly<Record<BucketSpan, number>>;
  /**
   * Details wait while the sums of the last minutes are older, or earlier hours or slices lack a change, whichever worker
   * makes them: the server is busy. Not needed if everything is due.
   */
  readonly busyAgeMs?: number;
}

/** The share of one of several workers. Every bucket belongs to one worker. */
export interface Share {
  /** How many workers there are. */
  readonly workers: number;
  /** The places of this one, from 0 to `workers` - 1. */
  readonly places: readonly number[];
}

/** The only worker. */
export const ALL: Share = { workers: 1, places: [0] };

/** Time between two sums of the details of an hour that never becomes quiet. */
const RESTLESS_MS = 900_000;
/** The same while the server is busy. */
const BUSY_RESTLESS_MS = 1_800_000;

/** After a very long round, others have waited for long. A round that waited for the present hour cost little, too. */
const PAUSE_MAX_MS = 30_000;

/** Rounds of the present hour leave the rest of the time, however old its sums become: a busy server must not get busier. */
const PRESENT_PERCENT_MAX = 75;

/**
 * Returns the time from the end of a round to the next one.
 *
 * The present hour's sums lack a change for two rounds and the pause between at most. So the pause ends before
 * they are older than they should be, even if rounds then take a larger part of the time.
 *
 * @param tookMs 0 if nothing was due.
 */
export function pauseMs(config: RollupsConfig, lane: Lane, tookMs: number): number {
  const shareOf = (percent: number) => tookMs * (100 / percent - 1);
  if (lane !== 'present') {
    return tookMs === 0
      ? config.interval_ms
      : Math.min(shareOf(config.share_percent), PAUSE_MAX_MS);
  }
  const longestMs = Math.max(config.present_age_ms - 2 * tookMs, shareOf(PRESENT_PERCENT_MAX));
  return Math.max(
    config.interval_ms - tookMs,
    Math.min(shareOf(config.present_percent), longestMs),
  );
}

const endMsOf = ({ span, bucket }: DirtyBucket) => bucket * 1_000 + SPAN_MS[span];

/**
 * Returns the due group with the oldest sums; null if none is due.
 *
 * - The newest slices of the present hour are always due; their lane has a pace of its own. Earlier ones take turns
 *   with the other buckets. The hour itself is made when none of its slices has changed, which on a busy server is when
 *   it is over. If a change names no slice, it is made at once.
 * - A day or week waits while something that it is made from is dirty: it would change again.
 * - Details have nearly a row per session, so they wait until their hour is over and quiet, and for half an hour
 *   at most while the server is busy.
 *
 * @param dirty also the marks of other workers: sums that are made from them wait.
 */
export function choose(
  dirty: readonly DirtyBucket[],
  nowMs: number,
  pace: Pace,
  share = ALL,
): Group | null {
  const isEverythingDue = pace.lane === 'all';
  const dirtyDays = daysOf(dirty, ['hour']);
  const dirtyDetailDays = daysOf(dirty, ['detail_hour']);
  const dirtyWeeks = new Set(
    dirty
      .filter(({ span }) => span === 'hour' || span === 'day')
      .map(({ bucket }) => weekOfS(bucket)),
  );
  /** Sums of the future were made before the clock was set back. */
  const ageOf = (summedMs: number) =>
    summedMs > nowMs ? Number.POSITIVE_INFINITY : nowMs - summedMs;
  const ageMs = ({ summedMs }: DirtyBucket) => ageOf(summedMs);
  const isPresent = (each: DirtyBucket) => each.span === 'hour' && endMsOf(each) > nowMs;

  /** Times of the sums of the changed slices in a part of an hour. */
  const summedIn = (part: SlicePart, { bucket, slices }: DirtyBucket): number[] =>
    slices === null
      ? []
      : partOf(part, bucket, [...slices.keys()], nowMs).map((slice) => slices.get(slice) ?? 0);

  /** The slices of the present hour that are this lane's, and the oldest time of their sums; null if there are none. */
  function partOfPresent(each: DirtyBucket): { part: SlicePart; summedMs: number } | null {
    const part = pace.lane === 'all' ? null : PART_OF[pace.lane];
    if (part === null || !isPresent(each)) return null;
    const summed = summedIn(part, each);
    return summed.length === 0 ? null : { part, summedMs: Math.min(...summed) };
  }

  const { busyAgeMs } = pace;
  const isOld = (summedMs: number) => busyAgeMs !== undefined && ageOf(summedMs) > busyAgeMs;
  const isBehind = (hour: DirtyBucket): boolean => {
    // Hours that were never summed are an import: their details need not wait.
    if (!isPresent(hour)) return hour.summedMs > 0;
    if (hour.slices === null) return isOld(hour.summedMs);
    return summedIn('earlier', hour).length > 0 || summedIn('newest', hour).some(isOld);
  };
  const isBusy =
    busyAgeMs !== undefined && dirty.some((each) => each.span === 'hour' && isBehind(each));

  const isDue = (each: DirtyBucket): boolean => {
    const isDetail = each.span === 'detail_hour' || each.span === 'detail_day';
    if (!isEverythingDue && isDetail !== (pace.lane === 'details')) return false;
    switch (each.span) {
      case 'hour':
        if (isEverythingDue) return true;
        if (!isPresent(each)) return pace.lane === 'others';
        if (each.slices === null) return pace.lane === 'present';
        if (each.slices.size === 0) return pace.lane === 'others';
        return partOfPresent(each) !== null;
      case 'day':
        return !dirtyDays.has(each.bucket);
      case 'week':
        return !dirtyWeeks.has(each.bucket);
      case 'detail_day':
        return !dirtyDetailDays.has(each.bucket);
      case 'detail_hour': {
        if (isEverythingDue) return true;
        const isOver = nowMs - endMsOf(each) >= pace.quietMs;
        const isFresh = Math.min(ageMs(each), nowMs - endMsOf(each)) < BUSY_RESTLESS_MS;
        if (isBusy && isFresh) return false;
        return isOver && (nowMs - each.changedMs >= pace.quietMs || ageMs(each) >= RESTLESS_MS);
      }
    }
  };

  /** Shares buckets by hour and by day, so that workers also share a day in which every hour has changed. */
  const isMine = ({ span, bucket }: DirtyBucket) =>
    share.places.includes(Math.floor((bucket * 1_000) / SPAN_MS[span]) % share.workers);
  const due = dirty
    .filter((each) => isMine(each) && isDue(each))
    .map((each) => ({ ...each, ...(partOfPresent(each) ?? { part: null }) }));
  const first = due.reduce<(typeof due)[number] | undefined>(olderOf, undefined);
  if (first === undefined) return null;
  const others = due.filter((each) => each.span === first.span && !isPresent(each));
  const starts = isPresent(first)
    ? [first.bucket]
    : around(
        first,
        others.map(({ bucket }) => bucket),
        pace.most[first.span],
      );
  return {
    span: first.span,
    starts,
    isPresent: isPresent(first),
    part: first.part,
    nowMs,
    left: dirty.length - starts.length,
  };
}

/** The longest time that a few hours of one group may cover: hours between them are read, and not used. */
const LOOSE_HOURS = 24;

/**
 * A bucket and its neighbours, the nearest first: up to a number, while they are at least half of the
 * time from the first to the last.
 */
function around({ span, bucket }: DirtyBucket, buckets: readonly number[], most: number): number[] {
  const sorted = buckets.toSorted((a, b) => a - b);
  const length = SPAN_MS[span] / 1_000;
  const loose = span === 'hour' || span === 'detail_hour' ? LOOSE_HOURS : 1;
  let from = sorted.indexOf(bucket);
  let to = from;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  while (to - from + 1 < most) {
    const fits = (start: number) => {
      const covered = (Math.max(start, at(to)) - Math.min(start, at(from))) / length + 1;
      return covered <= Math.max(loose, 2 * (to - from + 2));
    };
    const isLeftNearer = !(bucket - at(from - 1) > at(to + 1) - bucket);
    if (isLeftNearer && fits(at(from - 1))) from -= 1;
    else if (fits(at(to + 1))) to += 1;
    else if (fits(at(from - 1))) from -= 1;
    else break;
  }
  return sorted.slice(from, to + 1);
}

function olderOf<Bucket extends DirtyBucket>(one: Bucket | undefined, other: Bucket): Bucket {
  return one === undefined || other.summedMs < one.summedMs ? other : one;
}

function daysOf(dirty: readonly DirtyBucket[], spans: readonly BucketSpan[]): Set<number> {
  return new Set(
    dirty.filter(({ span }) => spans.includes(span)).map(({ bucket }) => dayOf(bucket)),
  );
}
