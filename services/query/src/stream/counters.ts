import type { StreamCounters } from '@sockscope/schemas/api';
import { toTimestamp } from '@sockscope/schemas';
import { restrictedTo } from '../filters/filters.js';
import { figuresOf } from '../sums/measures.js';
import { DAY_MS } from '@sockscope/schemas/sums';
import { openAt, totalSums } from '../sums/sums.js';
import type { SumsDeps } from '../sums/sums.js';
import type { Asking } from '../store/store.js';

/** The frame `counters` for a caller who may see this user's sessions; null sees all. */
export async function countersOf(
  deps: SumsDeps,
  onlyUsers: readonly string[] | null,
  asking: Asking,
  nowMs: number,
): Promise<StreamCounters> {
  const filters = restrictedTo(onlyUsers, {});
  // To the second, so that all requests within it are equal.
  const toMs = Math.ceil((nowMs + 1) / 1_000) * 1_000;
  const range = { fromMs: Math.floor((toMs - 1) / DAY_MS) * DAY_MS, toMs };
  const [open, { sums }] = await Promise.all([
    openAt(deps, { atMs: toMs, filters, nowMs }, asking),
    totalSums(deps, { range, filters }, asking),
  ]);
  return { as_of: toTimestamp(nowMs), sessions_open: open, today: figuresOf(sums) };
}
