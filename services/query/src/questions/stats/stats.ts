import { DAY_MS } from '@sockscope/schemas/sums';
import { toTimestamp } from '@sockscope/schemas';
import type { PeriodStats, Stats, StatsQuery } from '@sockscope/schemas/api';
import type { Asking } from '../../store/store.js';
import { momentOf, startOfDay, wallOf } from '../../time/zone.js';
import type { Filters } from '../../filters/filters.js';
import { answerMetaOf, rangeOf } from '../../time/range.js';
import type { Span } from '../../sums/plan.js';
import { measuresOf } from '../../sums/measures.js';
import { openAt, periodSums, together } from '../../sums/sums.js';
import type { Provenance, SumsDeps } from '../../sums/sums.js';
import { topRows } from '../top/top.js';

const TOP_LENGTH = 10;

/** Counts of a period and the one before it, with the busiest users and destinations. */
export async function stats(
  deps: SumsDeps,
  query: StatsQuery,
  filters: Filters,
  { signal }: Asking,
  nowMs: number,
): Promise<Stats> {
  // Five queries at once keep the cores busy; more threads for each would only cost.
  const asking = { signal, threads: 1 };
  const range = rangeOf(query, nowMs);
  const before = periodBefore(query, range);
  const top = { by: 'bytes', limit: TOP_LENGTH, range, filters } as const;
  const [current, previous, active, users, destinations] = await Promise.all([
    periodStats(deps, range, filters, asking),
    periodStats(deps, before, filters, asking),
    openAt(deps, range.toMs, filters, asking, nowMs),
    topRows(deps, { ...top, dimension: 'user' }, asking),
    topRows(deps, { ...top, dimension: 'destination' }, asking),
  ]);
  const made = together(
    current.provenance,
    previous.provenance,
    users.provenance,
    destinations.provenance,
  );
  return {
    ...answerMetaOf(range, query, made, nowMs),
    active,
    current: current.stats,
    previous_range: { from: toTimestamp(before.fromMs), to: toTimestamp(before.toMs) },
    previous: previous.stats,
    top_users: users.rows.items.map(({ key, ...sums }) => ({ user: key, ...sums })),
    top_destinations: destinations.rows.items.map(({ key, ...sums }) => ({
      dest_host: key,
      ...sums,
    })),
  };
}

/** Of today: yesterday up to the same time of the day. Else the same length just before. */
export function periodBefore(query: StatsQuery, range: Span): Span {
  if (query.from !== undefined) {
    // Nothing is before 1970, and no period is empty.
    const fromMs = Math.max(0, 2 * range.fromMs - range.toMs);
    return { fromMs, toMs: Math.max(fromMs + 1, range.fromMs) };
  }
  const zone = query.time_zone;
  const fromMs = Math.max(0, startOfDay(range.fromMs - 1, zone));
  const toMs = momentOf(wallOf(range.toMs, zone).getTime() - DAY_MS, zone);
  // The clock may have been changed at just that time.
  return { fromMs, toMs: Math.max(fromMs + 1, Math.min(toMs, range.fromMs)) };
}

async function periodStats(
  deps: SumsDeps,
  range: Span,
  filters: Filters,
  asking: Asking,
): Promise<{ stats: PeriodStats; provenance: Provenance }> {
  const { row, provenance } = await periodSums(deps, { range, filters }, asking);
  const [p50 = null, p90 = null, p95 = null, p99 = null] = row.quantiles;
  return {
    provenance,
    stats: {
      ...measuresOf(row),
      unique_users: row.users,
      unique_destinations: row.destinations,
      unique_sources: row.sources,
      duration_quantiles_ms: { p50, p90, p95, p99 },
    },
  };
}
