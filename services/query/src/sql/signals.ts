import { ANONYMOUS_USER } from '@sockscope/schemas';
import type { SignalKind } from '@sockscope/schemas/api';
import { plainAddressSql } from '@sockscope/schemas/sums';
import { z } from 'zod';
import type { SignalsConfig } from '../questions/signals/config.js';
import type { Span } from '../sums/plan.js';
import { int64 } from './columns.js';
import { hasKeySql, openKeysSql, reaches } from './earlier-starts.js';
import { FINAL_SETTINGS, timeSql } from './expressions.js';
import type { Condition, Query, SqlParams } from './query.js';
import { storedText } from './stored.js';

const signalRow = z.object({
  user: storedText,
  source: storedText,
  dest_host: z.string().nullable(),
  dest_port: z.int().nullable(),
  from_ms: int64,
  to_ms: int64,
  figures: z.array(z.tuple([z.string(), z.number()])),
});
export type SignalRow = z.output<typeof signalRow>;

export interface SignalOf {
  readonly range: Span;
  readonly filter: Condition;
  readonly thresholds: SignalsConfig;
  readonly limit: number;
}

const SCAN_WINDOW_MS = 600_000;
const SCAN_CELL_MS = 120_000;
/** Cells that a window touches, besides the one that it ends in. */
const SCAN_CELLS = SCAN_WINDOW_MS / SCAN_CELL_MS;
const MAIL_WINDOW_MS = 3_600_000;
const MAIL_PORTS = '25, 465, 587';

const NO_SOURCE = `toIPv6('::')`;
/** The subject: a user; for sessions without authentication, an address. Rows are grouped by it before it is text. */
const SOURCE_SQL = `if(user = '${ANONYMOUS_USER}', source_ip, ${NO_SOURCE})`;
const SHOWN_SOURCE_SQL = `if(source = ${NO_SOURCE}, '', ${plainAddressSql('toString(source)')}) AS source`;
const START_SQL = 'toUnixTimestamp64Milli(started_at)';
const FAILED_SQL = `status IN ('failed', 'rejected_by_acl')`;
const STARTED_SQL = `started_at >= ${timeSql('from')} AND started_at < ${timeSql('to')}`;
/** The /24 of an IPv4 address, the /48 of another one. */
const NETWORK_SQL = `IPv6CIDRToRange(source_ip,
  if(source_ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 48)).1`;

/** Keys by which suspects are chosen, in half the time of the columns. Two keys with one hash are both suspect. */
const hashOf = (columns: string) => `cityHash64(${columns})`;

interface Statement {
  readonly sql: string;
  readonly params: SqlParams;
}

/** Counts the open networks of a user at each session's start: each network counts from 0 to 1 and back. */
function sharedAccount({ range, filter, thresholds }: SignalOf): Statement {
  const reach = reaches(range.fromMs, 'shared');
  const open = `started_at < ${timeSql('to')} AND (status = 'active' OR ended_at > ${timeSql('from')})`;
  // No version of a session changes any of this.
  const fixed = `user != '${ANONYMOUS_USER}' AND ${filter.sql}`;
  const earlier = `started_at < ${timeSql('shared_hour')}`;
  const ended = `${earlier} AND ended_at >= ${timeSql('shared_from')}`;
  const doubtful = `SELECT started_at, session_id FROM session_ends WHERE ${ended}`;
  // At least the users of sessions that were open: their rows are read by user then.
  const suspects = `SELECT user FROM (
      SELECT user, source_ip FROM (
        SELECT user, source_ip FROM sessions
        WHERE started_at >= ${timeSql('shared_hour')} AND started_at < ${timeSql('to')} AND ${fixed}
        UNION ALL
        SELECT user, source_ip FROM ended_sessions WHERE ${ended} AND ${fixed}
        UNION ALL
        SELECT user, source_ip FROM sessions
        WHERE ${hasKeySql([openKeysSql(earlier), doubtful])} AND ${fixed}
      )
      GROUP BY user, source_ip
    )
    GROUP BY user HAVING uniqExact(${NETWORK_SQL}) >= {networks:UInt32}`;
  return {
    sql: `SELECT user, '' AS source, NULL AS dest_host, NULL AS dest_port,
        argMax(at, (networks, -at)) AS from_ms, from_ms + 1 AS to_ms,
        [('networks', toFloat64(max(networks)))] AS figures
      FROM (
        SELECT user, at, sum(step) OVER (PARTITION BY user ORDER BY at, step, network
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS networks
        FROM (
          SELECT user, network, at,
            toInt64(running > 0) - toInt64(running - change > 0) AS step
          FROM (
            SELECT user, network, at, change, sum(change) OVER (PARTITION BY user, network
              ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running
            FROM (
              SELECT user, network, edge.1 AS at, sum(edge.2) AS change FROM (
                SELECT user, ${NETWORK_SQL} AS network,
                  greatest(${START_SQL}, {from:Int64}) AS start_ms,
                  if(status = 'active', {to:Int64},
                    least({to:Int64}, toUnixTimestamp64Milli(assumeNotNull(ended_at)))) AS end_ms,
                  arrayJoin([(start_ms, 1), (end_ms, -1)]) AS edge
                FROM sessions_by_user FINAL
                WHERE user GLOBAL IN (${suspects}) AND (${reach.sql}) AND ${fixed} AND ${open}
              )
              WHERE end_ms > start_ms
              GROUP BY user, network, at
            )
          )
        )
        WHERE step != 0
      )
      GROUP BY user
      HAVING max(networks) >= {networks:UInt32}
      ORDER BY max(networks) DESC, from_ms`,
    params: { ...reach.params, networks: thresholds.shared_networks },
  };
}

