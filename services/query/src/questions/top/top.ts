import { toTimestamp } from '@sockscope/schemas';
import type { TopMeasure, TopQuery, TopSums } from '@sockscope/schemas/api';
import { freshnessQuery } from '../../sql/freshness.js';
import { topSumsQuery } from '../../sql/sums.js';
import type { Dimension, Range, Sums } from '../../sql/sums.js';
import type { Asking, Store } from '../../store/store.js';
import { rangeOf } from '../range.js';

type TopItem = TopSums & { readonly key: string; readonly share: number };

interface TopRows {
  readonly items: TopItem[];
  readonly other: TopSums | null;
  readonly total: TopSums;
}

function sumsOf(row: Sums): TopSums {
  return {
    sessions: row.sessions_started,
    bytes: row.bytes_sent + row.bytes_received,
    bytes_sent: row.bytes_sent,
    bytes_received: row.bytes_received,
    packets_sent: row.packets_sent,
    packets_received: row.packets_received,
    duration_ms: row.duration_ms,
    rejected: row.sessions_rejected,
  };
}

const SUM_NAMES = [
  'sessions',
  'bytes',
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
  'duration_ms',
  'rejected',
] as const satisfies readonly (keyof TopSums)[];

function zeroSums(): TopSums {
  return {
    sessions: 0,
    bytes: 0,
    bytes_sent: 0,
    bytes_received: 0,
    packets_sent: 0,
    packets_received: 0,
    duration_ms: 0,
    rejected: 0,
  };
}

/** What of the total is not in the items; null where nothing is left. */
export function otherOf(total: TopSums, items: readonly TopSums[]): TopSums | null {
  const other = { ...total };
  for (const item of items) for (const name of SUM_NAMES) other[name] -= item[name];
  return SUM_NAMES.some((name) => other[name] !== 0) ? other : null;
}

/** The largest keys of one dimension with the total and the rest. */
export async function topRows(
  store: Store,
  top: {
    readonly dimension: Dimension;
    readonly by: TopMeasure;
    readonly limit: number;
    readonly range: Range;
  },
  asking: Asking,
): Promise<TopRows> {
  const rows = await store.ask(topSumsQuery(top), asking);
  const totalRow = rows.find((row) => row.is_total === 1);
  const total = totalRow === undefined ? zeroSums() : sumsOf(totalRow);
  const items = rows
    .filter((row) => row.is_total === 0)
    .map((row) => {
      const sums = sumsOf(row);
      return {
        key: row.key,
        ...sums,
        share: total[top.by] === 0 ? 0 : sums[top.by] / total[top.by],
      };
    });
  return { items, other: otherOf(total, items), total };
}

/** The parts of a top list's answer that do not depend on the dimension's name. */
export async function topAnswer(
  store: Store,
  dimension: Dimension,
  query: TopQuery,
  asking: Asking,
  nowMs: number,
) {
  const range = rangeOf(query, nowMs);
  const [rows, freshness] = await Promise.all([
    topRows(store, { dimension, by: query.by, limit: query.limit, range }, asking),
    store.ask(freshnessQuery(), asking),
  ]);
  return {
    range: { from: toTimestamp(range.fromMs), to: toTimestamp(range.toMs) },
    time_zone: query.time_zone,
    resolution: 'minute' as const,
    as_of: toTimestamp(nowMs),
    data_until: freshness[0]?.newest ?? null,
    by: query.by,
    ...rows,
  };
}
