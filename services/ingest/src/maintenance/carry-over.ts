/** What the live tables know and the stored events do not, as SQL. It goes into the new tables beside. */
import { SESSION_COLUMNS, TRAFFIC_COLUMNS } from '../tables/columns.js';
import { STARTED } from './refold.js';

export const TRAFFIC_TABLE = 'session_traffic_1m';

const SESSION_NAMES = Object.keys(SESSION_COLUMNS).join(', ');
const TRAFFIC_NAMES = Object.keys(TRAFFIC_COLUMNS).join(', ');
const BUCKET = "bucket >= {from:DateTime('UTC')} AND bucket < {to:DateTime('UTC')}";

/** Every hour of a live table: its rows, those of the new one, and whether both hold the same. */
export function compareHours(table: string, live: string, beside: string): string {
  const [time, row] =
    table === TRAFFIC_TABLE
      ? ['bucket', 'session_id, bucket, bytes_sent, bytes_received, packets_sent, packets_received']
      : ['started_at', 'session_id, version'];
  const side = (from: string, sign: 'live' | 'new') => `
    SELECT toUnixTimestamp(toStartOfHour(${time})) AS hour, '${sign}' AS side, count() AS rows, groupBitXor(cityHash64(${row})) AS print
    FROM ${from} FINAL GROUP BY hour`;
  return `
SELECT hour, sumIf(rows, side = 'live') AS live_rows, sumIf(rows, side = 'new') AS new_rows,
    live_rows = new_rows AND sumIf(print, side = 'live') = sumIf(print, side = 'new') AS is_same
FROM (${side(live, 'live')} UNION ALL ${side(beside, 'new')})
GROUP BY hour HAVING live_rows > 0 ORDER BY hour`;
}

/**
 * Live rows of which the new table has none, or an older version: those of sessions whose events have
 * expired, in part or all, and those of sessions found lost, which no event says.
 */
export function carrySessions(live: string, beside: string): string {
  return `INSERT INTO ${beside} (${SESSION_NAMES})
SELECT ${SESSION_NAMES}
FROM (SELECT ${SESSION_NAMES} FROM ${live} FINAL WHERE ${STARTED}) AS l
LEFT ANY JOIN (SELECT session_id, version + 1 AS known FROM ${beside} FINAL WHERE ${STARTED}) AS n
ON l.session_id = n.session_id
WHERE l.version + 1 > n.known
SETTINGS join_use_nulls = 0`;
}

/**
 * Live traffic of the sessions that the stored events do not tell as a whole: some number is missing
 * among them, or the live row is of a later one. Of the others every minute comes from the events, and
 * one that no event says is left behind.
 */
export function carryTraffic(names: {
  readonly live: string;
  readonly beside: string;
  readonly events: string;
  readonly sessions: string;
}): string {
  const { live, beside, events, sessions } = names;
  const among = `(started_at, session_id) IN (SELECT started_at, session_id FROM ${live} WHERE ${BUCKET})`;
  return `INSERT INTO ${beside} (${TRAFFIC_NAMES})
SELECT ${TRAFFIC_NAMES} FROM ${live} FINAL
WHERE ${BUCKET} AND session_id NOT IN (
    SELECT e.session_id
    FROM (SELECT session_id, max(seq) AS newest, uniqExact(seq) AS numbers FROM ${events} WHERE ${among} GROUP BY session_id) AS e
    LEFT ANY JOIN (SELECT session_id, version FROM ${sessions} FINAL WHERE ${among}) AS s ON e.session_id = s.session_id
    WHERE e.numbers = e.newest + 1 AND e.newest * 2 + 1 >= s.version
)
SETTINGS join_use_nulls = 0`;
}
