/**
 * The fold as SQL, from `session_events`: the rows that ingest makes of arriving events, made again
 * from stored events. Both are the same maximum, so doing it twice changes nothing.
 */
import { isLongSql } from '@sockscope/schemas/sums';
import { SESSION_COLUMNS, TRAFFIC_COLUMNS } from '../tables/columns.js';
import { withinTimes } from '../tables/within.js';

const LONG_TABLE = 'long_sessions';
/** Tables that hold one row per session; one of them only long sessions. */
export const SESSION_TABLES = [
  'sessions_by_user',
  'sessions_by_destination',
  LONG_TABLE,
  'sessions',
] as const;
/** Every table that is made from events, in the order in which they are exchanged. */
export const FOLDED_TABLES = [...SESSION_TABLES, 'session_traffic_1m'] as const;

/** Sessions that began within {from} and {to}, seconds since 1970: the primary key begins with the start. */
export const STARTED = withinTimes('started_at');

/** An assumed end gives way to an event of the same `seq`. */
const RANK = 'seq * 2 - assumed';

/** Columns of an event that are not simply the session's. */
const SESSION_EXPRESSIONS: Readonly<Record<string, string>> = {
  status: "ifNull(toString(status), 'active')",
  updated_at: 'occurred_at',
  version: RANK,
};

/** The newest row of each session that began in a window. */
export function refoldSessions(
  table: string,
  events: string,
  which: 'all' | 'long' = 'all',
): string {
  const names = Object.keys(SESSION_COLUMNS);
  const values = names.map((name) => SESSION_EXPRESSIONS[name] ?? name);
  return `INSERT INTO ${table} (${names.join(', ')})
SELECT ${values.join(', ')}
FROM (SELECT * FROM ${events} FINAL WHERE ${STARTED} ORDER BY session_id, ${RANK} DESC LIMIT 1 BY session_id)${which === 'long' ? `\nWHERE ${isLongSql('occurred_at')}` : ''}`;
}

const COUNTERS = ['bytes_sent', 'bytes_received', 'packets_sent', 'packets_received'] as const;
const FIXED = Object.keys(TRAFFIC_COLUMNS).filter(
  (name) => name !== 'bucket' && !COUNTERS.some((counter) => counter === name),
);

/** The traffic per minute of the sessions that began in a window. */
export function refoldTraffic(table: string, events: string): string {
  const maxima = COUNTERS.map((name) => `max(minute_${name})`);
  return `INSERT INTO ${table} (bucket, ${FIXED.join(', ')}, ${COUNTERS.join(', ')})
SELECT toStartOfMinute(assumeNotNull(interval_start)) AS minute, ${FIXED.join(', ')}, ${maxima.join(', ')}
FROM ${events} FINAL
WHERE ${STARTED} AND interval_start IS NOT NULL
GROUP BY minute, ${FIXED.join(', ')}
HAVING ${maxima.join(' + ')} > 0`;
}

/** Everything of a window, in the order of FOLDED_TABLES. */
export function refoldWindow(events: string, nameOf: (table: string) => string): string[] {
  return FOLDED_TABLES.map((table) =>
    table === 'session_traffic_1m'
      ? refoldTraffic(nameOf(table), events)
      : refoldSessions(nameOf(table), events, table === LONG_TABLE ? 'long' : 'all'),
  );
}
