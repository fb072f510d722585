import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import type { Query } from './query.js';

const coverageRow = z.object({
  rollups: z.int(),
  dirty_hours: z.array(int64),
  minutes_from: wireTime.nullable(),
  newest: wireTime.nullable(),
  sessions_from: wireTime.nullable(),
  pair_hours_from: wireTime.nullable(),
  sums_from: wireTime.nullable(),
});

/**
 * What the rollups are good for now, how fresh the tables are, and how far back they go. The earliest
 * times are in the list of parts: their columns are those by which the tables are partitioned.
 *
 * @param toleranceMs hours that have been marked for no longer than this count as unchanged.
 */
export function coverageQuery(toleranceMs: number): Query<typeof coverageRow> {
  return {
    name: 'coverage',
    sql: `SELECT
        (SELECT toUInt8(count() > 0) FROM ingest_rollup_state) AS rollups,
        (SELECT groupArray(toUnixTimestamp(hour)) FROM (
          SELECT DISTINCT hour FROM ingest_dirty_hours FINAL
          WHERE done = 0 AND marked_at <= now() - toIntervalSecond({tolerance_s:UInt32})
          ORDER BY hour DESC LIMIT {hours_max:UInt32}
        )) AS dirty_hours,
        (SELECT if(count() = 0, NULL, min(bucket)) FROM session_traffic_1m) AS minutes_from,
        (SELECT if(count() = 0, NULL, max(watermark)) FROM ingest_watermarks FINAL) AS newest,
        (SELECT if(count() = 0, NULL, min(started_at)) FROM sessions) AS sessions_from,
        (SELECT if(count() = 0, NULL, min(bucket)) FROM rollup_pairs_1h) AS pair_hours_from,
        (SELECT if(count() = 0, NULL, min(bucket)) FROM rollup_1d) AS sums_from`,
    params: { hours_max: DIRTY_HOURS_MAX, tolerance_s: Math.floor(toleranceMs / 1_000) },
    row: coverageRow,
  };
}

/** Changed hours that are looked at; more than ten years of them. */
const DIRTY_HOURS_MAX = 100_000;
