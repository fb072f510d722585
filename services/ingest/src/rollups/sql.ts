/**
 * The sums of buckets as SQL. Parameters: {buckets}, starts of the buckets that are summed; {from} and
 * {to}, which enclose them; {version}; of a slice of keys {slice} and {slices}; of a slice of pairs its
 * first user and host, {from_user} and {from_host}, and the next slice's, {to_user} and {to_host}.
 *
 * More than 400 lines because all sums are made of the same parts: which rows count, and where.
 */
import {
  countedSlicesSql,
  countedSql,
  countsAtEnd,
  DIMENSIONS,
  FIGURES,
  FINISHED_FIRST,
  keySql,
  PAIR_COLUMNS,
  SUM_NAMES,
} from '@sockscope/schemas/sums';
import type { Dimension, BucketSpan, SumName } from '@sockscope/schemas/sums';
import { withinTimes } from '../tables/within.js';
import { dimensionOf, groupingSets, isAtEnd, keyOf } from './grouping.js';

const PAIR_KEYS = PAIR_COLUMNS.join(', ');
const FIGURE_LIST = SUM_NAMES.join(', ');
const SUMS = SUM_NAMES.map((name) => `sum(${name}) AS ${name}`).join(', ');
const TRAFFIC = SUM_NAMES.filter((name) => FIGURES[name] === 'traffic');

const IS_BUCKET = "bucket IN {buckets:Array(DateTime('UTC'))}";
const IS_WITHIN = "bucket >= {from:DateTime('UTC')} AND bucket < {to:DateTime('UTC')}";

/** Kinds of sums. Hours are made from slices of ten minutes, and queries read some; see ADR 0047. */
export type SumSpan = BucketSpan | 'slice';

/** Start of the bucket that a time lies in. */
const START_OF: Readonly<Record<SumSpan, (time: string) => string>> = {
  slice: (time) => `toStartOfTenMinutes(${time})`,
  hour: (time) => `toStartOfHour(${time})`,
  day: (time) => `toDateTime(toStartOfDay(${time}), 'UTC')`,
  week: (time) => `toDateTime(toMonday(${time}), 'UTC')`,
  detail_hour: (time) => `toStartOfHour(${time})`,
  detail_day: (time) => `toDateTime(toStartOfDay(${time}), 'UTC')`,
};

/** A part of the work: these dimensions and one slice of their keys, or one slice of the pairs. */
export interface Part {
  readonly dimensions: readonly Dimension[];
  readonly slice: number;
  readonly slices: number;
}

export const WHOLE: Part = { dimensions: DIMENSIONS, slice: 0, slices: 1 };

/** Half of the work each: destinations have most keys. */
const HALF: readonly Dimension[] = ['destination', 'acl_rule', 'close_reason', 'status'];
const HALVES = [DIMENSIONS.filter((dimension) => !HALF.includes(dimension)), HALF];

/**
 * Cuts the work into smaller statements: `0` not at all, `1` into halves, `2` dimension by dimension, from `3`
 * on each of them by hash into 2, 4, 8 … slices. The total has one key, and is not cut. Each statement reads
 * all rows, so finer parts cost more in all.
 */
export function partsOf(cut: number): Part[] {
  if (cut === 0) return [WHOLE];
  if (cut === 1) return HALVES.map((dimensions) => ({ dimensions, slice: 0, slices: 1 }));
  const slices = 2 ** (cut - 2);
  return DIMENSIONS.flatMap((dimension) =>
    Array.from({ length: dimension === 'total' ? 1 : slices }, (_, slice) => ({
      dimensions: [dimension],
      slice,
      slices: dimension === 'total' ? 1 : slices,
    })),
  );
}

/** Cuts the work for pairs into 1, 2, 4 … slices. */
export function detailPartsOf(cut: number): Part[] {
  const slices = 2 ** cut;
  return Array.from({ length: slices }, (_, slice) => ({ dimensions: [], slice, slices }));
}

