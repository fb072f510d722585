import { countedSlicesSql, countedSql, floorTo, HOUR_MS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import type { Span } from '../sums/plan.js';
import { timeSql } from './expressions.js';
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

/** Rows of buckets that lie in the spans, and that count. */
export function countedWithin(
  span: BucketSpan | 'slice',
  spans: readonly Span[],
  prefix: string,
): Condition {
  const within = withinSeconds('bucket', spans, prefix);
  if (span !== 'slice') return allOf([within, { sql: countedSql(span, within.sql), params: {} }]);
  const hours = spans.map(({ fromMs, toMs }) => ({ fromMs: floorTo(fromMs, HOUR_MS), toMs }));
  const withinHours = withinSeconds('bucket', hours, `${prefix}_hour`);
  return allOf([within, { sql: countedSlicesSql(withinHours.sql), params: withinHours.params }]);
}

export function isSame(some: readonly Span[], others: readonly Span[]): boolean {
  return (
    some.length === others.length &&
    some.every((span, i) => span.fromMs === others[i]?.fromMs && span.toMs === others[i]?.toMs)
  );
}
