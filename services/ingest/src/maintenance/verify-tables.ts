/** Compares the tables with the topic: events, sessions in three orders, their ends, traffic by the minute. */
import { setTimeout as delay } from 'node:timers/promises';
import { int64 } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { ENDED_ADDRESS_FIELDS, isLongSql } from '@sockscope/schemas/sums';
import { COPIED_TO_ENDED } from '../tables/columns.js';
import { address, count, flag, optional, optionalCount, text, time } from './event-json.js';
import { isSame, isWhole, kept, LOOKS } from './verify-report.js';
import type { Comparing, PartitionReport, TableReport } from './verify-report.js';

const EXAMPLES_MAX = 10;

/** Every column of a session's row, as the event's JSON and as the tables have it. */
const SESSION_FIELDS: Readonly<Record<string, string>> = {
  proxy_id: text('proxy_id'),
  proxy_epoch: count('proxy_epoch'),
  started_at: time('started_at'),
  user: text('user'),
  source_ip: address('source_ip'),
  source_port: count('source_port'),
  dest_host: text('dest_host'),
  dest_ip: address('dest_ip'),
  dest_port: count('dest_port'),
  egress_ip: address('egress_ip'),
  egress_port: optionalCount('egress_port'),
  protocol: text('protocol'),
  command: text('command'),
  auth_method: text('auth_method'),
  acl_decision: text('acl_decision'),
  acl_rule_matched: optional('acl_rule_matched'),
  bytes_sent: count('bytes_sent'),
  bytes_received: count('bytes_received'),
  packets_sent: count('packets_sent'),
  packets_received: count('packets_received'),
  status: `ifNull(${optional('status')}, 'active')`,
  close_reason: optional('close_reason'),
  error_code: optional('error_code'),
  connect_ms: optionalCount('connect_ms'),
  assumed: flag('assumed'),
  updated_at: time('occurred_at'),
  ended_at: time('ended_at'),
  duration_ms: optionalCount('duration_ms'),
};
/** Both sides as text, null distinct from empty, so that types need not agree. */
const fingerprint = (expressions: readonly string[]) =>
  `[${expressions.map((each) => `ifNull(toString(${each}), '\\\\N')`).join(', ')}]`;
const FIELDS_OF_JSON = fingerprint(Object.values(SESSION_FIELDS));
const FIELDS_OF_ROW = fingerprint(Object.keys(SESSION_FIELDS));
const COUNTERS = ['bytes_sent', 'bytes_received', 'packets_sent', 'packets_received'] as const;

const tableRow = z.object({
  expected: int64,
  missing: int64,
  different: int64,
  newer: int64,
  examples: z.array(z.string()),
});

/** Records and poison by partition, as the topic was read. */
export interface TopicCounts {
  readonly records: ReadonlyMap<number, number>;
  readonly poison: ReadonlyMap<number, number>;
}

