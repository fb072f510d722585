/**
 * Compares the topic with the tables. The topic's records are put into a table as they are, and what
 * the other tables should hold is computed from their JSON by SQL: by other code than the one that
 * folded them.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { readTopic } from '@sockscope/runtime/kafka';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { z } from 'zod';
import { createDecoder } from '../decode/decode-event.js';
import { EventView } from '../decode/event-view.js';
import type { RetentionConfig } from '../migrations/config.js';
import { findRollupDifferences } from '../rollups/index.js';

export interface PartitionReport {
  readonly partition: number;
  readonly records: number;
  /** Records that are no valid event. */
  readonly poison: number;
  /** Different (session_id, seq). */
  readonly events: number;
  /** Of these, not in `session_events`. */
  readonly missing: number;
}

export interface TableReport {
  readonly table: string;
  /** Rows that the topic says there should be, expired ones left out. */
  readonly expected: number;
  readonly missing: number;
  readonly different: number;
  /** Rows that are newer than the topic was when it was read, or that ingest itself wrote. */
  readonly newer: number;
  /** Ids of sessions that differ, at most ten. */
  readonly examples: readonly string[];
}

export interface Verification {
  readonly isEqual: boolean;
  readonly partitions: readonly PartitionReport[];
  readonly tables: readonly TableReport[];
  /** Rows of rollups that are not what the tables say, over the hours and days that are not marked as changed. */
  readonly rollupRows: number;
  /** Hours marked as changed and not recomputed yet. */
  readonly dirtyHours: number;
}

export interface VerifyConfig {
  readonly kafka: KafkaConfig;
  readonly retention: RetentionConfig;
  readonly timeoutMs: number;
}

export interface VerifyDeps {
  readonly clickhouse: ClickHouse;
  readonly logger: Logger;
  readonly onProgress: (done: number, total: number, what: string) => void;
}

const CHUNK_RECORDS = 50_000;
const EXAMPLES_MAX = 10;
/** Joins beyond memory go to disk. */
const SETTINGS = { join_algorithm: 'grace_hash', join_use_nulls: 1 };

const time = (name: string) =>
  `parseDateTime64BestEffortOrNull(JSONExtract(value, '${name}', 'Nullable(String)'), 3, 'UTC')`;
const text = (name: string) => `JSONExtractString(value, '${name}')`;
const optional = (name: string) => `JSONExtract(value, '${name}', 'Nullable(String)')`;
const count = (name: string) => `JSONExtractUInt(value, '${name}')`;
const optionalCount = (name: string) => `JSONExtract(value, '${name}', 'Nullable(UInt64)')`;
/** Addresses in the one form that an IPv6 column gives them. */
const address = (name: string) => `toIPv6OrNull(${optional(name)})`;

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
  updated_at: time('occurred_at'),
  ended_at: time('ended_at'),
  duration_ms: optionalCount('duration_ms'),
};
/** Both sides as text, null told from empty, so that types need not agree. */
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

