import { toTimestamp } from '@sockscope/schemas';
import type { PeriodStats, Stats, StatsQuery } from '@sockscope/schemas/api';
import { activeCountQuery } from '../../sql/active.js';
import { freshnessQuery } from '../../sql/freshness.js';
import { durationQuantilesQuery, totalSumsQuery, uniquesQuery } from '../../sql/sums.js';
import type { Range } from '../../sql/sums.js';
import type { Asking, Store } from '../../store/store.js';
import { rangeOf } from '../range.js';
import { topRows } from '../top/top.js';

const TOP_LENGTH = 10;

/** Counts of a period and the one before it, with the busiest users and destinations. */
export async function stats(
  store: Store,
  query: StatsQuery,
  asking: Asking,
  nowMs: number,
): Promise<Stats> {
  const range = rangeOf(query, nowMs);
  const before: Range = { fromMs: 2 * range.fromMs - range.toMs, toMs: range.fromMs };
  const top = { by: 'bytes', limit: TOP_LENGTH, range } as const;
  const [current, previous, active, freshness, users, destinations] = await Promise.all([
    periodStats(store, range, asking),
    periodStats(store, before, asking),
    store.ask(activeCountQuery({ sql: '1', params: {} }), asking),
    store.ask(freshnessQuery(), asking),
    topRows(store, { ...top, dimension: 'user' }, asking),
    topRows(store, { ...top, dimension: 'destination' }, asking),
  ]);
  return {
    range: { from: toTimestamp(range.fromMs), to: toTimestamp(range.toMs) },
    time_zone: query.time_zone,
    resolution: 'minute',
    as_of: toTimestamp(nowMs),
    data_until: freshness[0]?.newest ?? null,
    active: active[0]?.active ?? 0,
    current,
    previous_range: { from: toTimestamp(before.fromMs), to: toTimestamp(before.toMs) },
    previous,
    top_users: users.items.map(({ key, ...sums }) => ({ user: key, ...sums })),
    top_destinations: destinations.items.map(({ key, ...sums }) => ({ dest_host: key, ...sums })),
  };
}

async function periodStats(store: Store, range: Range, asking: Asking): Promise<PeriodStats> {
  const [[sums], [uniques], [quantiles]] = await Promise.all([
    store.ask(totalSumsQuery(range), asking),
    store.ask(uniquesQuery(range), asking),
    store.ask(durationQuantilesQuery(range), asking),
  ]);
  const ended = (quantiles?.ended ?? 0) > 0 ? quantiles : undefined;
  return {
    started: sums?.sessions_started ?? 0,
    closed: sums?.sessions_closed ?? 0,
    failed: sums?.sessions_failed ?? 0,
    rejected: sums?.sessions_rejected ?? 0,
    bytes_sent: sums?.bytes_sent ?? 0,
    bytes_received: sums?.bytes_received ?? 0,
    packets_sent: sums?.packets_sent ?? 0,
    packets_received: sums?.packets_received ?? 0,
    duration_ms: sums?.duration_ms ?? 0,
    unique_users: uniques?.unique_users ?? 0,
    unique_destinations: uniques?.unique_destinations ?? 0,
    unique_sources: uniques?.unique_sources ?? 0,
    duration_quantiles_ms: {
      p50: ended?.p50 ?? null,
      p90: ended?.p90 ?? null,
      p95: ended?.p95 ?? null,
      p99: ended?.p99 ?? null,
      max: ended?.max ?? null,
    },
  };
}
