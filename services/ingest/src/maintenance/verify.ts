/**
 * Compares the topic with the tables. The topic's records are put into a table as they are, and what
 * the other tables should hold is computed from their JSON by SQL: by other code than the one that
 * folded them.
 *
 * Ingest may run meanwhile. Then the parts of a batch, or of a round of the rollups, are seen one
 * before the other; so a difference counts only if it is found repeatedly. Sums are compared only
 * for hours that were not marked as changed meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '@sockscope/runtime';
import { int64, quoteIdentifier } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { z } from 'zod';
import type { RetentionConfig } from '../migrations/config.js';
import { createBuckets } from '../rollups/buckets.js';
import { findRollupDifferences } from '../rollups/compare.js';
import { dayOf, weekOfS } from '../rollups/expiry.js';
import { readEvents } from './read-events.js';
import type { Stop } from './read-events.js';

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
  /** Rows that hold less, more or something else, and minutes that no event says. */
  readonly different: number;
  /**
   * Rows of sessions that the tables know more recent events of than the topic had when it was read, and
   * rows that ingest itself wrote.
   */
  readonly newer: number;
  /** Ids of sessions that differ, at most ten. */
  readonly examples: readonly string[];
}

export interface Verification {
  /** Of what could be compared. */
  readonly isEqual: boolean;
  /** Partitions that wait: what lies behind was not compared. */
  readonly stops: readonly Stop[];
  readonly partitions: readonly PartitionReport[];
  readonly tables: readonly TableReport[];
  /** Rows of rollups that are not what the tables say, over the hours that are not marked as changed. */
  readonly rollupRows: number;
  /** Hours marked as changed and not recomputed yet, or that changed meanwhile. Their sums were not compared. */
  readonly dirtyHours: number;
}

export interface VerifyConfig {
  readonly kafka: KafkaConfig;
  readonly retention: RetentionConfig;
  /** Deadline of one statement, milliseconds. */
  readonly timeoutMs: number;
  /** Between two looks at the same difference, milliseconds: time for a batch to become whole. */
  readonly recheckMs: number;
  /** All sessions where not given. */
  readonly range?: VerifyRange;
  /** Ends it; its table is dropped all the same. */
  readonly signal?: AbortSignal;
}

/** Sessions that began in [fromMs, toMs), milliseconds since 1970. */
export interface VerifyRange {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface VerifyDeps {
  readonly clickhouse: ClickHouse;
  readonly logger: Logger;
  readonly onProgress: (done: number, total: number, what: string) => void;
}

const TABLE_PREFIX = 'ingest_verify_';
/** The table of a process on another machine is taken for left after this time. */
const LEFT_AFTER_S = 86_400;
const CHUNK_RECORDS = 50_000;
const EXAMPLES_MAX = 10;
/** A difference that is found so many times in a row is one. */
const LOOKS = 3;
/** Joins beyond memory go to disk. */
const SETTINGS = { join_algorithm: 'grace_hash', join_use_nulls: 1 };

const time = (name: string) =>
  `parseDateTime64BestEffortOrNull(JSONExtract(value, '${name}', 'Nullable(String)'), 3, 'UTC')`;
const text = (name: string) => `JSONExtractString(value, '${name}')`;
const optional = (name: string) => `JSONExtract(value, '${name}', 'Nullable(String)')`;
const count = (name: string) => `JSONExtractUInt(value, '${name}')`;
const optionalCount = (name: string) => `JSONExtract(value, '${name}', 'Nullable(UInt64)')`;
const flag = (name: string) => `JSONExtractBool(value, '${name}')`;
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
  const topic = `${TABLE_PREFIX}${randomBytes(4).toString('hex')}`;
  const call = { timeoutMs: config.timeoutMs, settings: SETTINGS, signal: config.signal };
  /** Bounds the reading of the tables by what their primary key or partitions begin with. */
  const among = `started_at >= (SELECT min(started_at) FROM ${topic}) AND started_at <= (SELECT max(started_at) FROM ${topic})`;
  /** Buckets whose sums cannot be compared, because they are dirty or were meanwhile, as `span start`. */
  const changing = new Set<string>();
  const buckets = createBuckets(clickhouse, { timeoutMs: config.timeoutMs });
  await dropLeftTables(clickhouse);
  await clickhouse.command({
    sql: `CREATE TABLE ${topic} (
        partition UInt32, value String CODEC(ZSTD(1)),
        session_id UUID DEFAULT toUUID(${text('session_id')}), seq UInt32 DEFAULT ${count('seq')},
        started_at DateTime64(3, 'UTC') DEFAULT ${time('started_at')}
      ) ENGINE = MergeTree ORDER BY (session_id, seq) COMMENT '${ownerOf(process.pid)}'`,
  });
  try {
    const { records, poison, stops } = await loadTopic(config, topic, deps);
    onProgress(0, 1, 'comparing');
    const { partitions, tables } = await compareTables(records, poison);
    const rollups = await compareRollups();
    const isEqual = partitions.every(isWhole) && tables.every(isSame) && rollups.rollupRows === 0;
    return { isEqual, stops, partitions, tables, ...rollups };
  } finally {
    await clickhouse.command({ sql: `DROP TABLE ${topic} SYNC` });
  }

