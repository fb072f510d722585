import { BUCKETS_TABLE, NAMES_SLICES_SQL, SLICE_MS, SPANS } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import type { Query } from './query.js';

const coverageRow = z.object({
  rollups: z.int(),
  dirty: z.array(z.tuple([z.enum(SPANS), int64])),
  slices: z.array(int64),
  minutes_from: wireTime.nullable(),
  newest: wireTime.nullable(),
  newest_hour: wireTime.nullable(),
  behind: wireTime.nullable(),
  sessions_from: wireTime.nullable(),
  pair_hours_from: wireTime.nullable(),
  sums_from: wireTime.nullable(),
  waits: z.array(z.tuple([z.string(), z.int(), z.string(), wireTime, wireTime])),
});

/**
 * The range that the rollups cover, the freshness of the tables, and their earliest times. The earliest
 * times are in the list of parts: their columns are those by which the tables are partitioned.
 *
 * A slice is used if its sums are finished, and it has not changed since or they are young enough, as far as its hour
 * knows: a change that named no slice may lie in any of them.
 *
 * @param toleranceMs buckets whose sums were begun within this time count as unchanged.
 * @param slicesFromMs slices of earlier hours are not used, because their sums expire.
 */
export function coverageQuery(
  toleranceMs: number,
  slicesFromMs: number,
): Query<typeof coverageRow> {
  return {
    name: 'coverage',
    sql: `SELECT
        (SELECT toUInt8(max(drawn) > toDateTime64(0, 6, 'UTC')) FROM ${BUCKETS_TABLE}) AS rollups,
        (SELECT groupArray((kind, start)) FROM (
          SELECT toString(span) AS kind, toUnixTimestamp(bucket) AS start FROM (
            SELECT span, bucket, max(finished) AS version, max(changed_through) > max(summed_through) AS is_dirty
            FROM ${BUCKETS_TABLE} GROUP BY span, bucket, writer
          )
          GROUP BY span, bucket
          HAVING max(is_dirty)
            AND NOT (max(version) > now64(6) - toIntervalSecond({tolerance_s:UInt32}) AND max(version) <= now64(6))
          ORDER BY start DESC LIMIT {dirty_max:UInt32}
        )) AS dirty,
        (SELECT groupArray(start) FROM (
          SELECT toInt64(toUnixTimestamp(bucket)) + ${SLICE_MS / 1_000} * arrayJoin(arrayFilter(
              slice -> NOT has(changed, slice) OR (
                version[slice] > toUnixTimestamp64Micro(now64(6)) - 1000000 * {tolerance_s:UInt32}
                AND version[slice] <= toUnixTimestamp64Micro(now64(6))),
              mapKeys(version))) AS start
          FROM (
            SELECT bucket, maxMap(finished_at) AS version,
              groupUniqArrayArray(mapKeys(mapFilter((slice, number) -> number > through[slice], marked))) AS changed
            FROM (
              SELECT bucket, maxMap(slices_finished) AS finished_at, maxMap(slices_changed) AS marked,
                maxMap(slices_summed) AS through, ${NAMES_SLICES_SQL} AS names_slices
              FROM ${BUCKETS_TABLE} WHERE span = 'hour' AND bucket >= toDateTime({slices_from:UInt32}, 'UTC')
              GROUP BY bucket, writer
            )
            GROUP BY bucket HAVING min(names_slices)
          )
          ORDER BY start LIMIT {slices_max:UInt32}
        )) AS slices,
        (SELECT if(count() = 0, NULL, min(bucket)) FROM session_traffic_1m) AS minutes_from,
        (SELECT if(count() = 0, NULL, max(watermark)) FROM ingest_watermarks FINAL) AS newest,
        (SELECT if(count() = 0, NULL, max(bucket)) FROM ${BUCKETS_TABLE} WHERE span = 'hour' AND bucket <= now()) AS newest_hour,
        (SELECT if(count() = 0, NULL, min(watermark)) FROM ingest_watermarks FINAL
          WHERE caught_up = 0 AND topic = (SELECT argMax(topic, observed_at) FROM ingest_watermarks)) AS behind,
        (SELECT if(count() = 0, NULL, min(started_at)) FROM sessions) AS sessions_from,
        (SELECT if(count() = 0, NULL, min(bucket)) FROM rollup_pairs_1h) AS pair_hours_from,
        (SELECT if(count() = 0, NULL, min(bucket)) FROM rollup_1d) AS sums_from,
        (SELECT groupArray((topic, partition, kind, since, until)) FROM (
          SELECT w.topic AS topic, w.partition AS partition, toString(w.kind) AS kind, w.since AS since, m.watermark AS until
          FROM (SELECT * FROM ingest_waits FINAL WHERE is_waiting = 1 ORDER BY topic, partition LIMIT {waits_max:UInt32}) AS w
          LEFT JOIN (SELECT * FROM ingest_watermarks FINAL) AS m
            ON m.topic = w.topic AND m.partition = w.partition
          ORDER BY topic, partition
        )) AS waits`,
    params: {
      waits_max: WAITS_MAX,
      dirty_max: DIRTY_MAX,
      tolerance_s: Math.floor(toleranceMs / 1_000),
      slices_from: Math.max(0, Math.ceil(slicesFromMs / 1_000)),
      slices_max: SLICES_MAX,
    },
    row: coverageRow,
    // The statement must see deleted rows too, and the earliest times come from the list of parts only without a filter.
    seesExpired: true,
  };
}

/** Partitions that answers name. */
const WAITS_MAX = 100;
/** Dirty buckets that are looked at: five years of hours and of their details. */
const DIRTY_MAX = 100_000;
/** Slices that are looked at: a week. Two days have 288, and a clock that is fast makes more. */
const SLICES_MAX = 1_008;
