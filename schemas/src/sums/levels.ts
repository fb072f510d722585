import { DAY_MS, HOUR_MS, SLICE_MS, WEEK_MS } from './calendar.js';

/**
 * The kinds of buckets that are summed. Details are sums by user, destination and port, and sketches. They
 * have nearly as many rows as there are sessions, so they are made later than the other sums.
 */
export const SPANS = ['hour', 'day', 'week', 'detail_hour', 'detail_day'] as const;
export type BucketSpan = (typeof SPANS)[number];

/** Length of a bucket in milliseconds. */
export const SPAN_MS: Readonly<Record<BucketSpan, number>> = {
  hour: HOUR_MS,
  day: DAY_MS,
  week: WEEK_MS,
  detail_hour: HOUR_MS,
  detail_day: DAY_MS,
};

/** The table of changed and summed buckets. */
export const BUCKETS_TABLE = 'ingest_rollup_buckets';

/**
 * The rest of the first SELECT of a union, which has no rows. Every statement that reads sums begins with it, so
 * that finished versions are read as they were before its rows. The other way round, a bucket whose round finishes
 * between the two is empty. See SHARED_SNAPSHOT.
 */
export const FINISHED_FIRST = `FROM ${BUCKETS_TABLE} WHERE false`;

/** A statement reads each table as it was when the table was first named; see FINISHED_FIRST. */
export const SHARED_SNAPSHOT = { enable_shared_storage_snapshot_in_query: 1 } as const;

/**
 * Returns SQL that is true for rows of sums that count: rows with the newest finished version of
 * their bucket, or a newer one. Other rows arrived late, or their key is gone. In a bucket without
 * a finished version, all rows count: it was summed before versions existed. Read with FINAL, after
 * FINISHED_FIRST.
 *
 * @param within an SQL condition over `bucket` that bounds the buckets that are looked up.
 */
export function countedSql(span: BucketSpan, within: string): string {
  return isNotOlder(`SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ${BUCKETS_TABLE} WHERE span = '${span}' AND (${within}) GROUP BY bucket HAVING version > 0`);
}

/**
 * Returns the same for rows of slices, whose finished versions stand with their hours.
 *
 * @param withinHours an SQL condition over `bucket` that bounds these hours.
 */
export function countedSlicesSql(withinHours: string): string {
  return isNotOlder(`SELECT toUInt32(bucket) + ${SLICE_MS / 1_000} * slice AS start, toInt64(max(finished_at)) AS version
          FROM (SELECT bucket, arrayJoin(slices_finished) AS each, each.1 AS slice, each.2 AS finished_at
            FROM ${BUCKETS_TABLE} WHERE span = 'hour' AND (${withinHours}))
          GROUP BY start`);
}

/** @param versions selects the finished `version` of each bucket by its `start`. */
function isNotOlder(versions: string): string {
  const finished = `(SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (${versions}))`;
  return `toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), ${finished}.1, ${finished}.2, toInt64(0))`;
}

/**
 * Returns SQL that is true for a dirty bucket, over rows of `BUCKETS_TABLE` aggregated by writer.
 */
export const DIRTY_SQL = 'max(changed_through) > max(summed_through)';

/**
 * Returns SQL that is true for a writer whose every change of an hour named the slices, and whose rounds knew
 * them, over rows of `BUCKETS_TABLE` aggregated by hour and writer. If it is false for one, slices of the hour
 * may lack changes.
 */
export const NAMES_SLICES_SQL = `(max(changed_through) <= arrayMax(arrayPushBack(mapValues(maxMap(slices_changed)), 0))
            AND (max(drawn) <= toDateTime64(0, 6, 'UTC') OR max(knows_slices) = 1))`;
