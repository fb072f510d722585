import type { SumSort } from '@sockscope/schemas/api';
import { FIGURES } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { NO_PIECES } from '../sums/plan.js';
import { FINAL_SETTINGS } from './expressions.js';
import type { Query, SqlParams } from './query.js';
import { storedText } from './stored.js';
import { isAtEnd, wholeSpanOf } from './sums.js';
import type { SumsOf } from './sums.js';
import { ENDED_SQL, figureSql, topKeysSql } from './top.js';

const changeRow = z.object({
  key: storedText,
  is_total: z.int().min(0).max(1),
  current: z.int(),
  previous: z.int(),
});
/**
 * A value that is bound twice needs two names. The text is ours: braces in it are parameters. What the store binds is
 * the same for both.
 */
function renamed({ sql, params }: { readonly sql: string; readonly params: SqlParams }) {
  return {
    sql: sql.replace(/\{(\w+):/g, (text, name: string) => (name in params ? `{p_${name}:` : text)),
    params: Object.fromEntries(Object.entries(params).map(([name, value]) => [`p_${name}`, value])),
  };
}

/** The pieces that have a figure: starts and ends of sessions, or bytes. At the end of a session all have both. */
function onlyFor(measure: SumSort, of: SumsOf): SumsOf {
  if (isAtEnd(of.by)) return of;
  const isMoved =
    measure === 'bytes' || (measure !== 'sessions_ended' && FIGURES[measure] === 'traffic');
  return isMoved ? { ...of, counted: NO_PIECES } : { ...of, moved: NO_PIECES };
}

/** The change of a figure in all, then the keys that changed most, up or down. */
export function changesQuery(
  now: SumsOf,
  before: SumsOf,
  measure: SumSort,
  limit: number,
): Query<typeof changeRow> {
  // A session's start does not count by fields that are known only at its end.
  const figure = isAtEnd(now.by) && measure === 'sessions_started' ? ENDED_SQL : figureSql(measure);
  const current = topKeysSql(onlyFor(measure, now), 'bytes', null);
  const previous = renamed(topKeysSql(onlyFor(measure, before), 'bytes', null));
  const shown = now.shown === null || now.shown.merges ? 'key' : now.shown.sql('key');
  return {
    name: `changes_${now.by}`,
    sql: `SELECT key, toUInt8(grouping(key)) AS is_total, sum(now_value) AS current,
        sum(before_value) AS previous
      FROM (
        SELECT key, toInt64(${figure}) AS now_value, toInt64(0) AS before_value FROM (${current.sql})
        UNION ALL
        SELECT key, toInt64(0), toInt64(${figure}) FROM (${previous.sql})
      )
      GROUP BY key WITH ROLLUP
      HAVING is_total = 1 OR current != previous
      ORDER BY is_total DESC, abs(current - previous) DESC, ${shown} ASC
      LIMIT {explain_limit:UInt32}`,
    params: { ...current.params, ...previous.params, explain_limit: limit + 1 },
    row: changeRow,
    range: wholeSpanOf(now),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