/** @param key as it is stored in the sums. */
function inSlice({ slices }: Part, key: string): string {
  return slices === 1 ? 'true' : `cityHash64(${key}) % {slices:UInt32} = {slice:UInt32}`;
}

/** How many pairs are looked at to find where slices begin. */
const BOUNDS_SAMPLE = 4_096;

/**
 * Pairs in their order, as many in each step: where the slices of some buckets may begin. A user may have
 * most of the rows, or all if nobody signs in, so a slice can begin at any host of a user.
 */
export function samplePairs(span: 'detail_hour' | 'detail_day'): string {
  const [source, isWithin] =
    span === 'detail_day'
      ? ['rollup_pairs_1h', IS_WITHIN]
      : ['sessions', withinTimes('started_at')];
  return `SELECT pair.1 AS user, pair.2 AS dest_host FROM (
  SELECT arrayJoin(arraySort(groupArraySample(${BOUNDS_SAMPLE}, 1)((user, dest_host)))) AS pair
  FROM ${source} WHERE ${isWithin})`;
}

/** Selects a range, not a hash: sums are ordered by pair, so a statement reads little more than its slice. */
function inRange({ slice, slices }: Part): string {
  const from = `user >= {from_user:String} AND (user > {from_user:String} OR dest_host >= {from_host:String})`;
  const to = `user <= {to_user:String} AND (user < {to_user:String} OR dest_host < {to_host:String})`;
  const bounds = [...(slice > 0 ? [from] : []), ...(slice < slices - 1 ? [to] : [])];
  return bounds.length === 0 ? 'true' : bounds.join(' AND ');
}

/** Sessions whose end is doubtful: their rows in `sessions` decide. */
const DOUBTFUL = `SELECT started_at, session_id FROM session_ends WHERE ${withinTimes('ended_at')}`;

/**
 * Sessions that ended in another slice of ten minutes than they began in, with `ended`; of those from before
 * there were slices, in another hour. They stand in the order of their
 * ends, so about as many rows are read as ended. Of the doubtful ones each is looked up by primary key.
 */
function endedElsewhere(columns: string, where: string): string {
  return `
    SELECT ended_at AS ended, started_at, ${columns} FROM ended_sessions FINAL
    WHERE ${withinTimes('ended_at')} AND (started_at, session_id) NOT IN (${DOUBTFUL}) AND ${where}
    UNION ALL
    SELECT assumeNotNull(ended_at) AS ended, started_at, ${columns} FROM sessions FINAL
    WHERE (started_at, session_id) IN (${DOUBTFUL}) AND ${withinTimes('ended_at')} AND ${where}`;
}

/** Whether a session has ended in the bucket that begins at `start`, over its row. */
function isEndedIn(span: SumSpan, start: string): string {
  return `(ended_at IS NOT NULL AND ${START_OF[span]('assumeNotNull(ended_at)')} = ${start})`;
}

/**
 * Whether a session began and ended in one slice: then it moved all its bytes in it, and its row has them. The
 * slice decides also for longer buckets, so that an hour is the same from its rows as from its slices.
 *
 * A statement reads rows twice, perhaps at two moments. So what this reads must not change without a mark of the slice:
 * the newest event of an open session does.
 */
const IS_WHOLE = isEndedIn('slice', START_OF.slice('started_at'));

/** How the rows of a statement are made. */
interface Making {
  /** Nothing has expired that the buckets are made of; else minutes may outlive their sessions. */
  readonly areRowsKept: boolean;
  /** The only bucket begins at {from}, so its start is not grouped by. */
  readonly isOneBucket: boolean;
}

/** Which rows belong to a part. */
interface Chosen {
  readonly sql: string;
  /** No version of a session changes what it reads, so rows are chosen before FINAL, which takes most of the time. */
  readonly isFixed: boolean;
}

