import { DAY_MS } from '@sockscope/schemas/sums';
import type { Coverage } from '../sums/plan.js';
import { openFloorQuery } from '../sql/active.js';
import { coverageQuery } from '../sql/coverage.js';
import type { Store } from '../store/store.js';

/**
 * How far back the tables go, in milliseconds since 1970. What is gone was there once: a table that holds
 * nothing before the first session has lost nothing. Null if nothing is gone.
 */
export interface Kept {
  /** The first session or sum that is known of; null if there is none. */
  readonly firstMs: number | null;
  readonly sessionsGoneMs: number | null;
  /** Of the minutes of traffic. */
  readonly minutesGoneMs: number | null;
  /** Of the sums per hour, user and destination. */
  readonly pairHoursGoneMs: number | null;
}

export interface CoverageReader {
  /** What the rollups are good for, as of at most a second ago. */
  read(): Promise<Coverage & Kept>;
  /**
   * Milliseconds since 1970: no session that began earlier is open. One that began more than an hour
   * ago and is heard of again after it had ended counts as open at most five seconds later.
   */
  openFrom(): Promise<number>;
}

const REUSE_MS = 1_000;
/** Finding the earliest open session means looking at every part's index. */
const OPEN_FROM_REUSE_MS = 5_000;
/** Events may come late by this much without being missed for a moment. */
const OPEN_LATE_MS = 3_600_000;
const NEVER = new AbortController().signal;

export function createCoverageReader(deps: {
  readonly store: Store;
  /** See coverageQuery. */
  readonly toleranceMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}): CoverageReader {
  async function ask(): Promise<Coverage & Kept> {
    const [row] = await deps.store.ask(coverageQuery(deps.toleranceMs), { signal: NEVER });
    const starts = [msOf(row?.sessions_from), msOf(row?.sums_from)].filter((ms) => ms !== null);
    const firstMs = starts.length === 0 ? null : Math.min(...starts);
    // Retention is in whole days; less than that is how the first sessions came.
    const goneOf = (time: string | null | undefined) => {
      const fromMs = msOf(time);
      return fromMs === null || firstMs === null || fromMs - firstMs < DAY_MS ? null : fromMs;
    };
    return {
      rollups: row?.rollups === 1,
      dirty: row?.dirty.map(([span, seconds]) => ({ span, bucketMs: seconds * 1_000 })) ?? [],
      newestMs: msOf(row?.newest),
      firstMs,
      sessionsGoneMs: goneOf(row?.sessions_from),
      minutesGoneMs: goneOf(row?.minutes_from),
      pairHoursGoneMs: goneOf(row?.pair_hours_from),
    };
  }

  async function askOpenFrom(): Promise<number> {
    const atMs = deps.now();
    const [row] = await deps.store.ask(openFloorQuery(), { signal: NEVER });
    return Math.min(msOf(row?.oldest) ?? atMs, atMs - OPEN_LATE_MS);
  }

  return {
    read: remembered(ask, REUSE_MS),
    openFrom: remembered(askOpenFrom, OPEN_FROM_REUSE_MS),
  };
}

/** Asks once for all who come within a time. A failure is not remembered. */
export function remembered<T>(ask: () => Promise<T>, reuseMs: number): () => Promise<T> {
  let known: { readonly atMs: number; readonly answer: Promise<T> } | null = null;
  return () => {
    const nowMs = performance.now();
    if (known !== null && nowMs - known.atMs < reuseMs) return known.answer;
    const asked = { atMs: nowMs, answer: ask() };
    known = asked;
    asked.answer.catch(() => {
      if (known === asked) known = null;
    });
    return asked.answer;
  };
}

function msOf(time: string | null | undefined): number | null {
  return time === null || time === undefined ? null : Date.parse(time);
}
