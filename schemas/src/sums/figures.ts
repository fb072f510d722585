/** When a figure counts: in the bucket of the session's start, of its end, or of the minute the bytes moved in. */
export type CountsAt = 'start' | 'end' | 'traffic';

/**
 * The summed figures, and the moment at which each counts. So every range is the sum of its parts. Dimensions that may change
 * until a session ends are the exception: see `countsAtEnd`.
 */
export const FIGURES = {
  sessions_started: 'start',
  sessions_closed: 'end',
  sessions_failed: 'end',
  sessions_rejected: 'end',
  bytes_sent: 'traffic',
  bytes_received: 'traffic',
  packets_sent: 'traffic',
  packets_received: 'traffic',
  duration_ms: 'end',
} as const satisfies Readonly<Record<string, CountsAt>>;

export type SumName = keyof typeof FIGURES;
export const SUM_NAMES = Object.keys(FIGURES) as SumName[];

/** The figures that count at a time. */
function countedAt(when: CountsAt): SumName[] {
  return SUM_NAMES.filter((name) => FIGURES[name] === when);
}

const AT_START = countedAt('start');
const AT_END = countedAt('end');
const AS_TRAFFIC = countedAt('traffic');

/** The rows of `sessions` or of `session_traffic_1m` that a figure counts, or the column that it adds up. */
const FIGURE_SQL: Readonly<Record<SumName, { readonly rows: string } | { readonly sum: string }>> =
  {
    sessions_started: { rows: '' },
    sessions_closed: { rows: `status = 'closed'` },
    sessions_failed: { rows: `status = 'failed'` },
    sessions_rejected: { rows: `status = 'rejected_by_acl'` },
    bytes_sent: { sum: 'bytes_sent' },
    bytes_received: { sum: 'bytes_received' },
    packets_sent: { sum: 'packets_sent' },
    packets_received: { sum: 'packets_received' },
    duration_ms: { sum: 'ifNull(duration_ms, 0)' },
  };

/** Figures as aggregates, by their names. */
export type FiguresSql = Partial<Record<SumName, string>>;

/** @param condition holds for the rows that count; empty for all. */
function figureSql(name: SumName, condition: string): string {
  const figure = FIGURE_SQL[name];
  if ('sum' in figure) {
    return condition === '' ? `sum(${figure.sum})` : `sumIf(${figure.sum}, ${condition})`;
  }
  const conditions = [figure.rows, condition].filter((each) => each !== '');
  return conditions.length === 0 ? 'count()' : `countIf(${conditions.join(' AND ')})`;
}

function sqlOf(names: readonly SumName[], condition = ''): FiguresSql {
  return Object.fromEntries(names.map((name) => [name, figureSql(name, condition)]));
}

/** The figures of sessions that started, over `sessions`. */
export const STARTED_SQL = sqlOf(AT_START);
/** The figures of sessions that ended, over `sessions`. */
export const ENDED_SQL = endedSql('');
/** The figures of traffic, over `session_traffic_1m`; or over the whole sessions that ended. */
export const MOVED_SQL = movedSql('');

/** The figures of ends, over the rows of `sessions` for which a condition holds. */
export function endedSql(condition: string): FiguresSql {
  return sqlOf(AT_END, condition);
}

/** The figures of traffic, over the rows for which a condition holds. */
export function movedSql(condition: string): FiguresSql {
  return sqlOf(AS_TRAFFIC, condition);
}
