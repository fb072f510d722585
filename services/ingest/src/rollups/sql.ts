/**
 * The recomputation as SQL. Its parameters: {hours}, {from} and {to} of one day; or, for what is made of
 * finer sums, {bucket}, {bucket_end} and {through}; and {computed_at}.
 */
import { countsAtEnd, DIMENSIONS, FIGURES, keySql, SUM_NAMES } from '@sockscope/schemas/sums';
import type { Dimension, SumName } from '@sockscope/schemas/sums';

const FIGURE_LIST = SUM_NAMES.join(', ');
const SUMS = SUM_NAMES.map((name) => `sum(${name}) AS ${name}`).join(', ');

/**
 * What each session and minute contributes to the hours asked for. `counts` is whether the branch
 * counts bytes for the dimensions that never change (those of traffic) or, with the totals of the
 * whole session, for those that may change until it ends (see 0004_rollups.sql).
 */
const IN_HOURS = (column: string) =>
  `${column} >= {from:DateTime('UTC')} AND ${column} < {to:DateTime('UTC')} AND toStartOfHour(${column}) IN {hours:Array(DateTime('UTC'))}`;

const FIXED_DIMENSIONS = DIMENSIONS.filter((dimension) => !countsAtEnd(dimension));
const ENDING_DIMENSIONS = DIMENSIONS.filter(countsAtEnd);

function dimensionArray(dimensions: readonly Dimension[], withBytes: 0 | 1): string {
  return dimensions.map((name) => `('${name}', ${keySql(name)}, ${withBytes})`).join(', ');
}

const STARTED = `
SELECT
    toStartOfHour(started_at) AS hour, user, dest_host, dest_port,
    [${dimensionArray(FIXED_DIMENSIONS, 0)}] AS entries,
    1 AS sessions_started, 0 AS sessions_closed, 0 AS sessions_failed, 0 AS sessions_rejected,
    0 AS bytes_sent, 0 AS bytes_received, 0 AS packets_sent, 0 AS packets_received, toUInt64(0) AS duration_ms
FROM sessions FINAL
WHERE ${IN_HOURS('started_at')}`;

const ENDED = `
SELECT
    toStartOfHour(assumeNotNull(ended_at)) AS hour, user, dest_host, dest_port,
    [${dimensionArray(FIXED_DIMENSIONS, 0)}, ${dimensionArray(ENDING_DIMENSIONS, 1)}] AS entries,
    0 AS sessions_started, status = 'closed' AS sessions_closed, status = 'failed' AS sessions_failed,
    status = 'rejected_by_acl' AS sessions_rejected,
    bytes_sent, bytes_received, packets_sent, packets_received, ifNull(duration_ms, 0) AS duration_ms
FROM sessions FINAL
WHERE started_at < {to:DateTime('UTC')} AND ${IN_HOURS('ended_at')}`;

const MOVED = `
SELECT
    toStartOfHour(bucket) AS hour, user, dest_host, dest_port,
    [${dimensionArray(FIXED_DIMENSIONS, 1)}] AS entries,
    0 AS sessions_started, 0 AS sessions_closed, 0 AS sessions_failed, 0 AS sessions_rejected,
    bytes_sent, bytes_received, packets_sent, packets_received, toUInt64(0) AS duration_ms
FROM session_traffic_1m FINAL
WHERE ${IN_HOURS('bucket')}`;

const BY_DIMENSION = `
SELECT
    entry.1 AS dimension, hour AS bucket, entry.2 AS key,
    sum(sessions_started) AS sessions_started, sum(sessions_closed) AS sessions_closed,
    sum(sessions_failed) AS sessions_failed, sum(sessions_rejected) AS sessions_rejected,
    sum(bytes_sent * entry.3) AS bytes_sent, sum(bytes_received * entry.3) AS bytes_received,
    sum(packets_sent * entry.3) AS packets_sent, sum(packets_received * entry.3) AS packets_received,
    sum(duration_ms) AS duration_ms
FROM (${STARTED} UNION ALL ${ENDED} UNION ALL ${MOVED})
ARRAY JOIN entries AS entry
GROUP BY dimension, bucket, key`;

/** Bytes count where they moved, so the ends contribute none. */
const BY_PAIR = `
SELECT hour AS bucket, user, dest_host, dest_port, ${SUMS}
FROM (
    SELECT hour, user, dest_host, dest_port, ${FIGURE_LIST} FROM (${STARTED})
    UNION ALL
    SELECT hour, user, dest_host, dest_port, sessions_started, sessions_closed, sessions_failed, sessions_rejected, 0, 0, 0, 0, duration_ms FROM (${ENDED})
    UNION ALL
    SELECT hour, user, dest_host, dest_port, ${FIGURE_LIST} FROM (${MOVED})
)
GROUP BY bucket, user, dest_host, dest_port`;