  /** What differs is looked at again. */
  async function compareTables(
    records: ReadonlyMap<number, number>,
    poison: ReadonlyMap<number, number>,
  ) {
    const comparisons = [
      () => compareSessions('sessions'),
      () => compareSessions('sessions_by_user'),
      () => compareSessions('sessions_by_destination'),
      compareTraffic,
      compareEnds,
    ];

    let partitions = await comparePartitions(records, poison);
    let tables: TableReport[] = [];
    for (const compare of comparisons) tables.push(await compare());
    for (let looks = 1; looks < LOOKS; looks += 1) {
      if (partitions.every(isWhole) && tables.every(isSame)) break;
      await delay(config.recheckMs);
      if (!partitions.every(isWhole)) partitions = await comparePartitions(records, poison);
      const again: TableReport[] = [];
      for (const [index, table] of tables.entries()) {
        again.push(isSame(table) ? table : ((await comparisons[index]?.()) ?? table));
      }
      tables = again;
    }
    return { partitions, tables };
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
          SELECT session_id, toUInt32(max(rank)) AS version, argMax(fields, rank) AS fields
          FROM (SELECT session_id, seq * 2 - ${flag('assumed')} AS rank, ${FIELDS_OF_JSON} AS fields FROM ${topic} WHERE ${kept(config.retention.sessions)})
          GROUP BY session_id
        ) AS t
        LEFT JOIN (SELECT session_id, toNullable(version) AS version, ${FIELDS_OF_ROW} AS fields FROM ${table} FINAL WHERE ${among}) AS a
          ON t.session_id = a.session_id`,
      row: tableRow,
      ...call,
    });
    return reportOf(table, row);
  }

  /** Every session that ended in another hour than it began in must be found by its end. */
  async function compareEnds(): Promise<TableReport> {
    const [row] = await clickhouse.query({
      sql: `SELECT count() AS expected, countIf(e.session_id IS NULL) AS missing, 0 AS different, 0 AS newer,
          groupArrayIf(${EXAMPLES_MAX})(toString(s.session_id), e.session_id IS NULL) AS examples
        FROM (SELECT session_id, ended_at FROM sessions FINAL
          WHERE ${among} AND ended_at IS NOT NULL
            AND toStartOfHour(assumeNotNull(ended_at)) != toStartOfHour(started_at)) AS s
        LEFT JOIN (SELECT DISTINCT session_id, toNullable(ended_at) AS end FROM session_ends WHERE ${among}) AS e
          ON s.session_id = e.session_id AND s.ended_at = e.end`,
      row: tableRow,
      ...call,
    });
    return reportOf('session_ends', row);
  }

  /**
   * A minute must hold exactly what the topic says, unless the tables know later events of its session.
   * Where the topic tells a session as a whole, from its first number without a gap, a minute that it
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

  async function compareRollups() {
    const hours = await clickhouse.query({
      sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(started_at)) AS hour FROM ${topic}
        WHERE ${kept(config.retention.sessions)} ORDER BY hour`,
      row: z.object({ hour: int64 }),
      ...call,
    });
    const byWeek = new Map<number, number[]>();
    for (const { hour } of hours) {
      const week = weekOfS(hour);
      byWeek.set(week, [...(byWeek.get(week) ?? []), hour]);
    }
    let rollupRows = 0;
    for (const hoursOfWeek of byWeek.values()) rollupRows += await compareWeek(hoursOfWeek);
    const dirtyHours = [...changing].filter((name) => name.startsWith('hour ')).length;
    return { rollupRows, dirtyHours };
  }

  /** Sums of a week that differ at several looks, of buckets that nothing changed meanwhile. */
  async function compareWeek(hours: readonly number[]): Promise<number> {
    for (let looks = 1; ;) {
      // Every turn is a look, or finds a bucket more that changes.
      await readMarks();
      const known = changing.size;
      const found = await findRollupDifferences(clickhouse, hours, {
        retention: config.retention,
        dirty: withCoarser(changing),
        timeoutMs: config.timeoutMs,
      });
      const rows = found.reduce((sum, each) => sum + each.rows, 0);
      if (rows === 0) return 0;
      await readMarks();
      if (changing.size > known) continue;
      if (looks === LOOKS) return rows;
      looks += 1;
      // The marks of a batch come after its rows.
      await delay(config.recheckMs);
    }
  }

  /** Adds the buckets that are dirty to those that change. */
  async function readMarks(): Promise<void> {
    for (const { span, bucket } of (await buckets.dirty()).buckets)
      changing.add(`${span} ${bucket}`);
  }
}