/** Sessions that started in the buckets and belong to a part. */
function startedSql(span: SumSpan, { sql, isFixed }: Chosen): string {
  const started = `${withinTimes('started_at')} AND ${START_OF[span]('started_at')} IN {buckets:Array(DateTime('UTC'))}`;
  return `FROM sessions FINAL ${isFixed ? 'PREWHERE' : 'WHERE'} ${started} AND ${sql}`;
}

const MAKING: Making = { areRowsKept: true, isOneBucket: false };

/** Figures of a row beside its traffic. */
const COUNTS = ['begun', 'closed', 'failed', 'rejected', 'duration'];
const KEY_COLUMNS = `user, dest_host, dest_port, source_ip, protocol, proxy_id`;
const END_COLUMNS = ['acl_rule_matched', 'close_reason', 'status'];
const eachTraffic = (sqlOf: (name: SumName) => string) => TRAFFIC.map(sqlOf).join(', ');

/**
 * One row per session that started in the buckets or ended there. `moved_*` counts where bytes moved, as far as
 * the row of a session knows, and `ended_*` at its end. No value and an empty one have the same key.
 */
function sessionRows(span: SumSpan, chosen: Chosen, { areRowsKept }: Making): string {
  const startOf = START_OF[span];
  const read = `${KEY_COLUMNS}, ${END_COLUMNS.join(', ')}, ${TRAFFIC.join(', ')}, duration_ms`;
  return `
    SELECT start, ${KEY_COLUMNS},
        ${END_COLUMNS.map((column) => `ifNull(${column}, '') AS ${column}`).join(', ')},
        is_started AS begun, is_ended AND status = 'closed' AS closed, is_ended AND status = 'failed' AS failed,
        is_ended AND status = 'rejected_by_acl' AS rejected, is_ended * ifNull(duration_ms, 0) AS duration,
        ${eachTraffic((name) => `is_whole * ${name} AS moved_${name}, is_ended * ${name} AS ended_${name}`)}
    FROM (
    SELECT ${startOf('started_at')} AS start, true AS is_started, ${isEndedIn(span, 'start')} AS is_ended,
        ${areRowsKept ? IS_WHOLE : 'false'} AS is_whole, ${read}
    ${startedSql(span, chosen)}
    UNION ALL
    SELECT ${startOf('ended')} AS start, false AS is_started, true AS is_ended, false AS is_whole, ${read}
    FROM (${endedElsewhere(read, chosen.sql)})
    WHERE started_at < start AND start IN {buckets:Array(DateTime('UTC'))})`;
}

/**
 * The minutes of sessions that are not whole. What of a minute is read never changes but its counters, so rows
 * are chosen before FINAL.
 */
function trafficRows(span: SumSpan, chosen: Chosen, { areRowsKept }: Making): string {
  const start = START_OF[span];
  const isNotWhole = `${START_OF.slice('started_at')} < ${START_OF.slice('bucket')} OR session_id IN (
      SELECT session_id ${startedSql(span, chosen)} ${chosen.isFixed ? 'WHERE' : 'AND'} NOT ${IS_WHOLE})`;
  return `
    SELECT ${start('bucket')} AS start, ${KEY_COLUMNS},
        ${END_COLUMNS.map((column) => `toLowCardinality('') AS ${column}`).join(', ')},
        ${COUNTS.map((name) => `0 AS ${name}`).join(', ')},
        ${eachTraffic((name) => `${name} AS moved_${name}, 0 AS ended_${name}`)}
    FROM session_traffic_1m FINAL
    PREWHERE ${IS_WITHIN} AND ${start('bucket')} IN {buckets:Array(DateTime('UTC'))} AND ${chosen.sql}
      AND (${areRowsKept ? isNotWhole : 'true'})`;
}

/** Figures of grouped rows: `moved` or `ended` as SQL, by whether a group counts at the end of a session. */
function figuresOf(choose: (moved: string, ended: string) => string): string {
  return `${choose('sum(begun)', '0')} AS sessions_started, sum(closed) AS sessions_closed,
    sum(failed) AS sessions_failed, sum(rejected) AS sessions_rejected,
    ${eachTraffic((name) => `${choose(`sum(moved_${name})`, `sum(ended_${name})`)} AS ${name}`)}, sum(duration) AS duration_ms`;
}