const BUCKET_IN_HOURS = "bucket IN {hours:Array(DateTime('UTC'))}";
const IS_BUCKET = "bucket = {bucket:DateTime('UTC')}";
const WITHIN_BUCKET =
  "bucket >= {bucket:DateTime('UTC')} AND bucket < {bucket_end:DateTime('UTC')}";

/** The keys of a bucket of which finer sums were replaced since it was last made. */
function changedKeys(table: string, keys: string): string {
  return `(${keys}) GLOBAL IN (SELECT ${keys} FROM ${table} WHERE ${WITHIN_BUCKET} AND computed_at > {through:DateTime64(6, 'UTC')})`;
}

/** A bucket's rows for the keys that changed, made from finer sums. */
function coarserTarget(table: Target['table'], finerTable: string, keys: string): Target {
  const changed = changedKeys(finerTable, keys);
  return {
    table,
    keys: `bucket, ${keys}`,
    fresh: `
SELECT {bucket:DateTime('UTC')} AS bucket, ${keys}, ${SUMS}
FROM (SELECT ${keys}, ${FIGURE_LIST} FROM ${finerTable} FINAL WHERE ${WITHIN_BUCKET} AND ${changed})
GROUP BY ${keys}`,
    scope: `${IS_BUCKET} AND ${changed}`,
  };
}

/**
 * A day's rows straight from the exact tables, for a day whose hours may have begun to expire. {hours}
 * are all of the day's.
 */
function wholeDayTarget(table: Target['table'], fresh: string, keys: string): Target {
  return {
    table,
    keys: `bucket, ${keys}`,
    fresh: `
SELECT {bucket:DateTime('UTC')} AS bucket, ${keys}, ${SUMS}
FROM (${fresh})
GROUP BY ${keys}`,
    scope: IS_BUCKET,
  };
}

/** One table to bring up to date. */
interface Target {
  readonly table: 'rollup_1h' | 'rollup_1d' | 'rollup_1w' | 'rollup_pairs_1h' | 'rollup_pairs_1d';
  /** The primary key of the table. */
  readonly keys: string;
  /** The rows as they should be. */
  readonly fresh: string;
  /** Which of the rows that are there are meant. */
  readonly scope: string;
}

const DIMENSION_KEYS = 'dimension, bucket, key';
const PAIR_KEYS = 'bucket, user, dest_host, dest_port';

export const HOUR_TARGETS: readonly Target[] = [
  { table: 'rollup_1h', keys: DIMENSION_KEYS, fresh: BY_DIMENSION, scope: BUCKET_IN_HOURS },
  { table: 'rollup_pairs_1h', keys: PAIR_KEYS, fresh: BY_PAIR, scope: BUCKET_IN_HOURS },
];
/** Made from the hours, so they come after them. {through} is the version of the hours that they know already. */
export const DAY_TARGETS: readonly Target[] = [
  coarserTarget('rollup_1d', 'rollup_1h', 'dimension, key'),
  coarserTarget('rollup_pairs_1d', 'rollup_pairs_1h', 'user, dest_host, dest_port'),
];
/** The same for a day of which something has expired. {hours}, {from} and {to} are the whole day's. */
export const OLD_DAY_TARGETS: readonly Target[] = [
  wholeDayTarget('rollup_1d', BY_DIMENSION, 'dimension, key'),
  wholeDayTarget('rollup_pairs_1d', BY_PAIR, 'user, dest_host, dest_port'),
];
/** Made from the days, in the same way. */
export const WEEK_TARGETS: readonly Target[] = [
  coarserTarget('rollup_1w', 'rollup_1d', 'dimension, key'),
];
/** Every table that is made from finer sums, by what a version of it must exceed. */
export const DAY_TABLES = [...DAY_TARGETS.map(({ table }) => table), 'rollup_sketches_1d'];
export const WEEK_TABLES = WEEK_TARGETS.map(({ table }) => table);

/**
 * Which sources have begun to expire. The figures made from them may only grow: made from what is left
 * they may come out too small, and a first import of old events must be summed all the same.
 */
export interface Expired {
  readonly sessions: boolean;
  readonly traffic: boolean;
}

function onlyGrows(name: SumName, expired: Expired): boolean {
  return FIGURES[name] === 'traffic' ? expired.traffic : expired.sessions;
}

/**
 * The rows that differ from what the table holds: changed, new, and gone ones as zeros. Only these are
 * inserted, so that recomputing the present hour again and again does not fill the table with copies.
 */
function differencesOf(target: Target, expired: Expired): string {
  const differ = SUM_NAMES.map((name) => `${name}_new != ${name}_old`).join(' OR ');
  return `${newsOf(target, expired)}
HAVING ${differ}`;
}