/** Compares every table. Differing rows are checked again. */
export async function compareTables(
  { clickhouse, config, topic, call }: Comparing,
  { records, poison }: TopicCounts,
): Promise<{ readonly partitions: PartitionReport[]; readonly tables: TableReport[] }> {
  /** Bounds the reading of the tables by the first column of their primary key or partitions. */
  const among = `started_at >= (SELECT min(started_at) FROM ${topic}) AND started_at <= (SELECT max(started_at) FROM ${topic})`;
  const comparisons = [
    () => compareSessions('sessions'),
    () => compareSessions('sessions_by_user'),
    () => compareSessions('sessions_by_destination'),
    compareTraffic,
    compareEnds,
    () => compareSessions('long_sessions', 'long'),
  ];

  let partitions = await comparePartitions();
  let tables: TableReport[] = [];
  for (const compare of comparisons) tables.push(await compare());
  for (let looks = 1; looks < LOOKS; looks += 1) {
    if (partitions.every(isWhole) && tables.every(isSame)) break;
    await delay(config.recheckMs);
    if (!partitions.every(isWhole)) partitions = await comparePartitions();
    const again: TableReport[] = [];
    for (const [index, table] of tables.entries()) {
      again.push(isSame(table) ? table : ((await comparisons[index]?.()) ?? table));
    }
    tables = again;
  }
  return { partitions, tables };

  async function comparePartitions(): Promise<PartitionReport[]> {
    const rows = await clickhouse.query({
      sql: `SELECT t.partition AS partition, count() AS events, countIf(e.seq IS NULL) AS missing
        FROM (SELECT DISTINCT partition, session_id, seq FROM ${topic} WHERE ${kept(config.retention.session_events)}) AS t
        LEFT JOIN (SELECT DISTINCT session_id, seq FROM session_events WHERE ${among}) AS e
          ON t.session_id = e.session_id AND t.seq = e.seq
        GROUP BY partition`,
      row: z.object({ partition: z.int(), events: int64, missing: int64 }),
      ...call,
    });
    const found = new Map(rows.map((row) => [row.partition, row]));
    return [...records]
      .toSorted(([a], [b]) => a - b)
      .map(([partition, total]) => ({
        partition,
        records: total,
        poison: poison.get(partition) ?? 0,
        events: found.get(partition)?.events ?? 0,
        missing: found.get(partition)?.missing ?? 0,
      }));
  }

  async function compareSessions(
    table: string,
    which: 'all' | 'long' = 'all',
  ): Promise<TableReport> {
    const isLong = isLongSql(`assumeNotNull(${time('occurred_at')})`);
    const [row] = await clickhouse.query({
      sql: `SELECT count() AS expected,
          countIf(a.version IS NULL OR a.version < t.version) AS missing,
          countIf(a.version = t.version AND a.fields != t.fields) AS different,
          countIf(a.version > t.version) AS newer,
          groupArrayIf(${EXAMPLES_MAX})(toString(t.session_id),
            a.version IS NULL OR a.version < t.version OR (a.version = t.version AND a.fields != t.fields)) AS examples
        FROM (
          SELECT session_id, toUInt32(max(rank)) AS version, argMax(fields, rank) AS fields
          FROM (SELECT session_id, seq * 2 - ${flag('assumed')} AS rank, ${isLong} AS is_long, ${FIELDS_OF_JSON} AS fields FROM ${topic} WHERE ${kept(config.retention.sessions)})
          GROUP BY session_id
          ${which === 'long' ? 'HAVING argMax(is_long, rank)' : ''}
        ) AS t
        LEFT JOIN (SELECT session_id, toNullable(version) AS version, ${FIELDS_OF_ROW} AS fields FROM ${table} FINAL WHERE ${among}) AS a
          ON t.session_id = a.session_id`,
      row: tableRow,
      ...call,
    });
    return reportOf(table, row);
  }

  /**
   * Every session that ended in another hour than it began in must be found by its end. One that ended in
   * another slice of ten minutes is found too, unless an ingest from before there were slices stored it. An
   * end that is not doubtful must equal the session's row, without the addresses if a former version stored it.
   */
  async function compareEnds(): Promise<TableReport> {
    const isMissing = 'is_needed AND NOT is_doubtful AND NOT is_ended';
    const isDifferent =
      'is_ended AND NOT is_doubtful AND NOT (is_session AND prints = 1 AND addresses = 1)';
    const isAddress = (name: string) => ENDED_ADDRESS_FIELDS.some((each) => each === name);
    const print = `cityHash64(${fingerprint(COPIED_TO_ENDED.filter((name) => !isAddress(name)))})`;
    const addresses = `cityHash64(${fingerprint(ENDED_ADDRESS_FIELDS)})`;
    const [row] = await clickhouse.query({
      sql: `SELECT countIf(is_needed) AS expected, countIf(${isMissing}) AS missing, countIf(${isDifferent}) AS different,
          0 AS newer, groupArrayIf(${EXAMPLES_MAX})(toString(session_id), (${isMissing}) OR (${isDifferent})) AS examples
        FROM (
          SELECT session_id, ended, max(side = 1) AS is_session, max(needed) AS is_needed, max(side = 2) AS is_ended, max(side = 3) AS is_doubtful,
            uniqExactIf(print, side < 3) AS prints, uniqExact(address) AS addresses
          FROM (
            SELECT session_id, assumeNotNull(ended_at) AS ended, 1 AS side, ${print} AS print, toNullable(${addresses}) AS address,
              toStartOfHour(ended) != toStartOfHour(started_at) AS needed FROM sessions FINAL
            WHERE ${among} AND ${kept(config.retention.sessions)} AND ended_at IS NOT NULL
              AND toStartOfTenMinutes(ended) != toStartOfTenMinutes(started_at)
            UNION ALL
            SELECT session_id, ended_at AS ended, 2 AS side, ${print} AS print,
              if(ifNull(egress_port = 0, false), NULL, ${addresses}) AS address, false AS needed FROM ended_sessions FINAL
            WHERE ${among} AND ${kept(config.retention.sessions)}
            UNION ALL
            SELECT session_id, ended_at AS ended, 3 AS side, 0 AS print, NULL AS address, false AS needed FROM session_ends WHERE ${among}
          )
          GROUP BY session_id, ended
        )`,
      row: tableRow,
      ...call,
    });
    return reportOf('ended_sessions', row);
  }

  /**
   * A minute must hold exactly the topic's traffic, unless the tables know later events of its session.
   * If the topic has a session as a whole, from its first number without a gap, a minute that it
   * does not know is wrong too.
   */
  async function compareTraffic(): Promise<TableReport> {
    const { session_traffic_1m: retention } = config.retention;
    const maxima = COUNTERS.map((name) => `max(JSONExtractUInt(value, 'minute', '${name}'))`);
    const side = (is: string) =>
      `[${COUNTERS.map((_, i) => `sumIf(counters[${i + 1}], ${is})`).join(', ')}]`;
    const isNewer = 'ifNull(i.stored, 0) > i.told';
    const isDifferent = `m.is_stored AND if(m.is_told,
      arrayExists((x, y) -> x < y, m.stored, m.told) OR (m.stored != m.told AND NOT (${isNewer})), NOT (${isNewer}))`;
    const isMissing = 'm.is_told AND NOT m.is_stored';
    const [row] = await clickhouse.query({
      sql: `SELECT countIf(m.is_told) AS expected, countIf(${isMissing}) AS missing, countIf(${isDifferent}) AS different,
          countIf(m.is_stored AND ${isNewer} AND NOT (${isDifferent}) AND m.stored != m.told) AS newer,
          groupUniqArrayIf(${EXAMPLES_MAX})(toString(m.session_id), (${isMissing}) OR (${isDifferent})) AS examples
        FROM (
          SELECT session_id, bucket, max(is_topic) AS is_told, max(NOT is_topic) AS is_stored,
            ${side('is_topic')} AS told, ${side('NOT is_topic')} AS stored
          FROM (
            SELECT session_id, bucket, true AS is_topic, [${maxima.join(', ')}] AS counters
            FROM (
              SELECT session_id, value, toStartOfMinute(assumeNotNull(${time('interval_start')})) AS bucket FROM ${topic}
              WHERE ${text('type')} != 'SessionStarted' AND ${kept(retention)}
            )
            GROUP BY session_id, bucket
            UNION ALL
            SELECT session_id, bucket, false AS is_topic, [${COUNTERS.join(', ')}] AS counters
            FROM session_traffic_1m FINAL WHERE ${among} AND ${kept(retention)}
          )
          WHERE arraySum(counters) > 0
          GROUP BY session_id, bucket
        ) AS m
        LEFT JOIN (
          SELECT t.session_id AS session_id, t.told AS told, t.is_whole AS is_whole, s.stored AS stored
          FROM (SELECT session_id, max(seq) AS told, uniqExact(seq) = told + 1 AS is_whole FROM ${topic} GROUP BY session_id) AS t
          LEFT JOIN (SELECT session_id, toNullable(intDiv(version + assumed, 2)) AS stored FROM sessions FINAL WHERE ${among}) AS s
          ON t.session_id = s.session_id
        ) AS i ON m.session_id = i.session_id
        WHERE m.is_told OR ifNull(i.is_whole, false)`,
      row: tableRow,
      ...call,
    });
    return reportOf('session_traffic_1m', row);
  }
}

function reportOf(table: string, row: z.output<typeof tableRow> | undefined): TableReport {
  const nothing = { expected: 0, missing: 0, different: 0, newer: 0, examples: [] };
  return { table, ...(row ?? nothing) };
}