/** A session that has not ended yet makes groups of zeros among the dimensions that count ends. */
const isSomething = (sqlOf: (name: SumName) => string) => `${SUM_NAMES.map(sqlOf).join(' + ')} > 0`;
const SOMETHING = isSomething((name) => `sum(${name})`);

/** The start of a bucket in a grouped row, and what it is grouped by. */
function startOfGroup({ isOneBucket }: Making): { start: string; by: string[] } {
  return isOneBucket
    ? { start: "{from:DateTime('UTC')}", by: [] }
    : { start: 'start', by: ['start'] };
}

/**
 * Sums by each dimension from the exact tables, in one pass. The rows are grouped by native types, and a key
 * becomes text once per group.
 */
function sumsOfRows(span: SumSpan, part: Part, making: Making): string {
  const { dimensions } = part;
  const [first = 'total'] = dimensions;
  const chosen = { sql: inSlice(part, keySql(first)), isFixed: !countsAtEnd(first) };
  const { start, by } = startOfGroup(making);
  const areAllAtEnd = dimensions.every(countsAtEnd);
  return `
SELECT bucket, dimension, key, ${FIGURE_LIST}
FROM (
  SELECT ${start} AS bucket, ${dimensionOf(dimensions)} AS dimension, ${keyOf(dimensions)} AS key,
    ${figuresOf((moved, ended) => `if(${isAtEnd(dimensions)}, ${ended}, ${moved})`)}
  FROM (${sessionRows(span, chosen, making)}${areAllAtEnd ? '' : `\n    UNION ALL${trafficRows(span, chosen, making)}`})
  ${groupingSets(dimensions, by)}
)
WHERE ${isSomething((name) => name)}`;
}

/** The same by user, destination and port. Bytes count where they moved. */
function pairsOfRows(span: SumSpan, part: Part, making: Making): string {
  const chosen = { sql: inRange(part), isFixed: true };
  const { start, by } = startOfGroup(making);
  return `
SELECT bucket, ${PAIR_KEYS}, ${FIGURE_LIST}
FROM (
  SELECT ${start} AS bucket, ${PAIR_KEYS}, ${figuresOf((moved) => moved)}
  FROM (${sessionRows(span, chosen, making)}
    UNION ALL${trafficRows(span, chosen, making)})
  GROUP BY ${[...by, ...PAIR_COLUMNS].join(', ')}
)
WHERE ${isSomething((name) => name)}`;
}

/** A table of sums and how its rows are made. */
export interface Target {
  readonly table:
    | 'rollup_10m'
    | 'rollup_1h'
    | 'rollup_1d'
    | 'rollup_1w'
    | 'rollup_pairs_1h'
    | 'rollup_pairs_1d';
  readonly span: SumSpan;
  /** The key of a row, apart from its bucket. */
  readonly keys: string;
  /** The rows as they should be, of a part. */
  readonly fresh: (part: Part, making?: Making) => string;
  /** Which of the rows that are there belong to a part. */
  readonly partSql: (part: Part) => string;
}

const DIMENSION_KEYS = 'dimension, key';
const AT_END = DIMENSIONS.filter(countsAtEnd).map((dimension) => `'${dimension}'`);
const dimensionPart = (part: Part) =>
  part.dimensions.length === DIMENSIONS.length
    ? 'true'
    : `dimension IN (${part.dimensions.map((dimension) => `'${dimension}'`).join(', ')})
      AND ${inSlice(part, 'key')}`;

const HOURS_OF_SLICES =
  "bucket >= toStartOfHour({from:DateTime('UTC')}) AND bucket < {to:DateTime('UTC')}";

/** Rows of sums that count. */
function counted(span: SumSpan, where: string): string {
  return span === 'slice' ? countedSlicesSql(HOURS_OF_SLICES) : countedSql(span, where);
}

