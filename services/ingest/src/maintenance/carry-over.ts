/** Rows that only one set of tables has, not the other one nor the stored events, as SQL. */
import { SESSION_COLUMNS, TRAFFIC_COLUMNS } from '../tables/columns.js';
import { STARTED } from './refold.js';

export const TRAFFIC_TABLE = 'session_traffic_1m';

const SESSION_NAMES = Object.keys(SESSION_COLUMNS).join(', ');
const TRAFFIC_NAMES = Object.keys(TRAFFIC_COLUMNS).join(', ');
const BUCKET = "bucket >= {from:DateTime('UTC')} AND bucket < {to:DateTime('UTC')}";

/** Every hour of the source table: its rows, the other table's rows, and whether they are equal. */
export function compareHours(table: string, from: string, to: string): string {
  const [time, row] =
    table === TRAFFIC_TABLE
      ? ['bucket', 'session_id, bucket, bytes_sent, bytes_received, packets_sent, packets_received']
      : ['started_at', 'session_id, version'];
  const side = (name: string, sign: 'from' | 'to') => `
    SELECT toUnixTimestamp(toStartOfHour(${time})) AS hour, '${sign}' AS side, count() AS rows, groupBitXor(cityHash64(${row})) AS print
    FROM ${name} FINAL GROUP BY hour`;
  return `
SELECT hour, sumIf(rows, side = 'from') AS from_rows, sumIf(rows, side = 'to') AS to_rows,
    from_rows = to_rows AND sumIf(print, side = 'from') = sumIf(print, side = 'to') AS is_same
FROM (${side(from, 'from')} UNION ALL ${side(to, 'to')})
GROUP BY hour HAVING from_rows > 0 ORDER BY hour`;
}

/**
 * Rows that the other table lacks, or has in an older version: of sessions whose events have
 * expired, in part or all, or are not stored yet, and of sessions found lost, for which no event exists.
 */
export function carrySessions(from: string, to: string): string {
  return `INSERT INTO ${to} (${SESSION_NAMES})
SELECT ${SESSION_NAMES}
FROM (SELECT ${SESSION_NAMES} FROM ${from} FINAL WHERE ${STARTED}) AS f
LEFT ANY JOIN (SELECT session_id, version + 1 AS known FROM ${to} FINAL WHERE ${STARTED}) AS t
ON f.session_id = t.session_id
WHERE f.version + 1 > t.known
SETTINGS join_use_nulls = 0`;
}

/**
 * Traffic of the sessions whose stored events are incomplete: some number is missing among
 * them, or the live row, of `sessions`, is of a later one. Of the others every minute comes from the
 * events, and a session without any event is left behind.
 */
export function carryTraffic(names: {
  readonly from: string;
  readonly to: string;
  readonly events: string;
  readonly sessions: string;
}): string {
  const { from, to, events, sessions } = names;
  const among = `(started_at, session_id) IN (SELECT started_at, session_id FROM ${from} WHERE ${BUCKET})`;
  return `INSERT INTO ${to} (${TRAFFIC_NAMES})
SELECT ${TRAFFIC_NAMES} FROM ${from} FINAL
WHERE ${BUCKET} AND session_id NOT IN (
    SELECT e.session_id
    FROM (SELECT session_id, max(seq) AS newest, uniqExact(seq) AS numbers FROM ${events} WHERE ${among} GROUP BY session_id) AS e
    LEFT ANY JOIN (SELECT session_id, version FROM ${sessions} FINAL WHERE ${among}) AS s ON e.session_id = s.session_id
    WHERE e.numbers = e.newest + 1 AND e.newest * 2 + 1 >= s.version
)
SETTINGS join_use_nulls = 0`;
}
