import { MINUTE_MS } from '@sockscope/schemas/sums';
import type { Span } from '../sums/plan.js';
import { openAt, openDuring } from './earlier-starts.js';
import type { Sought, Source } from './earlier-starts.js';
import type { Condition } from './query.js';

/**
 * How the bytes of the sessions that pass are found in the exact tables.
 *
 * - `rows`: the table of traffic has all columns of the filters.
 * - `keys`: it lacks some, so the sessions that pass are found first, and their minutes are read.
 * - `totals`: the same, but a session that began and ended in the span moved all its bytes in it. Its row has
 *   them, and minutes are read only of those that cross an edge. Not for a time series, nor if minutes
 *   have expired: then parts of a range would not add up to it.
 */
export type TrafficOf = 'rows' | 'keys' | 'totals';

/** Rows of traffic whose minutes are to be read in some spans, besides the filters on their own columns. */
export function trafficSessions(of: TrafficOf, spans: readonly Span[], sought: Sought): Condition {
  switch (of) {
    case 'rows':
      return { sql: '1', params: {} };
    case 'keys':
      return idIn(passing(spans, sought));
    case 'totals':
      return idIn(
        spans.flatMap(({ fromMs, toMs }, i) => [
          ...openAt(fromMs - 1, `from${i}`, sought),
          ...openAt(toMs - 1, `to${i}`, sought),
        ]),
      );
  }
}

/** Sessions that may have traffic in the spans: a minute may begin before its session and end after it. */
function passing(spans: readonly Span[], sought: Sought): Source[] {
  const fromMs = Math.min(...spans.map((span) => span.fromMs)) - MINUTE_MS;
  const toMs = Math.max(...spans.map((span) => span.toMs)) + MINUTE_MS;
  return openDuring({ fromMs: fromMs - 1, toMs: toMs - 1 }, 'traffic', sought);
}

function idIn(sources: readonly Source[]): Condition {
  return {
    sql: `session_id IN (${sources
      .map(({ table, where }) => `SELECT session_id FROM ${table} FINAL WHERE ${where.sql}`)
      .join(' UNION ALL ')})`,
    params: Object.assign({}, ...sources.map(({ where }) => where.params)) as Condition['params'],
  };
}
