import type { Coverage } from '../questions/sums/plan.js';
import { coverageQuery } from '../sql/coverage.js';
import type { Store } from '../store/store.js';

/** What the rollups are good for, as of at most a second ago. */
export interface CoverageReader {
  read(): Promise<Coverage>;
}

const REUSE_MS = 1_000;
const NEVER = new AbortController().signal;

/** Asks once for everybody and remembers the answer for a second. */
export function createCoverageReader(deps: {
  readonly store: Store;
  /** See coverageQuery. */
  readonly toleranceMs: number;
}): CoverageReader {
  let known: { readonly atMs: number; readonly coverage: Promise<Coverage> } | null = null;

  async function ask(): Promise<Coverage> {
    const [row] = await deps.store.ask(coverageQuery(deps.toleranceMs), { signal: NEVER });
    return {
      rollups: row?.rollups === 1,
      dirtyHours: (row?.dirty_hours ?? []).map((seconds) => seconds * 1_000),
      minutesFromMs: msOf(row?.minutes_from),
      newestMs: msOf(row?.newest),
    };
  }

  return {
    read() {
      const nowMs = performance.now();
      if (known !== null && nowMs - known.atMs < REUSE_MS) return known.coverage;
      const asked = { atMs: nowMs, coverage: ask() };
      known = asked;
      asked.coverage.catch(() => {
        // A failure is not remembered.
        if (known === asked) known = null;
      });
      return asked.coverage;
    },
  };
}

function msOf(time: string | null | undefined): number | null {
  return time === null || time === undefined ? null : Date.parse(time);
}
