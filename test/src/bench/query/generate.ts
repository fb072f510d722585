import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { ENDED_FIELDS, isLongSql } from '@sockscope/schemas/sums';
import { z } from 'zod';

/** The shape of the generated data. Everything follows from these numbers: the same ones give the same rows. */
export interface DataShape {
  readonly sessions: number;
  readonly days: number;
  readonly users: number;
  readonly destinations: number;
  /** Sessions that are still open at `nowMs`. */
  readonly active: number;
  /** The end of the data, milliseconds since 1970. */
  readonly nowMs: number;
}

const DAY_MS = 86_400_000;
/** Inserts a day, and parts a day if merges are stopped. */
const INSERTS_PER_DAY = 4;
/** Days at the end of the data whose parts stay as they were inserted. */
const UNMERGED_DAYS = 2;
/** The unmerged part of a database that receives rows. */
const UNMERGED_MS = 600_000;
/** Sessions that have been open for up to the whole range, besides `active`. */
const OLD_ACTIVE = 100;
const INSERT_TIMEOUT_MS = 600_000;
const INSERT_SETTINGS = { max_partitions_per_insert_block: 0, max_insert_threads: 2 };
/** Holds the rows of one insert, so that they are computed once for three tables. */
const STAGING = 'bench_staging';
const SESSION_TABLES = ['sessions', 'sessions_by_user', 'sessions_by_destination'];

/** The columns of the generated rows; other columns have their defaults. */
const SESSION_COLUMNS = [
  'session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port',
  'egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched',
  'bytes_sent, bytes_received, packets_sent, packets_received, status, close_reason, error_code, connect_ms',
  'updated_at, ended_at, duration_ms, version',
].join(', ');

/** Uniform in [0, 1), by a hash of the row's number: repeatable in any order and block. */
function uniform(salt: number): string {
  return `(bitAnd(sipHash64(n, ${salt}), 0xFFFFFFFF) / 4294967296.)`;
}

/** A rank from 1 to `max` by Zipf's law with exponent 1: the first of 20,000 gets a tenth of all. */
function zipf(salt: number, max: string): string {
  return `toUInt32(floor(exp(${uniform(salt)} * log(${max} + 1))))`;
}

/** Normal by Box-Muller. */
function normal(salt: number): string {
  return `(sqrt(-2 * log(${uniform(salt)} + 1e-10)) * cos(2 * pi() * ${uniform(salt + 1)}))`;
}

/**
 * The rows of `sessions` with numbers from {from} to {to} of {sessions}: starts evenly spread, users
 * and destinations by Zipf, durations and bytes log-normal (half below 3 s, one in a hundred above
 * 20 minutes, one in ten thousand anything up to 30 days), 4 % rejected, 5 % failed. The columns are
 * SESSION_COLUMNS, in their order.
 */
