import type { Flows, FlowsQuery } from '@sockscope/schemas/api';
import type { Sums } from '../../sql/sums.js';
import type { Asking } from '../../store/store.js';
import type { Filters } from '../../filters/filters.js';
import { answerMetaOf, rangeOf } from '../../time/range.js';
import { bytesOf } from '../../sums/measures.js';
import { flowSums, zeroSums } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';

function sumsOf(row: Sums): Flows['total'] {
  return {
    sessions: row.sessions_started,
    bytes: bytesOf(row),
    bytes_sent: row.bytes_sent,
    bytes_received: row.bytes_received,
  };
}

/** Who reached what on which port: the edges of a Sankey diagram. */
export async function flows(
  deps: SumsDeps,
  query: FlowsQuery,
  filters: Filters,
  asking: Asking,
  nowMs: number,
): Promise<Flows> {
  const range = rangeOf(query, nowMs);
  const { rows, provenance } = await flowSums(
    deps,
    { range, filters },
    query.by,
    query.limit,
    asking,
  );
  const total = sumsOf(rows.find((row) => row.is_total === 1) ?? zeroSums());
  const items = rows
    .filter((row) => row.is_total === 0)
    .map((row) => {
      const [user, dest_host, dest_port] = row.key;
      return { user, dest_host, dest_port, ...sumsOf(row) };
    });
  const other = { ...total };
  for (const item of items) {
    other.sessions -= item.sessions;
    other.bytes -= item.bytes;
    other.bytes_sent -= item.bytes_sent;
    other.bytes_received -= item.bytes_received;
  }
  return {
    ...answerMetaOf(range, query, provenance, nowMs),
    by: query.by,
    items,
    other: other.sessions === 0 && other.bytes === 0 ? null : other,
    total,
  };
}
