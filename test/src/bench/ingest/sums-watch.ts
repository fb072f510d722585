import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { int64 } from '@sockscope/runtime/clickhouse';
import { floorTo, HOUR_MS, MINUTE_MS, SLICE_MS } from '@sockscope/schemas/sums';
import { z } from 'zod';

/** Sums: how much they lack at the moment. */
export interface Lacking {
  /** Age of the oldest change of the last minutes that their sums do not contain, in seconds. */
  readonly sumsAgeS: number;
  /** Longest time for which the sums of an older hour, or of an earlier slice of the present one, lack its last change. */
  readonly lateS: number;
}

/** The changes of one hour or slice by one process that its sums did not contain when they were last looked at. */
interface Unsummed {
  /** Each with the last time at which it was not there yet, oldest first. */
  changes: { readonly number: number; readonly afterMs: number }[];
}

/** Slices that cover one of these are the last minutes. */
const LAST_MINUTES_MS = 2 * MINUTE_MS;

/**
 * Watches what the sums of older hours and the slices of the present hour do not contain. A change counts from
 * the look before the one that found it, so ages are too large by up to the time between two looks, and never too small.
 */
export function createSumsWatch(clickhouse: ClickHouse): () => Promise<Lacking> {
  const byBucket = new Map<string, Unsummed>();
  let lookedMs = Date.now();
  return async () => {
    const beforeMs = lookedMs;
    lookedMs = Date.now();
    const rows = await clickhouse.query({
      sql: `SELECT kind, start_s, by, changed, summed FROM (
          SELECT 'hour' AS kind, toUnixTimestamp(bucket) AS start_s, toString(writer) AS by,
            max(changed_through) AS changed, max(summed_through) AS summed
          FROM ingest_rollup_buckets WHERE span = 'hour' AND bucket < {present:DateTime('UTC')} GROUP BY bucket, writer
          UNION ALL
          SELECT 'slice' AS kind, hour_s + {slice_s:UInt32} * slice AS start_s, by, each.2 AS changed, through[slice] AS summed
          FROM (
            SELECT toUnixTimestamp(bucket) AS hour_s, toString(writer) AS by, maxMap(slices_changed) AS marked,
              maxMap(slices_summed) AS through
            FROM ingest_rollup_buckets WHERE span = 'hour' AND bucket >= {present:DateTime('UTC')} GROUP BY bucket, writer
          ) ARRAY JOIN marked AS each, mapKeys(marked) AS slice)`,
      params: { present: floorTo(lookedMs, HOUR_MS) / 1_000, slice_s: SLICE_MS / 1_000 },
      row: z.object({
        kind: z.enum(['hour', 'slice']),
        start_s: int64,
        by: z.string(),
        changed: int64,
        summed: int64,
      }),
    });
    let [oldestMs, lateMs] = [lookedMs, 0];
    for (const { kind, start_s: startS, by, changed, summed } of rows) {
      const key = `${kind} ${startS} ${by}`;
      const unsummed = byBucket.get(key) ?? { changes: [] };
      byBucket.set(key, unsummed);
      unsummed.changes = unsummed.changes.filter(({ number }) => number > summed);
      const known = unsummed.changes.at(-1)?.number ?? summed;
      if (changed > known) unsummed.changes.push({ number: changed, afterMs: beforeMs });
      const [oldest, newest] = [unsummed.changes[0], unsummed.changes.at(-1)];
      if (oldest === undefined || newest === undefined) continue;
      const isOfLastMinutes =
        kind === 'slice' && startS * 1_000 + SLICE_MS + LAST_MINUTES_MS > lookedMs;
      if (isOfLastMinutes) oldestMs = Math.min(oldestMs, oldest.afterMs);
      else lateMs = Math.max(lateMs, lookedMs - newest.afterMs);
    }
    return { sumsAgeS: (lookedMs - oldestMs) / 1_000, lateS: lateMs / 1_000 };
  };
}
