import { API_LIMITS } from '@sockscope/schemas/api';
import type { TopMeasure, TopQuery, TopSums } from '@sockscope/schemas/api';
import { countsAtEnd } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import type { Sums, SumsOf } from '../../sql/sums.js';
import type { Asking } from '../../store/store.js';
import type { Filters } from '../../filters/filters.js';
import { answerMetaOf, rangeOf } from '../../time/range.js';
import type { Span } from '../../sums/plan.js';
import { bytesOf } from '../../sums/measures.js';
import { topSums, zeroSums } from '../../sums/sums.js';
import type { Provenance, SumsDeps } from '../../sums/sums.js';

export type TopItem = TopSums & { readonly key: string; readonly share: number };

interface TopRows {
  readonly items: TopItem[];
  readonly other: TopSums | null;
  readonly total: TopSums;
}

function topSumsOf(row: Sums, dimension: Dimension): TopSums {
  const ended = row.sessions_closed + row.sessions_failed + row.sessions_rejected;
  return {
    sessions: countsAtEnd(dimension) ? ended : row.sessions_started,
    bytes: bytesOf(row),
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

/** What of the total is not in the items; null where nothing is left. */
export function otherOf(total: TopSums, items: readonly TopSums[]): TopSums | null {
  const other = { ...total };
  for (const item of items) for (const name of SUM_NAMES) other[name] -= item[name];
  return SUM_NAMES.some((name) => other[name] !== 0) ? other : null;
}

/** The largest keys of one dimension with the total and the rest. */
export async function topRows(
  deps: SumsDeps,
  top: {
    readonly dimension: Dimension;
    readonly by: TopMeasure;
    readonly limit: number;
    readonly range: Span;
    readonly filters: Filters;
    readonly shownAs?: SumsOf['shownAs'];
  },
  asking: Asking,
): Promise<{ rows: TopRows; provenance: Provenance }> {
  const { dimension, by, limit } = top;
  const { rows, provenance } = await topSums(deps, top, by, limit, asking);
  const totalRow = rows.find((row) => row.is_total === 1);
  const total = topSumsOf(totalRow ?? zeroSums(), dimension);
  const items = rows
    .filter((row) => row.is_total === 0)
    .map((row) => {
      const sums = topSumsOf(row, dimension);
      return { key: row.key, ...sums, share: total[by] === 0 ? 0 : sums[by] / total[by] };
    });
  return { rows: { items, other: otherOf(total, items), total }, provenance };
}

/** A top list, apart from the name of its keys. */
export async function topAnswer(
  deps: SumsDeps,
  dimension: Dimension,
  query: TopQuery,
  filters: Filters,
  shownAs: SumsOf['shownAs'],
  asking: Asking,
  nowMs: number,
) {
  const range = rangeOf(query, nowMs);
  const { rows, provenance } = await topRows(
    deps,
    {
      dimension,
      by: query.by,
      limit: query.limit ?? API_LIMITS.top_default,
      range,
      filters,
      shownAs,
    },
    asking,
  );
  return { ...answerMetaOf(range, query, provenance, nowMs), by: query.by, ...rows };
}
