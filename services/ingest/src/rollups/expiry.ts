/** Finds the days whose sources of sums may have expired. */
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { DAY_MS, HOUR_MS, weekOf } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { OLD_DAYS, TARGETS } from './sql.js';
import type { Expired, Target } from './sql.js';

const DAY_S = DAY_MS / 1_000;

/** How long the tables that sums are made from keep their rows, in milliseconds; 0: they do not expire. */
export interface SourceRetention {
  readonly sessions: number;
  readonly session_traffic_1m: number;
  readonly rollup_1h: number;
  readonly rollup_1d: number;
  readonly rollup_pairs_1h: number;
}

/** The tables from which the sums per hour and day are made. */
const SOURCES = ['sessions', 'session_traffic_1m', 'rollup_1h', 'rollup_pairs_1h'] as const;

/** The first day of which nothing has expired, seconds since 1970. */
export interface WholeSince {
  of(table: string): number;
  /** The first day of which nothing has expired in any of SOURCES. */
  readonly sources: number;
  /** Whether a session that ended in this hour began before `sessions` is whole: its row may have expired. */
  hasOldEnd(hourS: number): boolean;
}

/**
 * Reads which rows may have expired, by the retention as it is now and as it ever was: raising it brings nothing
 * back, and rows may expire at the time that was set when they were stored.
 *
 * @param retention of tables, milliseconds; 0 or none: its rows do not expire.
 */
export async function readWholeSince(
  clickhouse: Pick<ClickHouse, 'query'>,
  retention: Partial<Record<string, number>>,
  call: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<WholeSince> {
  const rows = await clickhouse.query({
    sql: `SELECT toUnixTimestamp(now()) AS now_s, source,
        toUnixTimestamp(max(least(changed_at, now('UTC') - toIntervalDay(days)))) AS gone_until
      FROM (SELECT source, days, changed_at FROM ingest_former_retention
        UNION ALL SELECT '', 0, toDateTime(0, 'UTC'))
      GROUP BY source`,
    row: z.object({ now_s: int64, source: z.string(), gone_until: int64 }),
    ...call,
  });
  const nowS = rows[0]?.now_s ?? 0;
  const formerly = new Map(rows.map(({ source, gone_until }) => [source, dayAfter(gone_until)]));
  const keptSince = (ms: number) => (ms === 0 ? 0 : dayAfter(nowS - ms / 1_000));
  const of = (table: string) =>
    Math.max(formerly.get(table) ?? 0, keptSince(retention[table] ?? 0));
  const wholeS = of('sessions');
  const hours = wholeS === 0 ? [] : await hoursOfOldEnds(clickhouse, wholeS, call);
  const oldEnds = new Set(hours);
  return { of, sources: Math.max(...SOURCES.map(of)), hasOldEnd: (hour) => oldEnds.has(hour) };
}

/** Hours since a time in which sessions ended that began before it, as far as their sketches have been made. */
async function hoursOfOldEnds(
  clickhouse: Pick<ClickHouse, 'query'>,
  sinceS: number,
  call: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
): Promise<number[]> {
  const rows = await clickhouse.query({
    sql: `SELECT DISTINCT toUnixTimestamp(bucket) AS hour_s FROM rollup_sketches_1h
      WHERE bucket >= toDateTime({since:UInt32}, 'UTC')
        AND earliest_start > toDateTime64(0, 3, 'UTC') AND earliest_start < toDateTime({since:UInt32}, 'UTC')`,
    params: { since: sinceS },
    row: z.object({ hour_s: int64 }),
    ...call,
  });
  return rows.map(({ hour_s }) => hour_s);
}

/** The first day that begins at a time or after it. */
function dayAfter(seconds: number): number {
  return Math.ceil(seconds / DAY_S) * DAY_S;
}

export function dayOf(seconds: number): number {
  return Math.floor(seconds / DAY_S) * DAY_S;
}

/** The Monday that begins the ISO week of a time, seconds since 1970. */
export function weekOfS(seconds: number): number {
  return weekOf(seconds * 1_000) / 1_000;
}

/** The source of the sums of buckets. */
export interface Plan {
  readonly target: Target;
  readonly expired: Expired;
  readonly starts: readonly number[];
}

/** The sources of the sums of buckets; those that have the same ones together. */
export function plansOf(span: BucketSpan, starts: readonly number[], whole: WholeSince): Plan[] {
  const plans = new Map<string, { target: Target; expired: Expired; starts: number[] }>();
  for (const start of starts) {
    const { target, expired } = planOf(span, start, whole);
    const name = `${target === TARGETS[span]} ${expired.sessions} ${expired.traffic} ${expired.hours}`;
    const plan = plans.get(name) ?? { target, expired, starts: [] };
    plan.starts.push(start);
    plans.set(name, plan);
  }
  return [...plans.values()];
}

/** The source of the sums of a bucket. */
export function planOf(span: BucketSpan, bucketS: number, whole: WholeSince): Omit<Plan, 'starts'> {
  if (span === 'week') {
    // A week's sums are always made from its days' sums.
    const isCut = bucketS < whole.of('rollup_1d');
    return { target: TARGETS.week, expired: { sessions: isCut, traffic: isCut } };
  }
  const day = dayOf(bucketS);
  const isDay = span === 'day' || span === 'detail_day';
  const isOld = day < whole.sources;
  const hours = day < whole.of('rollup_1h');
  // Which of its hours have old ends is known while they have sketches. Days that are made from hours keep what these keep.
  const mayHaveOldEnds = isDay
    ? isOld &&
      (hours ? whole.of('sessions') > 0 : hoursOf(day).some((hour) => whole.hasOldEnd(hour)))
    : whole.hasOldEnd(bucketS);
  const expired = {
    sessions: day < whole.of('sessions') || mayHaveOldEnds,
    traffic: day < whole.of('session_traffic_1m'),
    hours,
  };
  return { target: isDay && isOld ? OLD_DAYS[span] : TARGETS[span], expired };
}

/** Starts of the hours of a day. */
function hoursOf(dayS: number): number[] {
  return Array.from({ length: DAY_MS / HOUR_MS }, (_, hour) => dayS + (hour * HOUR_MS) / 1_000);
}