/** Rows made of finer sums. */
function fromFiner(span: BucketSpan, finer: Target): Target['fresh'] {
  return (part, making = MAKING) => `
SELECT ${startOfGroup(making).start} AS bucket, ${finer.keys}, ${SUMS}
FROM (SELECT ${START_OF[span]('bucket')} AS start, ${finer.keys}, ${FIGURE_LIST} FROM ${finer.table} FINAL
  WHERE ${IS_WITHIN} AND ${START_OF[span]('bucket')} IN {buckets:Array(DateTime('UTC'))}
    AND ${counted(finer.span, IS_WITHIN)} AND ${finer.partSql(part)})
GROUP BY ${[...startOfGroup(making).by, finer.keys].join(', ')}
HAVING ${SOMETHING}`;
}

const HOUR: Target = {
  table: 'rollup_1h',
  span: 'hour',
  keys: DIMENSION_KEYS,
  fresh: (part, making = MAKING) => sumsOfRows('hour', part, making),
  partSql: dimensionPart,
};
/** Sums of slices, of hours that still change. */
export const SLICE: Target = {
  ...HOUR,
  table: 'rollup_10m',
  span: 'slice',
  fresh: (part, making = MAKING) => sumsOfRows('slice', part, making),
};
export const HOUR_OF_SLICES: Target = { ...HOUR, fresh: fromFiner('hour', SLICE) };
const DAY: Target = { ...HOUR, table: 'rollup_1d', span: 'day', fresh: fromFiner('day', HOUR) };
const WEEK: Target = { ...DAY, table: 'rollup_1w', span: 'week', fresh: fromFiner('week', DAY) };
const PAIR_HOUR: Target = {
  table: 'rollup_pairs_1h',
  span: 'detail_hour',
  keys: PAIR_KEYS,
  fresh: (part, making = MAKING) => pairsOfRows('detail_hour', part, making),
  partSql: inRange,
};
const PAIR_DAY: Target = {
  ...PAIR_HOUR,
  table: 'rollup_pairs_1d',
  span: 'detail_day',
  fresh: fromFiner('detail_day', PAIR_HOUR),
};

export const TARGETS: Readonly<Record<BucketSpan, Target>> = {
  hour: HOUR,
  day: DAY,
  week: WEEK,
  detail_hour: PAIR_HOUR,
  detail_day: PAIR_DAY,
};

/** Days straight from the exact tables: their hours may have begun to expire. */
export const OLD_DAYS: Readonly<Record<'day' | 'detail_day', Target>> = {
  day: { ...DAY, fresh: (part, making = MAKING) => sumsOfRows('day', part, making) },
  detail_day: {
    ...PAIR_DAY,
    fresh: (part, making = MAKING) => pairsOfRows('detail_day', part, making),
  },
};

/**
 * Which sources have begun to expire. Figures made from them may only grow. The remaining rows may
 * give too small sums, but a first import of old events must still be summed.
 */
export interface Expired {
  readonly sessions: boolean;
  readonly traffic: boolean;
  /** The sums per hour: sketches of days are made from theirs. */
  readonly hours?: boolean;
}

/** Returns SQL that is true for rows whose figure may only grow. Some dimensions count bytes at the end: sessions have them. */
function onlyGrows(name: SumName, { keys }: Target, { sessions, traffic }: Expired): string {
  if (FIGURES[name] !== 'traffic') return String(sessions);
  if (keys !== DIMENSION_KEYS) return String(traffic);
  return `if(dimension IN (${AT_END.join(', ')}), ${sessions}, ${traffic})`;
}

