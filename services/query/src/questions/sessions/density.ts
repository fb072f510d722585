import { LRUCache } from 'lru-cache';
import type { Pace } from './windows.js';

/** The density of the sessions that some filters let pass, from the last full page of them. */
interface Known {
  /** Average time from one start to the next. */
  readonly gapMs: number;
  /** The latest start on a page that began with the present. */
  readonly newestMs: number | null;
  readonly atMs: number;
}

/**
 * Guesses how long a slice of history holds a page. A wrong guess makes no wrong page: a slice too
 * short costs a second query, one too long a few granules.
 */
export interface DensityMemory {
  /** The first slice to read; null without a full page of these filters. */
  begin(
    filters: string,
    wanted: number,
    otherwise: { readonly pace: Pace; readonly anchorMs: number },
    nowMs: number,
  ): { readonly pace: Pace; readonly anchorMs: number } | null;
  /** @param startsMs starts of the sessions of a full page, in its order. */
  learn(filters: string, startsMs: readonly number[], fromPresent: boolean, nowMs: number): void;
}

const REMEMBERED_MAX = 20_000;
/** Time after which the newest session is probably another one. */
const NEWEST_VALID_MS = 60_000;
const MARGIN = 2;

export function createDensityMemory(): DensityMemory {
  const memory = new LRUCache<string, Known>({ max: REMEMBERED_MAX });
  return {
    begin(filters, wanted, otherwise, nowMs) {
      const known = memory.get(filters);
      if (known === undefined) return null;
      const isRecent = nowMs - known.atMs <= NEWEST_VALID_MS;
      const newestMs = isRecent ? known.newestMs : null;
      return {
        pace: { ...otherwise.pace, firstMs: Math.max(1, Math.ceil(known.gapMs * wanted * MARGIN)) },
        anchorMs: Math.min(otherwise.anchorMs, newestMs ?? otherwise.anchorMs),
      };
    },
    learn(filters, startsMs, fromPresent, nowMs) {
      const [first, last] = [startsMs[0], startsMs.at(-1)];
      if (first === undefined || last === undefined) return;
      memory.set(filters, {
        gapMs: Math.abs(first - last) / startsMs.length,
        newestMs: fromPresent ? first : (memory.get(filters)?.newestMs ?? null),
        atMs: nowMs,
      });
    },
  };
}