/** A day whose hours are dirty cannot be compared either, nor can its week. */
function withCoarser(names: ReadonlySet<string>): Set<string> {
  const all = new Set(names);
  for (const name of names) {
    const [span = '', start = ''] = name.split(' ');
    const detail = span.startsWith('detail_') ? 'detail_' : '';
    all.add(`${detail}day ${dayOf(Number(start))}`);
    all.add(`week ${weekOfS(Number(start))}`);
  }
  return all;
}

function isWhole({ missing }: PartitionReport): boolean {
  return missing === 0;
}

function isSame({ missing, different }: TableReport): boolean {
  return missing === 0 && different === 0;
}

/** What has not expired yet, with a day's grace for parts that have not been dropped. */
function kept(retentionMs: number): string {
  if (retentionMs === 0) return '1';
  const days = Math.max(0, Math.ceil(retentionMs / 86_400_000) - 1);
  return `started_at >= now() - INTERVAL ${days} DAY`;
}

function reportOf(table: string, row: z.output<typeof tableRow> | undefined): TableReport {
  const nothing = { expected: 0, missing: 0, different: 0, newer: 0, examples: [] };
  return { table, ...(row ?? nothing) };
}

/** Whose table it is: a process that is gone has left it. */
function ownerOf(pid: number): string {
  return `${hostname()} ${pid}`;
}

/** Drops the tables of runs that were killed. */
async function dropLeftTables(clickhouse: ClickHouse): Promise<void> {
  const tables = await clickhouse.query({
    sql: `SELECT name, comment, dateDiff('second', metadata_modification_time, now()) AS age_s
      FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})`,
    params: { database: clickhouse.database, prefix: TABLE_PREFIX },
    row: z.object({ name: z.string(), comment: z.string(), age_s: int64 }),
  });
  for (const { name, comment, age_s } of tables) {
    const [host = '', pid = ''] = comment.split(' ');
    const isLeft = host === hostname() ? !isRunning(Number(pid)) : age_s > LEFT_AFTER_S;
    if (isLeft)
      await clickhouse.command({ sql: `DROP TABLE IF EXISTS ${quoteIdentifier(name)} SYNC` });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Puts the topic's events into the table as they are. */
async function loadTopic(config: VerifyConfig, table: string, deps: VerifyDeps) {
  const records = new Map<number, number>();
  const poison = new Map<number, number>();
  const { range } = config;
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

  const stops = await readEvents(
    config.kafka,
    { ...deps, signal: config.signal },
    {
      event(partition, { startedAtMs }, { bytes, valueStart, valueLength }) {
        add(records, partition);
        if (range !== undefined && (startedAtMs < range.fromMs || startedAtMs >= range.toMs))
          return;
        const value = bytes.toString('utf8', valueStart, valueStart + valueLength);
        lines.push(JSON.stringify([partition, value]));
      },
      poison(partition) {
        add(records, partition);
        add(poison, partition);
      },
      async flush() {
        if (lines.length >= CHUNK_RECORDS) await flush();
      },
      progress(done, total) {
        deps.onProgress(done, total, 'records read');
      },
    },
  );
  if (lines.length > 0) await flush();
  return { records, poison, stops };
}

function add(counts: Map<number, number>, partition: number): void {
  counts.set(partition, (counts.get(partition) ?? 0) + 1);
}
