import { SHARED_SNAPSHOT } from '@sockscope/schemas/sums';

/** An open session lasts until its latest event: a stored time, so that pages are stable. */
export const DURATION_SQL = `ifNull(toInt64(duration_ms), dateDiff('millisecond', started_at, updated_at))`;

/** Both ways together. */
export const BYTES_SQL = `toInt64(bytes_sent + bytes_received)`;

/** A time bound as milliseconds since 1970. `name` is the parameter's, one of ours. */
export function timeSql(name: string): string {
  return `fromUnixTimestamp64Milli({${name}:Int64}, 'UTC')`;
}

/** Writes a DateTime64(3) in UTC as ClickHouse reads it, for lists: an index does not see through a function. */
export function dateTime64Of(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}

/** The same for a DateTime: whole seconds. */
export function dateTimeOf(ms: number): string {
  return dateTime64Of(ms).slice(0, 19);
}

/**
 * Versions of a row share a partition, so FINAL need not merge across partitions. All rows of a session
 * are on one shard of a cluster, so a look-up by id finds it there; without the second setting
 * ClickHouse refuses to look (distributed_product_mode = deny).
 */
export const FINAL_SETTINGS = {
  do_not_merge_across_partitions_select_final: 1,
  distributed_product_mode: 'local',
  ...SHARED_SNAPSHOT,
} as const;

/**
 * Settings for questions that read a few granules: one thread is enough, and leaves the others to other
 * questions. Nor does ClickHouse look, from yet another thread, whether the client is still there: the
 * answer is ready before that could matter.
 */
export const BRIEF_SETTINGS = {
  max_threads: 1,
  cancel_http_readonly_queries_on_client_close: 0,
} as const;