/**
 * Many hosts on one port, or many ports of one host, in the window before a session. A busy user has thousands
 * of sessions in each window, so windows that cannot pass are left out, in two steps:
 *
 * - A window lies in two tens of minutes at most, so one of them has half of the failures.
 * - By cells of two minutes: a window that ends in a cell touches it and the five before, and has the four
 *   before it whole. So the failures of the six are at least its own, and the sessions of the four at most.
 */
function scanOf(
  one: 'dest_port' | 'dest_host',
  many: 'dest_host' | 'dest_port',
  name: 'hosts' | 'ports',
  filter: Condition,
): string {
  const shown = (column: 'dest_host' | 'dest_port') => (column === one ? column : 'NULL');
  const key = `user, source, ${one}`;
  const cell = `intDiv(${START_SQL}, ${SCAN_CELL_MS}) AS cell`;
  const hash = hashOf(`user, ${SOURCE_SQL}, ${one}`);
  const busy = `SELECT ${hash} AS hash FROM sessions
    WHERE ${STARTED_SQL} AND ${FAILED_SQL} AND ${filter.sql}
    GROUP BY hash, intDiv(${START_SQL}, ${SCAN_WINDOW_MS})
    HAVING count() * 200 >= {${name}:UInt32} * {failed_percent:UInt32}`;
  const cells = `SELECT user, ${SOURCE_SQL} AS source, ${one}, ${cell}, count() AS sessions,
      countIf(${FAILED_SQL}) AS failed
    FROM sessions FINAL PREWHERE ${STARTED_SQL} AND ${filter.sql} AND ${hash} GLOBAL IN (${busy})
    GROUP BY ${key}, cell`;
  const before = (from: number, to: string) =>
    `OVER (PARTITION BY ${key} ORDER BY cell RANGE BETWEEN ${from} PRECEDING AND ${to})`;
  const last = `SELECT ${key}, cell AS last_cell FROM (
      SELECT ${key}, cell, sum(failed) ${before(SCAN_CELLS, 'CURRENT ROW')} AS failed_most,
        sum(sessions) ${before(SCAN_CELLS - 1, '1 PRECEDING')} AS sessions_least
      FROM (${cells})
    )
    WHERE failed_most * 100 >= {${name}:UInt32} * {failed_percent:UInt32}
      AND failed_most * 100 >= sessions_least * {failed_percent:UInt32}`;
  return `SELECT user, source, ${shown('dest_host')} AS dest_host, ${shown('dest_port')} AS dest_port,
      argMax(start_ms, (distinct_values, start_ms)) + 1 AS to_ms,
      greatest(to_ms - ${SCAN_WINDOW_MS}, {from:Int64}) AS from_ms,
      [('${name}', toFloat64(max(distinct_values))),
        ('sessions', toFloat64(argMax(sessions, (distinct_values, start_ms)))),
        ('failed', toFloat64(argMax(failed, (distinct_values, start_ms))))] AS figures
    FROM (
      SELECT ${key}, start_ms, cell, last_cell, uniqExact(${many}) OVER w AS distinct_values,
        count() OVER w AS sessions, sum(is_failed) OVER w AS failed
      FROM (
        SELECT user, ${SOURCE_SQL} AS source, dest_host, dest_port, ${START_SQL} AS start_ms,
          ${cell}, toUInt8(${FAILED_SQL}) AS is_failed
        FROM sessions FINAL WHERE ${STARTED_SQL} AND ${filter.sql}
      ) AS s
      GLOBAL INNER JOIN (
        SELECT ${key}, last_cell, arrayJoin(range(last_cell - ${SCAN_CELLS}, last_cell + 1)) AS cell
        FROM (${last})
      ) AS c USING (${key}, cell)
      WINDOW w AS (PARTITION BY ${key}, last_cell ORDER BY start_ms
        RANGE BETWEEN ${SCAN_WINDOW_MS - 1} PRECEDING AND CURRENT ROW)
    )
    WHERE cell = last_cell AND distinct_values >= {${name}:UInt32}
      AND failed * 100 >= sessions * {failed_percent:UInt32}
    GROUP BY ${key}`;
}

