import type { Coverage } from '../sums/plan.js';
import { openFloorQuery } from '../sql/active.js';
import { coverageQuery } from '../sql/coverage.js';
import type { Store } from '../store/store.js';

/** How far back the tables go, in milliseconds since 1970; null where one is empty. */
export interface Kept {
  readonly sessionsFromMs: number | null;
  /** Of the sums per hour, user and destination. */
  readonly pairHoursFromMs: number | null;
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
    return {
      rollups: row?.rollups === 1,
      dirtyHours: (row?.dirty_hours ?? []).map((seconds) => seconds * 1_000),
      minutesFromMs: msOf(row?.minutes_from),
      newestMs: msOf(row?.newest),
      sessionsFromMs: msOf(row?.sessions_from),
      pairHoursFromMs: msOf(row?.pair_hours_from),
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
function remembered<T>(ask: () => Promise<T>, reuseMs: number): () => Promise<T> {
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