/** Every row of the scope, as it should be and as it is; gone ones as zeros. */
function newsOf({ table, keys, fresh, scope }: Target, expired: Expired): string {
  const news = SUM_NAMES.map((name) => {
    const now = `sumIf(${name}, is_fresh)`;
    const value = onlyGrows(name, expired) ? `greatest(${now}, sumIf(${name}, NOT is_fresh))` : now;
    return `${value} AS ${name}_new`;
  }).join(', ');
  const olds = SUM_NAMES.map((name) => `sumIf(${name}, NOT is_fresh) AS ${name}_old`).join(', ');
  return `
SELECT ${keys}, ${news}, ${olds}
FROM (
    SELECT ${keys}, ${FIGURE_LIST}, true AS is_fresh FROM (${fresh})
    UNION ALL
    SELECT ${keys}, ${FIGURE_LIST}, false AS is_fresh FROM ${table} FINAL WHERE ${scope}
)
GROUP BY ${keys}`;
}

/** Brings the rows of a table up to date. */
export function replaceStatement(target: Target, expired: Expired): string {
  return insertOf(target, differencesOf(target, expired));
}

/**
 * The same for a day or a week, whose scope are keys that have changed in any case. They are replaced
 * even where they look right: another round may be about to insert what it made of fewer hours, under an
 * earlier version.
 */
export function replaceCoarserStatement(target: Target, expired: Expired): string {
  return insertOf(target, newsOf(target, expired));
}

function insertOf({ table, keys }: Target, rows: string): string {
  const values = SUM_NAMES.map((name) => `${name}_new`).join(', ');
  return `
INSERT INTO ${table} (${keys}, ${FIGURE_LIST}, computed_at)
SELECT ${keys}, ${values}, {computed_at:DateTime64(6, 'UTC')}
FROM (${rows})`;
}

/** How many rows of a table are not what they should be. */
export function countDifferences(target: Target, expired: Expired): string {
  return `SELECT count() AS differences FROM (${differencesOf(target, expired)})`;
}

const EMPTY_SKETCHES = `
    initializeAggregation('quantilesDDStateIf(0.01, 0.5)', toUInt64(0), 0) AS durations,
    initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS users,
    initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS destinations,
    initializeAggregation('uniqCombined64StateIf(17)', toIPv6('::'), 0) AS sources`;

const SKETCH_COLUMNS =
  'bucket, sessions, duration_sketch, users_sketch, destinations_sketch, sources_sketch, computed_at';

/**
 * Sketches cannot be compared by their figures: they are few, and always replaced. An hour in which
 * nothing happens any more gets empty ones. Starts need no FINAL: no version of a row changes them.
 */
export const REPLACE_HOUR_SKETCHES = `
INSERT INTO rollup_sketches_1h (${SKETCH_COLUMNS}, earliest_start)
SELECT bucket, sum(ended), quantilesDDMergeState(0.01, 0.5)(durations), uniqCombined64MergeState(17)(users),
    uniqCombined64MergeState(17)(destinations), uniqCombined64MergeState(17)(sources), {computed_at:DateTime64(6, 'UTC')},
    ifNull(min(earliest), toDateTime64(0, 3, 'UTC'))
FROM (
    SELECT toStartOfHour(assumeNotNull(ended_at)) AS bucket, count() AS ended, toNullable(min(started_at)) AS earliest,
        quantilesDDState(0.01, 0.5)(ifNull(duration_ms, 0)) AS durations,
        uniqCombined64StateIf(17)(user, 0) AS users,
        uniqCombined64StateIf(17)(dest_host, 0) AS destinations,
        uniqCombined64StateIf(17)(source_ip, 0) AS sources
    FROM sessions FINAL
    WHERE started_at < {to:DateTime('UTC')} AND ${IN_HOURS('ended_at')}
    GROUP BY bucket
    UNION ALL
    SELECT toStartOfHour(started_at) AS bucket, 0 AS ended, NULL AS earliest,
        quantilesDDStateIf(0.01, 0.5)(toUInt64(0), 0) AS durations,
        uniqCombined64State(17)(user) AS users,
        uniqCombined64State(17)(dest_host) AS destinations,
        uniqCombined64State(17)(source_ip) AS sources
    FROM sessions
    WHERE ${IN_HOURS('started_at')}
    GROUP BY bucket
    UNION ALL
    SELECT arrayJoin({hours:Array(DateTime('UTC'))}) AS bucket, 0 AS ended, NULL AS earliest, ${EMPTY_SKETCHES}
)
GROUP BY bucket`;

export const REPLACE_DAY_SKETCHES = `
INSERT INTO rollup_sketches_1d (${SKETCH_COLUMNS})
SELECT {bucket:DateTime('UTC')}, sum(sessions), quantilesDDMergeState(0.01, 0.5)(duration_sketch),
    uniqCombined64MergeState(17)(users_sketch), uniqCombined64MergeState(17)(destinations_sketch),
    uniqCombined64MergeState(17)(sources_sketch), {computed_at:DateTime64(6, 'UTC')}
FROM rollup_sketches_1h FINAL
WHERE ${WITHIN_BUCKET}`;
