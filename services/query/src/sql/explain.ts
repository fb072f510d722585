import type { SumSort } from '@sockscope/schemas/api';
import { DIMENSIONS, FIGURES, SUM_NAMES } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { NO_PIECES } from '../sums/plan.js';
import { FINAL_SETTINGS } from './expressions.js';
import type { Query, SqlParams } from './query.js';
import { storedText } from './stored.js';
import { byShown, shownOrder } from './shown.js';
import { isAtEnd, shownKey, union, wholeSpanOf } from './sums.js';
import type { Part, SumsOf } from './sums.js';
import { ENDED_SQL, figureSql } from './top.js';

const changeRow = z.object({
  dimension: z.enum(DIMENSIONS),
  key: storedText,
  is_total: z.int().min(0).max(1),
  current: z.int(),
  previous: z.int(),
});

/** The sums of one dimension in two periods. */
export interface Compared {
  readonly by: Dimension;
  readonly now: SumsOf;
  readonly before: SumsOf;
}

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

/** Every figure by its name, over rows of sums. */
const FIGURES_SQL = SUM_NAMES.map((name) => `s_${name} AS ${name}`).join(', ');

/**
 * The changes of a figure: of each dimension the total, then the keys that changed most, up or down.
 *
 * @param all dimensions that are summed from the same rows, which are read once; at least one.
 */
export function changesQuery(
  all: readonly Compared[],
  measure: SumSort,
  limit: number,
): Query<typeof changeRow> {
  const [first, ...others] = all;
  if (first === undefined) throw new TypeError('nothing is compared');
  const { by, now, before } = first;
  // A session's start does not count by fields that are known only at its end.
  const figure = isAtEnd(by) && measure === 'sessions_started' ? ENDED_SQL : figureSql(measure);
  const together = all.map((of) => of.by);
  const summed = (of: SumsOf) =>
    union(onlyFor(measure, others.length === 0 ? of : { ...of, together }));
  const [current, previous] = [summed(now), renamed(summed(before))];
  const [name, key] = others.length === 0 ? [`'${by}'`, 'k'] : ['k.1', 'k.2'];
  const shown = all.map((of) => of.now);
  const values = (of: Part, columns: string) =>
    `SELECT ${name} AS dimension, ${byShown(shown, (as) => shownKey(key, as))} AS key, ${columns}
        FROM (SELECT k, ${FIGURES_SQL} FROM (${of.sql}))`;
  return {
    name: `changes_${together.join('_')}`,
    sql: `SELECT dimension, key, toUInt8(grouping(key)) AS is_total, sum(now_value) AS current,
        sum(before_value) AS previous
      FROM (
        ${values(current, `toInt64(${figure}) AS now_value, toInt64(0) AS before_value`)}
        UNION ALL
        ${values(previous, `toInt64(0), toInt64(${figure})`)}
      )
      GROUP BY dimension, key WITH ROLLUP
      HAVING grouping(dimension) = 0 AND (is_total = 1 OR current != previous)
      ORDER BY dimension, is_total DESC, abs(current - previous) DESC,
        ${byShown(shown, shownOrder)} ASC
      LIMIT {explain_limit:UInt32} BY dimension`,
    params: {
      ...(Object.assign({}, ...all.map((of) => of.now.shown?.params)) as SqlParams),
      ...current.params,
      ...previous.params,
      explain_limit: limit + 1,
    },
    row: changeRow,
    range: wholeSpanOf(now),
    settings: FINAL_SETTINGS,
    reuse: true,
  };
}
