import { bool } from '@sockscope/runtime/clickhouse';
import { SESSION_EVENT_TYPES } from '@sockscope/schemas';
import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import type { Query } from './query.js';

const storedRow = z.object({
  now: wireTime,
  proxy_id: z.string(),
  is_total: z.int(),
  counts: z.array(int64),
  delays: z.array(z.number()),
  last_event_at: wireTime,
  last_stored_at: wireTime,
});

const PROXIES_MAX = 1_000;
const PARTITIONS_MAX = 10_000;

/** Counts recently stored events, of all proxies together first, then of each. */
export function storedLatelyQuery(windowSeconds: number, minutes: number): Query<typeof storedRow> {
  const isInWindow = 'ingested_at >= now64(3) - toIntervalSecond({window:UInt32})';
  const counts = SESSION_EVENT_TYPES.map((type) => `countIf(type = '${type}' AND ${isInWindow})`);
  return {
    name: 'pipeline_stored',
    sql: `SELECT now64(3) AS now, toString(proxy_id) AS proxy_id,
        toUInt8(grouping(proxy_id)) AS is_total, [${counts.join(', ')}] AS counts,
        if(countIf(${isInWindow}) = 0, [], quantilesIf(0.5, 0.99)(
          dateDiff('millisecond', occurred_at, ingested_at), ${isInWindow})) AS delays,
        max(occurred_at) AS last_event_at, max(ingested_at) AS last_stored_at
      FROM session_events
      WHERE ingested_at >= now64(3) - toIntervalMinute({minutes:UInt32})
      GROUP BY GROUPING SETS ((proxy_id), ())
      ORDER BY is_total DESC, proxy_id
      LIMIT {limit:UInt32}`,
    params: { window: windowSeconds, minutes, limit: PROXIES_MAX },
    row: storedRow,
    settings: { prefer_column_name_to_alias: 1 },
    reuse: true,
    // Events are counted as they arrive, even if their session began long ago.
    seesExpired: true,
  };
}

const deadLetterRow = z.object({
  reason: z.string(),
  letters: int64,
  last_at: wireTime,
  topic: z.string(),
  partition: z.int(),
  offset: int64,
  detail: z.string(),
});

/** Dead letters of the last hours by reason, with the newest of each. */
export function deadLettersQuery(hours: number): Query<typeof deadLetterRow> {
  const newest = (column: string) => `argMax(d.${column}, d.at)`;
  return {
    name: 'pipeline_dead_letters',
    sql: `SELECT toString(d.reason) AS reason, sum(d.letters) AS letters, max(d.at) AS last_at,
        toString(${newest('topic')}) AS topic, ${newest('partition')} AS partition,
        ${newest('offset')} AS offset, ${newest('detail')} AS detail
      FROM ingest_dead_letters AS d
      WHERE d.at >= now64(3) - toIntervalHour({hours:UInt32})
      GROUP BY d.reason ORDER BY sum(d.letters) DESC, d.reason`,
    params: { hours },
    row: deadLetterRow,
    settings: { prefer_column_name_to_alias: 1 },
    reuse: true,
  };
}

const partitionRow = z.object({
  topic: z.string(),
  partition: z.int(),
  next_offset: int64,
  caught_up: bool,
  watermark: wireTime,
  observed_at: wireTime,
  is_waiting: bool,
  kind: z.string(),
  reason: z.string(),
  offset: int64,
  since: wireTime,
});

/** Reads the position of ingest in each partition, and the partitions that wait. */
export function partitionsQuery(): Query<typeof partitionRow> {
  return {
    name: 'pipeline_partitions',
    sql: `SELECT m.topic AS topic, m.partition AS partition, m.next_offset AS next_offset,
        m.caught_up AS caught_up, m.watermark AS watermark, m.observed_at AS observed_at,
        w.is_waiting AS is_waiting, toString(w.kind) AS kind, w.reason AS reason,
        w.offset AS offset, w.since AS since
      FROM (SELECT * FROM ingest_watermarks FINAL) AS m
      LEFT JOIN (SELECT * FROM ingest_waits FINAL) AS w
        ON w.topic = m.topic AND w.partition = m.partition
      ORDER BY topic, partition LIMIT {limit:UInt32}`,
    params: { limit: PARTITIONS_MAX },
    row: partitionRow,
    reuse: true,
  };
}