const COLUMNS = 'user, source, dest_host, dest_port, from_ms, to_ms, figures';

function scan({ filter, thresholds }: SignalOf): Statement {
  return {
    sql: `SELECT ${COLUMNS} FROM (
        SELECT user, ${SHOWN_SOURCE_SQL}, CAST(NULL, 'Nullable(String)') AS dest_host,
          CAST(dest_port, 'Nullable(UInt16)') AS dest_port, from_ms, to_ms, figures
        FROM (${scanOf('dest_port', 'dest_host', 'hosts', filter)})
        UNION ALL
        SELECT user, ${SHOWN_SOURCE_SQL}, CAST(dest_host, 'Nullable(String)') AS dest_host,
          CAST(NULL, 'Nullable(UInt16)') AS dest_port, from_ms, to_ms, figures
        FROM (${scanOf('dest_host', 'dest_port', 'ports', filter)})
      )
      ORDER BY figures[1].2 DESC, from_ms`,
    params: {
      hosts: thresholds.scan_hosts,
      ports: thresholds.scan_ports,
      failed_percent: thresholds.scan_failed_percent,
    },
  };
}

function mail({ filter, thresholds }: SignalOf): Statement {
  return {
    sql: `SELECT user, ${SHOWN_SOURCE_SQL}, dest_host, dest_port, from_ms, to_ms, figures FROM (
      SELECT user, source, NULL AS dest_host, NULL AS dest_port,
        argMax(start_ms, (sessions, start_ms)) + 1 AS to_ms,
        greatest(to_ms - ${MAIL_WINDOW_MS}, {from:Int64}) AS from_ms,
        [('sessions', toFloat64(max(sessions)))] AS figures
      FROM (
        SELECT user, source, start_ms, count() OVER (PARTITION BY user, source ORDER BY start_ms
          RANGE BETWEEN ${MAIL_WINDOW_MS - 1} PRECEDING AND CURRENT ROW) AS sessions
        FROM (
          SELECT user, ${SOURCE_SQL} AS source, ${START_SQL} AS start_ms FROM sessions FINAL
          WHERE ${STARTED_SQL} AND dest_port IN (${MAIL_PORTS}) AND ${filter.sql}
        )
      )
      GROUP BY user, source
      HAVING max(sessions) >= {sessions:UInt32}
      )
      ORDER BY figures[1].2 DESC, from_ms`,
    params: { sessions: thresholds.mail_sessions },
  };
}