const SESSION_ROWS = `
WITH
    {now_ms:Int64} - {days:Int64} * ${DAY_MS} AS begin_ms,
    begin_ms + intDiv(toInt64(n) * ({days:Int64} * ${DAY_MS}), {sessions:Int64}) AS start_ms,
    if(sipHash64(n, 20) % 10000 = 0, toInt64(${uniform(21)} * 30 * ${DAY_MS}), toInt64(exp(8 + 2.6 * ${normal(1)}))) AS wanted_ms,
    least(wanted_ms, toInt64(30 * ${DAY_MS}), {now_ms:Int64} - start_ms) AS lasted_ms,
    ${zipf(3, '{users:UInt32}')} AS user_rank,
    ${zipf(4, '{destinations:UInt32}')} AS dest_rank,
    ${uniform(5)} AS fate,
    multiIf(fate < 0.04, 'rejected_by_acl', fate < 0.09, 'failed', 'closed') AS end_status,
    toUInt64(if(end_status = 'closed', exp(7 + 1.8 * ${normal(6)}), 0)) AS sent,
    toUInt64(if(end_status = 'closed', exp(9 + 2.2 * ${normal(8)}), 0)) AS received,
    ${uniform(10)} AS port_choice,
    toUInt32(toInt64(if(end_status = 'closed', 2 + intDiv(lasted_ms, 30000), 1))) AS last_seq
SELECT
    reinterpretAsUUID(bitOr(
        bitShiftLeft(toUInt128(bitOr(bitAnd(sipHash64(n, 11), 0x3FFFFFFFFFFFFFFF), 0x8000000000000000)), 64),
        toUInt128(bitOr(bitOr(bitShiftLeft(toUInt64(start_ms), 16), 0x7000), bitAnd(sipHash64(n, 12), 0xFFF)))
    )) AS session_id,
    last_seq AS seq,
    concat('proxy-', toString(sipHash64(n, 13) % 8)) AS proxy_id,
    toUInt64(begin_ms) AS proxy_epoch,
    fromUnixTimestamp64Milli(start_ms, 'UTC') AS started_at,
    if(user_rank = 7, 'anonymous', concat('user-', toString(user_rank))) AS user,
    toIPv6(IPv4NumToString(toUInt32(167772160 + user_rank * 4 + sipHash64(n, 14) % 3))) AS source_ip,
    toUInt16(1024 + sipHash64(n, 15) % 64000) AS source_port,
    concat('host-', toString(dest_rank), '.site-', toString(dest_rank % 997), '.example') AS dest_host,
    if(end_status = 'rejected_by_acl', NULL, toIPv6(IPv4NumToString(toUInt32(3405803776 - dest_rank * 2)))) AS dest_ip,
    toUInt16(multiIf(port_choice < 0.8, 443, port_choice < 0.92, 80, 1 + sipHash64(n, 16) % 9000)) AS dest_port,
    if(end_status = 'closed', toNullable(toIPv6(IPv4NumToString(toUInt32(3325256704 + sipHash64(n, 13) % 8)))), NULL) AS egress_ip,
    if(end_status = 'closed', toNullable(toUInt16(1024 + sipHash64(n, 22) % 64000)), NULL) AS egress_port,
    if(port_choice > 0.97, 'udp', 'tcp') AS protocol,
    if(port_choice > 0.97, 'udp_associate', 'connect') AS command,
    if(user_rank = 7, 'none', 'password') AS auth_method,
    if(end_status = 'rejected_by_acl', 'block', 'allow') AS acl_decision,
    if(sipHash64(n, 17) % 3 = 0, NULL, concat('rule-', toString(dest_rank % 40))) AS acl_rule_matched,
    sent AS bytes_sent,
    received AS bytes_received,
    intDiv(sent + 1399, 1400) AS packets_sent,
    intDiv(received + 1399, 1400) AS packets_received,
    end_status AS status,
    CAST(multiIf(end_status = 'rejected_by_acl', 'acl_rejected', end_status = 'failed',
        ['connect_failed', 'dns_failed', 'connect_timeout'][1 + sipHash64(n, 18) % 3],
        ['client_eof', 'upstream_eof', 'client_reset', 'idle_timeout'][1 + sipHash64(n, 18) % 4]), 'Nullable(String)') AS close_reason,
    if(end_status = 'failed', 'ECONNREFUSED', NULL) AS error_code,
    if(end_status = 'closed', toNullable(5 + sipHash64(n, 19) % 200), NULL) AS connect_ms,
    started_at + toIntervalMillisecond(lasted_ms) AS updated_at,
    toNullable(updated_at) AS ended_at,
    toNullable(toUInt64(lasted_ms)) AS duration_ms,
    last_seq * 2 AS version
FROM (SELECT number AS n FROM numbers({from:UInt64}, {to:UInt64} - {from:UInt64}))`;

/** The same sessions as they were after SessionStarted: later rows replace these. */
const AS_STARTED = `
SELECT * REPLACE (
    0 AS seq, 0 AS bytes_sent, 0 AS bytes_received, 0 AS packets_sent, 0 AS packets_received,
    'active' AS status, NULL AS close_reason, NULL AS error_code, NULL AS connect_ms,
    started_at AS updated_at, NULL AS ended_at, NULL AS duration_ms, 0 AS version)
FROM (${SESSION_ROWS})`;

/** Open sessions: begun before the end, most within the last hour, with a heartbeat within the last half minute. */
const AS_ACTIVE = `
SELECT * REPLACE (
    'active' AS status, NULL AS close_reason, NULL AS error_code, NULL AS ended_at, NULL AS duration_ms,
    greatest(started_at, fromUnixTimestamp64Milli({now_ms:Int64} - toInt64(sipHash64(session_id) % 30000), 'UTC')) AS updated_at,
    5 AS seq, 10 AS version)
FROM (${SESSION_ROWS})`;

/**
 * Traffic per minute: a session's bytes spread over its first minutes, at most five, the rest of the
 * division in the first. The sums are exactly the sessions' totals.
 */