/** Every row that is there or should be: as it should be, and as it is. */
function compared(target: Target, part: Part, expired: Expired): string {
  const { table, span, keys } = target;
  const news = SUM_NAMES.map((name) => {
    const now = `sumIf(${name}, is_fresh)`;
    const value = `greatest(${now}, sumIf(${name}, NOT is_fresh))`;
    return `if(${onlyGrows(name, target, expired)}, ${value}, ${now}) AS ${name}_new`;
  }).join(', ');
  const olds = SUM_NAMES.map((name) => `sumIf(${name}, NOT is_fresh) AS ${name}_old`).join(', ');
  return `
SELECT bucket, ${keys}, ${news}, ${olds}
FROM (
    SELECT bucket, ${keys}, ${FIGURE_LIST}, true AS is_fresh FROM (${target.fresh(part, { ...MAKING, areRowsKept: !expired.sessions && !expired.traffic })})
    UNION ALL
    SELECT bucket, ${keys}, ${FIGURE_LIST}, false AS is_fresh FROM ${table} FINAL
    WHERE ${IS_BUCKET} AND ${counted(span, IS_BUCKET)} AND ${target.partSql(part)}
)
GROUP BY bucket, ${keys}`;
}

/** A part of a union without rows; see FINISHED_FIRST. */
function finishedFirst(keys: string): string {
  const columns = keys === PAIR_KEYS ? `'', '', toUInt16(0)` : `'', ''`;
  return `SELECT toDateTime(0, 'UTC'), ${columns}, ${SUM_NAMES.map(() => 'toUInt64(0)').join(', ')},
  toDateTime64(0, 6, 'UTC') ${FINISHED_FIRST}
UNION ALL`;
}

/** Inserts a part of the sums of buckets. */
export function insertSums(
  target: Target,
  part: Part,
  expired: Expired,
  isOneBucket = false,
): string {
  const { table, keys } = target;
  const insert = `INSERT INTO ${table} (bucket, ${keys}, ${FIGURE_LIST}, computed_at)
${finishedFirst(keys)}`;
  const version = "{version:DateTime64(6, 'UTC')}";
  if (!expired.sessions && !expired.traffic) {
    return `${insert}
SELECT bucket, ${keys}, ${FIGURE_LIST}, ${version} FROM (${target.fresh(part, { areRowsKept: true, isOneBucket })})`;
  }
  const values = SUM_NAMES.map((name) => `${name}_new`).join(', ');
  return `${insert}
SELECT bucket, ${keys}, ${values}, ${version} FROM (${compared(target, part, expired)})`;
}

/** The number of wrong rows of some buckets. */
export function countDifferences(target: Target, expired: Expired): string {
  const differ = SUM_NAMES.map((name) => `${name}_new != ${name}_old`).join(' OR ');
  return `SELECT count() AS differences FROM (
SELECT toDateTime(0, 'UTC') AS bucket ${FINISHED_FIRST}
UNION ALL
SELECT bucket FROM (${compared(target, WHOLE, expired)}
HAVING ${differ}))`;
}

const SKETCHES = 'sessions, duration_sketch, users_sketch, destinations_sketch, sources_sketch';
const MERGED_SKETCHES = `quantilesDDMergeState(0.01, 0.5)(durations), uniqCombined64MergeState(17)(users),
    uniqCombined64MergeState(17)(destinations), uniqCombined64MergeState(17)(sources)`;

/** See FINISHED_FIRST. */
const NO_SKETCHES = `toUInt64(0), initializeAggregation('quantilesDDState(0.01, 0.5)', toUInt64(0)),
    initializeAggregation('uniqCombined64State(17)', ''), initializeAggregation('uniqCombined64State(17)', ''),
    initializeAggregation('uniqCombined64State(17)', toIPv6('::'))`;

const SKETCHED = 'user, dest_host, source_ip, duration_ms';