function beacon({ filter, thresholds }: SignalOf): Statement {
  const quantile = (level: number) => `arrayReduce('quantileExact(${level})', gaps)`;
  const key = hashOf('user, dest_host, dest_port');
  return {
    sql: `SELECT user, ${SHOWN_SOURCE_SQL}, dest_host, dest_port, arrayMin(starts) AS from_ms,
        arrayMax(starts) + 1 AS to_ms,
        [('starts', toFloat64(length(starts))), ('median_gap_ms', toFloat64(median)),
          ('spread', (high - low) / median)] AS figures
      FROM (
        SELECT user, source, dest_host, dest_port, arraySort(groupArray(${START_SQL})) AS starts,
          arrayPopFront(arrayDifference(starts)) AS gaps, ${quantile(0.5)} AS median,
          ${quantile(0.1)} AS low, ${quantile(0.9)} AS high
        FROM (
          SELECT user, ${SOURCE_SQL} AS source, dest_host, dest_port, started_at
          FROM sessions FINAL
          PREWHERE ${STARTED_SQL} AND ${filter.sql} AND ${key} GLOBAL IN (
            SELECT ${key} FROM sessions WHERE ${STARTED_SQL} AND ${filter.sql}
            GROUP BY ${key} HAVING count() >= {starts:UInt32}
          )
        )
        GROUP BY user, source, dest_host, dest_port
        HAVING count() >= {starts:UInt32}
      )
      WHERE median BETWEEN {gap_min:UInt32} AND {gap_max:UInt32}
        AND (high - low) * 100 <= median * {spread:UInt32}
      ORDER BY length(starts) DESC, from_ms`,
    params: {
      starts: thresholds.beacon_starts,
      gap_min: thresholds.beacon_gap_min_ms,
      gap_max: thresholds.beacon_gap_max_ms,
      spread: thresholds.beacon_spread_percent,
    },
  };
}

/** Pairs of user and destination that never occurred before, in all that is kept. */
function firstSeen({ filter, thresholds }: SignalOf): Statement {
  const pair = hashOf('user, dest_host');
  // Versions that have been replaced make a sum too large at most.
  const large = `SELECT ${pair} FROM sessions WHERE ${STARTED_SQL} AND ${filter.sql}
    GROUP BY ${pair} HAVING sum(bytes_sent) >= {bytes:UInt64}`;
  // By the columns themselves: a hash would find no user in the order of the history.
  const suspects = `SELECT user, dest_host FROM sessions
    WHERE ${STARTED_SQL} AND ${filter.sql} AND ${pair} GLOBAL IN (${large}) GROUP BY user, dest_host`;
  return {
    sql: `SELECT user, '' AS source, dest_host, NULL AS dest_port, from_ms, to_ms,
        [('bytes_sent', toFloat64(sent)), ('bytes_received', toFloat64(received))] AS figures
      FROM (
        SELECT user, dest_host, min(${START_SQL}) AS from_ms, max(${START_SQL}) + 1 AS to_ms,
          sum(s.bytes_sent) AS sent, sum(s.bytes_received) AS received
        FROM sessions AS s FINAL
        PREWHERE ${STARTED_SQL} AND ${filter.sql} AND ${pair} GLOBAL IN (${large})
        GROUP BY user, dest_host
        HAVING sent >= {bytes:UInt64} AND sent >= received * {ratio:UInt32}
      )
      WHERE (user, dest_host) NOT IN (
        SELECT user, dest_host FROM sessions_by_user
        WHERE started_at < ${timeSql('from')} AND (user, dest_host) GLOBAL IN (${suspects})
      )
      ORDER BY sent DESC, from_ms`,
    params: { bytes: thresholds.first_seen_bytes, ratio: thresholds.first_seen_ratio },
  };
}

/** Sessions of one user are on all shards, so no shard decides alone who is suspect: `GLOBAL`. */
const STATEMENTS: Readonly<Record<SignalKind, (of: SignalOf) => Statement>> = {
  shared_account: sharedAccount,
  scan,
  mail,
  beacon,
  first_seen: firstSeen,
};

/** The suspicious patterns of a range, the worst first. */
export function signalsQuery(kind: SignalKind, of: SignalOf): Query<typeof signalRow> {
  const { sql, params } = STATEMENTS[kind](of);
  return {
    name: `signal_${kind}`,
    sql: `${sql} LIMIT {limit:UInt32}`,
    params: {
      ...params,
      ...of.filter.params,
      from: of.range.fromMs,
      to: of.range.toMs,
      limit: of.limit,
    },
    row: signalRow,
    range: of.range,
    settings: { ...FINAL_SETTINGS, prefer_column_name_to_alias: 0 },
    reuse: true,
  };
}