const TRAFFIC_ROWS = `
WITH toUInt64(least(5, 1 + intDiv(toUnixTimestamp(updated_at), 60) - intDiv(toUnixTimestamp(started_at), 60))) AS minutes
SELECT
    toStartOfMinute(started_at) + toIntervalMinute(minute) AS bucket, user, dest_host, session_id,
    started_at, proxy_id, source_ip, dest_port, protocol,
    intDiv(bytes_sent, minutes) + if(minute = 0, bytes_sent % minutes, 0) AS bytes_sent,
    intDiv(bytes_received, minutes) + if(minute = 0, bytes_received % minutes, 0) AS bytes_received,
    intDiv(packets_sent, minutes) + if(minute = 0, packets_sent % minutes, 0) AS packets_sent,
    intDiv(packets_received, minutes) + if(minute = 0, packets_received % minutes, 0) AS packets_received
FROM sessions FINAL
ARRAY JOIN range(minutes) AS minute
WHERE started_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
  AND (bytes_sent + bytes_received > 0)`;

/** The first and the last event of each session that began within the last day. */
const EVENT_ROWS = `
SELECT if(is_last, 'SessionClosed', 'SessionStarted') AS type, if(is_last, seq, 0) AS seq,
    if(is_last, updated_at, started_at) AS occurred_at, session_id, proxy_id, proxy_epoch, started_at, user, source_ip,
    source_port, dest_host, dest_ip, dest_port, egress_ip, egress_port, protocol, command, auth_method,
    acl_decision, acl_rule_matched,
    if(is_last, bytes_sent, 0) AS bytes_sent, if(is_last, bytes_received, 0) AS bytes_received,
    if(is_last, packets_sent, 0) AS packets_sent, if(is_last, packets_received, 0) AS packets_received,
    if(is_last, ended_at, NULL) AS ended_at, if(is_last, duration_ms, NULL) AS duration_ms,
    if(is_last, toNullable(s.status), NULL) AS status, if(is_last, close_reason, NULL) AS close_reason
FROM sessions AS s FINAL
ARRAY JOIN if(s.status = 'active', [false], [false, true]) AS is_last
WHERE started_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')`;

const EVENT_COLUMNS =
  'type, seq, occurred_at, session_id, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port, egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received, packets_sent, packets_received, ended_at, duration_ms, status, close_reason';

const TRAFFIC_COLUMNS =
  'bucket, user, dest_host, session_id, started_at, proxy_id, source_ip, dest_port, protocol, bytes_sent, bytes_received, packets_sent, packets_received';

const ENDED_COLUMNS = ['ended_at', ...ENDED_FIELDS, 'version'].join(', ');

/** Leaves the parts as they are. A server that is restarted forgets the first of the two. */
export async function stopMerges(clickhouse: ClickHouse): Promise<void> {
  await Promise.all(
    SESSION_TABLES.flatMap((table) => [
      clickhouse.command({ sql: `SYSTEM STOP MERGES ${table}` }),
      clickhouse.command({
        sql: `ALTER TABLE ${table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1`,
      }),
    ]),
  );
}

/** Merges what is there, as it would be after days: rows that are generated in minutes had no time for it. */
async function mergeAll(clickhouse: ClickHouse): Promise<void> {
  for (const table of SESSION_TABLES) {
    const partitions = await clickhouse.query({
      sql: `SELECT DISTINCT partition_id FROM system.parts
        WHERE active AND database = currentDatabase() AND table = {table:String} ORDER BY partition_id`,
      params: { table },
      row: z.object({ partition_id: z.string() }),
    });
    for (const { partition_id: id } of partitions) {
      await command(clickhouse, `OPTIMIZE TABLE ${table} PARTITION ID '${id}' FINAL`);
    }
  }
}

/**
 * Fills the tables of an empty, migrated database: four inserts a day, of which the last two days'
 * parts stay unmerged. Rollups are not made here.
 *
 * @returns the milliseconds it took.
 */