/** Reads the whole topic and compares. Changes nothing but a table of its own, which it drops. */
export async function verify(config: VerifyConfig, deps: VerifyDeps): Promise<Verification> {
  const { clickhouse, onProgress } = deps;
  const topic = `ingest_verify_${randomBytes(4).toString('hex')}`;
  const call = { timeoutMs: config.timeoutMs, settings: SETTINGS };
  /** Bounds the reading of the tables by what their primary key or partitions begin with. */
  const among = `started_at >= (SELECT min(started_at) FROM ${topic}) AND started_at <= (SELECT max(started_at) FROM ${topic})`;
  await clickhouse.command({
    sql: `CREATE TABLE ${topic} (
        partition UInt32, value String CODEC(ZSTD(1)),
        session_id UUID DEFAULT toUUID(${text('session_id')}), seq UInt32 DEFAULT ${count('seq')},
        started_at DateTime64(3, 'UTC') DEFAULT ${time('started_at')}
      ) ENGINE = MergeTree ORDER BY (session_id, seq)`,
  });
  try {
    const { records, poison } = await loadTopic(config, topic, deps);
    onProgress(0, 1, 'comparing');
    const partitions = await comparePartitions(records, poison);
    const tables = [
      await compareSessions('sessions'),
      await compareSessions('sessions_by_user'),
      await compareSessions('sessions_by_destination'),
      await compareTraffic(),
    ];
    const { rollupRows, dirtyHours } = await compareRollups();
    const isEqual =
      partitions.every(({ missing }) => missing === 0) &&
      tables.every(({ missing, different }) => missing === 0 && different === 0) &&
      rollupRows === 0;
    return { isEqual, partitions, tables, rollupRows, dirtyHours };
  } finally {
    await clickhouse.command({ sql: `DROP TABLE ${topic} SYNC` });
  }

  async function comparePartitions(
    records: ReadonlyMap<number, number>,
    poison: ReadonlyMap<number, number>,
  ): Promise<PartitionReport[]> {
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

  async function compareSessions(table: string): Promise<TableReport> {
    const [row] = await clickhouse.query({
      sql: `SELECT count() AS expected,
          countIf(a.version IS NULL OR a.version < t.version) AS missing,
          countIf(a.version = t.version AND a.fields != t.fields) AS different,
          countIf(a.version > t.version) AS newer,
          groupArrayIf(${EXAMPLES_MAX})(toString(t.session_id),
            a.version IS NULL OR a.version < t.version OR (a.version = t.version AND a.fields != t.fields)) AS examples
        FROM (
          SELECT session_id, toUInt32(max(seq) * 2) AS version, argMax(fields, seq) AS fields
          FROM (SELECT session_id, seq, ${FIELDS_OF_JSON} AS fields FROM ${topic} WHERE ${kept(config.retention.sessions)})
          GROUP BY session_id
        ) AS t
        LEFT JOIN (SELECT session_id, toNullable(version) AS version, ${FIELDS_OF_ROW} AS fields FROM ${table} FINAL WHERE ${among}) AS a
          ON t.session_id = a.session_id`,
      row: tableRow,
      ...call,
    });
    return reportOf(table, row);
  }

  async function compareTraffic(): Promise<TableReport> {
    const maxima = COUNTERS.map((name) => `max(JSONExtractUInt(value, 'minute', '${name}'))`);
    const isMissing = 'a.bucket IS NULL';
    const isLess = `${isMissing} = 0 AND arrayExists((x, y) -> x < y, a.counters, t.counters)`;
    const isMore = `${isMissing} = 0 AND arrayExists((x, y) -> x > y, a.counters, t.counters)`;
    const [row] = await clickhouse.query({
      sql: `SELECT count() AS expected, countIf(${isMissing}) AS missing, countIf(${isLess}) AS different, countIf(${isMore}) AS newer,
          groupUniqArrayIf(${EXAMPLES_MAX})(toString(t.session_id), ${isMissing} OR (${isLess})) AS examples
        FROM (
          SELECT session_id, bucket, [${maxima.join(', ')}] AS counters
          FROM (
            SELECT session_id, value, toStartOfMinute(assumeNotNull(${time('interval_start')})) AS bucket FROM ${topic}
            WHERE ${text('type')} != 'SessionStarted' AND ${kept(config.retention.session_traffic_1m)}
          )
          GROUP BY session_id, bucket HAVING arraySum(counters) > 0
        ) AS t
        LEFT JOIN (
          SELECT session_id, toNullable(bucket) AS bucket, [${COUNTERS.join(', ')}] AS counters FROM session_traffic_1m FINAL WHERE ${among}
        ) AS a ON t.session_id = a.session_id AND t.bucket = a.bucket`,
      row: tableRow,
      ...call,
    });
    return reportOf('session_traffic_1m', row);
  }

  async function compareRollups(): Promise<{ rollupRows: number; dirtyHours: number }> {
    const dirty = await clickhouse.query({
      sql: 'SELECT DISTINCT toUnixTimestamp(hour) AS hour FROM ingest_dirty_hours FINAL WHERE done = 0',
      row: z.object({ hour: int64 }),
      ...call,
    });
    const hours = await clickhouse.query({
      sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(started_at)) AS hour FROM ${topic}
        WHERE ${kept(shortest(config.retention))}`,
      row: z.object({ hour: int64 }),
      ...call,
    });
    const marked = new Set(dirty.map(({ hour }) => hour));
    const differences = await findRollupDifferences(
      clickhouse,
      hours.map(({ hour }) => hour),
      config.timeoutMs,
      marked,
    );
    return {
      rollupRows: differences.reduce((sum, { rows }) => sum + rows, 0),
      dirtyHours: marked.size,
    };
  }
}

/** What has not expired yet, with a day's grace for parts that have not been dropped. */
function kept(retentionMs: number): string {
  if (retentionMs === 0) return '1';
  const days = Math.max(0, Math.ceil(retentionMs / 86_400_000) - 1);
  return `started_at >= now() - INTERVAL ${days} DAY`;
}

function shortest(retention: RetentionConfig): number {
  const { sessions, session_traffic_1m, rollup_1h, rollup_pairs_1h } = retention;
  const limited = [sessions, session_traffic_1m, rollup_1h, rollup_pairs_1h].filter((ms) => ms > 0);
  return limited.length === 0 ? 0 : Math.min(...limited);
}

function reportOf(table: string, row: z.output<typeof tableRow> | undefined): TableReport {
  const nothing = { expected: 0, missing: 0, different: 0, newer: 0, examples: [] };
  return { table, ...(row ?? nothing) };
}

/** Puts the topic's events into the table as they are. */
async function loadTopic(config: VerifyConfig, table: string, deps: VerifyDeps) {
  const records = new Map<number, number>();
  const poison = new Map<number, number>();
  const view = new EventView();
  const decoder = createDecoder(view);
  let lines: string[] = [];

  async function flush(): Promise<void> {
    const bytes = [Buffer.from(lines.join('\n'))];
    lines = [];
    await deps.clickhouse.insert({
      table,
      columns: ['partition', 'value'],
      format: 'JSONCompactEachRow',
      bytes,
      timeoutMs: config.timeoutMs,
    });
  }

  await readTopic(
    { kafka: config.kafka, topic: config.kafka.topic },
    {
      async onBatch({ partition, records: cursor }) {
        while (cursor.next()) {
          records.set(partition, (records.get(partition) ?? 0) + 1);
          const { bytes, valueStart, valueLength } = cursor;
          if (decoder.decode(bytes, valueStart, valueLength) !== null) {
            poison.set(partition, (poison.get(partition) ?? 0) + 1);
            continue;
          }
          const value = bytes.toString('utf8', valueStart, valueStart + valueLength);
          lines.push(JSON.stringify([partition, value]));
        }
        if (lines.length >= CHUNK_RECORDS) await flush();
      },
      onProgress: (done, total) => {
        deps.onProgress(done, total, 'records read');
      },
    },
    { logger: deps.logger },
  );
  if (lines.length > 0) await flush();
  return { records, poison };
}