/** Sketches from the exact tables. Starts need no FINAL: no version of a row changes them. */
function sketchesOfRows(span: 'detail_hour' | 'detail_day'): string {
  const startOf = START_OF[span];
  const isHour = span === 'detail_hour';
  return `
INSERT INTO ${isHour ? 'rollup_sketches_1h' : 'rollup_sketches_1d'} (bucket, ${SKETCHES}, ${isHour ? 'earliest_start, ' : ''}computed_at)
SELECT start, sum(ends), ${MERGED_SKETCHES},
    ${isHour ? "ifNull(min(earliest), toDateTime64(0, 3, 'UTC')), " : ''}{version:DateTime64(6, 'UTC')}
FROM (
    SELECT ${startOf('ended')} AS start, count() AS ends, toNullable(min(started_at)) AS earliest,
        quantilesDDState(0.01, 0.5)(ifNull(duration_ms, 0)) AS durations,
        uniqCombined64StateIf(17)(user, 0) AS users,
        uniqCombined64StateIf(17)(dest_host, 0) AS destinations,
        uniqCombined64StateIf(17)(source_ip, 0) AS sources
    FROM (
        SELECT assumeNotNull(ended_at) AS ended, started_at, ${SKETCHED} FROM sessions FINAL
        WHERE ${withinTimes('started_at')} AND ended_at IS NOT NULL AND ${startOf('ended')} = ${startOf('started_at')}
        UNION ALL
        SELECT ended, started_at, ${SKETCHED} FROM (${endedElsewhere(SKETCHED, 'true')})
        WHERE started_at < ${startOf('ended')}
    )
    WHERE start IN {buckets:Array(DateTime('UTC'))}
    GROUP BY start
    UNION ALL
    SELECT ${startOf('started_at')} AS start, 0 AS ends, NULL AS earliest,
        quantilesDDStateIf(0.01, 0.5)(toUInt64(0), 0) AS durations,
        uniqCombined64State(17)(user) AS users,
        uniqCombined64State(17)(dest_host) AS destinations,
        uniqCombined64State(17)(source_ip) AS sources
    FROM sessions
    WHERE ${withinTimes('started_at')} AND ${startOf('started_at')} IN {buckets:Array(DateTime('UTC'))}
    GROUP BY start
)
GROUP BY start`;
}

const DAY_SKETCHES = `
INSERT INTO rollup_sketches_1d (bucket, ${SKETCHES}, computed_at)
SELECT toDateTime(0, 'UTC'), ${NO_SKETCHES}, toDateTime64(0, 6, 'UTC') ${FINISHED_FIRST}
UNION ALL
SELECT toDateTime(toStartOfDay(hour), 'UTC') AS start, sum(ended), ${MERGED_SKETCHES}, {version:DateTime64(6, 'UTC')}
FROM (
    SELECT bucket AS hour, sessions AS ended, duration_sketch AS durations, users_sketch AS users,
        destinations_sketch AS destinations, sources_sketch AS sources
    FROM rollup_sketches_1h FINAL
    WHERE ${IS_WITHIN} AND ${START_OF.day('bucket')} IN {buckets:Array(DateTime('UTC'))}
      AND ${countedSql('detail_hour', IS_WITHIN)}
)
GROUP BY start`;

/**
 * Two sketches cannot be compared for completeness, so they stay unchanged if sessions have
 * expired.
 */
function keepSketches(table: string, span: BucketSpan, more: readonly string[] = []): string {
  const columns = [SKETCHES, ...more].join(', ');
  return `INSERT INTO ${table} (bucket, ${columns}, computed_at)
SELECT toDateTime(0, 'UTC'), ${NO_SKETCHES}, ${more.map(() => "toDateTime64(0, 3, 'UTC'), ").join('')}toDateTime64(0, 6, 'UTC') ${FINISHED_FIRST}
UNION ALL
SELECT bucket, ${columns}, {version:DateTime64(6, 'UTC')} FROM ${table} FINAL
WHERE ${IS_BUCKET} AND ${countedSql(span, IS_BUCKET)}`;
}

/** Inserts the sketches of buckets. */
export function insertSketches(span: 'detail_hour' | 'detail_day', expired: Expired): string {
  if (span === 'detail_hour') {
    return expired.sessions
      ? keepSketches('rollup_sketches_1h', span, ['earliest_start'])
      : sketchesOfRows(span);
  }
  if (expired.sessions) return keepSketches('rollup_sketches_1d', span);
  return expired.hours === true ? sketchesOfRows(span) : DAY_SKETCHES;
}