export async function generateSessions(
  clickhouse: ClickHouse,
  shape: DataShape,
  onProgress: (done: number, what: string) => void = () => undefined,
): Promise<number> {
  const begun = performance.now();
  const inserts = shape.days * INSERTS_PER_DAY;
  const unmergedFrom = (shape.days - UNMERGED_DAYS) * INSERTS_PER_DAY;
  const beginMs = shape.nowMs - shape.days * DAY_MS;
  const common = commonParams(shape);
  const at = (index: number) => Math.floor((shape.sessions * index) / inserts);

  // In order: the parts must come out the same each time, and two cores are busy with one statement.

  for (let index = 0; index < inserts; index += 1) {
    const params = { ...common, from: at(index), to: at(index + 1) };
    if (index === unmergedFrom) {
      await mergeAll(clickhouse);
      await stopMerges(clickhouse);
    }
    await insertEverywhere(clickhouse, SESSION_ROWS, params);
    await command(
      clickhouse,
      `INSERT INTO session_traffic_1m (${TRAFFIC_COLUMNS}) ${TRAFFIC_ROWS}`,
      {
        from_ms: beginMs + (index * DAY_MS) / INSERTS_PER_DAY,
        to_ms: beginMs + ((index + 1) * DAY_MS) / INSERTS_PER_DAY,
      },
    );
    onProgress((index + 1) / inserts, 'sessions');
  }
  // Numbers beyond the last would start after the end: these begin in the last hour, spread as a denser day.
  await insertEverywhere(clickhouse, AS_ACTIVE, activeParams(shape));
  // A few have been open for days, up to the whole range.
  await insertEverywhere(clickhouse, AS_ACTIVE, {
    ...common,
    sessions: OLD_ACTIVE,
    from: 0,
    to: OLD_ACTIVE,
  });
  await command(clickhouse, `INSERT INTO session_traffic_1m (${TRAFFIC_COLUMNS}) ${TRAFFIC_ROWS}`, {
    from_ms: shape.nowMs - 3_600_000,
    to_ms: shape.nowMs,
  });
  await command(clickhouse, `INSERT INTO session_events (${EVENT_COLUMNS}) ${EVENT_ROWS}`, {
    from_ms: shape.nowMs - DAY_MS,
  });
  return performance.now() - begun;
}

/**
 * Puts the first rows of the last ten minutes' sessions, which later ones replace, into parts of their
 * own: as in a database that is fed.
 */
export async function insertUnmerged(clickhouse: ClickHouse, shape: DataShape): Promise<void> {
  await stopMerges(clickhouse);
  await insertEverywhere(clickhouse, AS_STARTED, {
    ...commonParams(shape),
    from: shape.sessions - Math.floor((shape.sessions * UNMERGED_MS) / (shape.days * DAY_MS)),
    to: shape.sessions,
  });
}

function commonParams(shape: DataShape): Record<string, number> {
  const { nowMs: now_ms, days, users, destinations, sessions } = shape;
  return { now_ms, days, users, destinations, sessions };
}

async function command(
  clickhouse: ClickHouse,
  sql: string,
  params: Record<string, number> = {},
): Promise<void> {
  await clickhouse.command({
    sql,
    params,
    timeoutMs: INSERT_TIMEOUT_MS,
    settings: INSERT_SETTINGS,
  });
}

async function insertEverywhere(
  clickhouse: ClickHouse,
  rows: string,
  params: Record<string, number>,
): Promise<void> {
  await command(clickhouse, `CREATE OR REPLACE TABLE ${STAGING} AS sessions ENGINE = Memory`);
  await command(clickhouse, `INSERT INTO ${STAGING} (${SESSION_COLUMNS}) ${rows}`, params);
  for (const table of SESSION_TABLES) {
    await command(clickhouse, `INSERT INTO ${table} SELECT * FROM ${STAGING}`);
  }
  await command(
    clickhouse,
    `INSERT INTO long_sessions SELECT * FROM ${STAGING} WHERE ${isLongSql()}`,
  );
  await command(
    clickhouse,
    `INSERT INTO ended_sessions (${ENDED_COLUMNS}) SELECT ${ENDED_COLUMNS} FROM ${STAGING}
      WHERE toStartOfTenMinutes(ended_at) != toStartOfTenMinutes(started_at)`,
  );
  await command(clickhouse, `DROP TABLE ${STAGING}`);
}

/** `active` numbers whose starts fall into the last hour: the same formula with one hour's worth of numbers. */
function activeParams(shape: DataShape): Record<string, number> {
  const hours = shape.days * 24;
  return {
    now_ms: shape.nowMs,
    days: shape.days,
    users: shape.users,
    destinations: shape.destinations,
    // `hours * active` numbers over all days put `active` of them into the last hour.
    sessions: hours * shape.active,
    from: (hours - 1) * shape.active,
    to: hours * shape.active,
  };
}
