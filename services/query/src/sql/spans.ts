import { countedSql, floorTo, HOUR_MS, MINUTE_MS } from '@sockscope/schemas/sums';
import type { Span } from '../sums/plan.js';
import { dateTimeOf, timeSql } from './expressions.js';
import { allOf } from './query.js';
import type { Condition } from './query.js';

/** A time in milliseconds lies in one of the spans. Neither list is ever empty. */
export function withinMs(column: string, spans: readonly Span[], prefix: string): Condition {
  return {
    sql: spans
      .map(
        (_, i) =>
          `(${column} >= ${timeSql(`${prefix}${i}_from`)} AND ${column} < ${timeSql(`${prefix}${i}_to`)})`,
      )
      .join(' OR '),
    params: Object.fromEntries(
      spans.flatMap((span, i) => [
        [`${prefix}${i}_from`, span.fromMs],
        [`${prefix}${i}_to`, span.toMs],
      ]),
    ),
  };
}

/** The start of a minute, hour or day lies in one of the spans. */
export function withinSeconds(column: string, spans: readonly Span[], prefix: string): Condition {
  const at = (name: string) => `toDateTime({${name}:UInt32}, 'UTC')`;
  return {
    sql: spans
      .map(
        (_, i) =>
          `(${column} >= ${at(`${prefix}${i}_from_s`)} AND ${column} < ${at(`${prefix}${i}_to_s`)})`,
      )
      .join(' OR '),
    params: Object.fromEntries(
      spans.flatMap((span, i) => [
        [`${prefix}${i}_from_s`, Math.ceil(span.fromMs / 1_000)],
        [`${prefix}${i}_to_s`, Math.ceil(span.toMs / 1_000)],
      ]),
    ),
  };
}

export function isSame(some: readonly Span[], others: readonly Span[]): boolean {
  return (
    some.length === others.length &&
    some.every((span, i) => span.fromMs === others[i]?.fromMs && span.toMs === others[i]?.toMs)
  );
}

/** The most minutes to list for the index of the minutes in which sessions ended; more occur in every granule. */
const NAMED_MINUTES_MAX = 120;

/** Milliseconds of all spans together. */
export function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
}

/** The cells of a grid that spans touch, by their starts in milliseconds. */
function cellsOf(spans: readonly Span[], stepMs: number): number[] {
  const cells = new Set<number>();
  for (const { fromMs, toMs } of spans) {
    for (let ms = floorTo(fromMs, stepMs); ms < toMs; ms += stepMs) cells.add(ms);
  }
  return [...cells];
}

/** The hours that spans touch, by their starts in milliseconds. */
export function hoursOf(spans: readonly Span[]): number[] {
  return cellsOf(spans, HOUR_MS);
}

/** No session that ended in these hours began earlier; 1970 if one of them has no such figure. */
function startBound(spans: readonly Span[], prefix: string): Condition {
  const hours = `{${prefix}_hours:Array(DateTime('UTC'))}`;
  return {
    sql: `started_at >= (
        SELECT if(count() = length(${hours}), min(earliest_start), toDateTime64(0, 3, 'UTC'))
        FROM rollup_sketches_1h FINAL PREWHERE bucket IN ${hours}
        WHERE ${countedSql('detail_hour', `bucket IN ${hours}`)})`,
    params: { [`${prefix}_hours`]: hoursOf(spans).map(dateTimeOf) },
  };
}

/** Sessions that ended in the spans. */
export function endedWithin(spans: readonly Span[], prefix: string, hasBound: boolean): Condition {
  const latestMs = Math.max(...spans.map((span) => span.toMs));
  return allOf([
    { sql: `status != 'active'`, params: {} },
    withinMs('ended_at', spans, prefix),
    // A session that has ended had begun: the primary key can use that.
    {
      sql: `started_at < ${timeSql(`${prefix}_latest`)}`,
      params: { [`${prefix}_latest`]: latestMs },
    },
    ...(hasBound ? [startBound(spans, prefix)] : []),
    // Implied, too: the index ended_minutes can use it.
    ...(lengthOf(spans) > NAMED_MINUTES_MAX * MINUTE_MS
      ? []
      : [
          {
            sql: `toStartOfMinute(ended_at) IN {${prefix}_minutes:Array(DateTime('UTC'))}`,
            params: { [`${prefix}_minutes`]: cellsOf(spans, MINUTE_MS).map(dateTimeOf) },
          },
        ]),
  ]);
}
