/** Sessions that ClickHouse generates itself, for benchmarks that need more than can be sent. */
import { ENDED_FIELDS } from '@sockscope/schemas/sums';

export interface Generated {
  /** Milliseconds since 1970. */
  readonly firstMs: number;
  /** The sessions of all statements begin evenly within it. */
  readonly spanMs: number;
  /** Number of the first session of this statement. */
  readonly from: number;
  readonly rows: number;
  /** Sessions of all statements. */
  readonly total: number;
  /** Percent of the sessions that last up to 30 days; the others up to 5 s. */
  readonly longPercent: number;
}

/** Users and destinations by a power law, sources evenly. */
export const generatedSessions = (of: Generated): string => `
INSERT INTO sessions (session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port,
    dest_host, dest_port, protocol, command, auth_method, acl_decision, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, updated_at, ended_at, duration_ms, version)
SELECT generateUUIDv4(), 1, concat('proxy-', toString(number % 10)), 1,
    fromUnixTimestamp64Milli(toInt64(${of.firstMs} + intDiv(number * ${of.spanMs}, ${of.total})), 'UTC') AS start,
    concat('user-', toString(toUInt32(pow(10000, randCanonical(1))))),
    toIPv6(concat('::ffff:10.0.', toString(rand(2) % 120), '.', toString(rand(3) % 250))), 1,
    concat('host-', toString(toUInt32(pow(200000, randCanonical(4)))), '.example'), 443,
    'tcp', 'connect', 'none', 'allow', 500, 5000, 3, 5, 'closed', 'client_eof', start,
    start + toIntervalMillisecond(duration),
    if(rand(5) % 100 < ${of.longPercent}, rand(6) % 2592000000, rand(7) % 5000) AS duration, 2
FROM numbers_mt(${of.from}, ${of.rows})`;

const ENDED = ['ended_at', ...ENDED_FIELDS, 'version'].join(', ');

/** The rows of the tables that are summed beside `sessions`. */
export const copiesOf = (): readonly string[] => [
  `INSERT INTO session_traffic_1m (bucket, user, dest_host, session_id, started_at, proxy_id, source_ip, dest_port, protocol, bytes_sent, bytes_received, packets_sent, packets_received)
   SELECT toStartOfMinute(started_at), user, dest_host, session_id, started_at, proxy_id, source_ip, dest_port, protocol, bytes_sent, bytes_received, packets_sent, packets_received FROM sessions`,
  `INSERT INTO ended_sessions (${ENDED}) SELECT ${ENDED}
   FROM sessions WHERE toStartOfTenMinutes(assumeNotNull(ended_at)) != toStartOfTenMinutes(started_at)`,
];
