/**
 * Guarantee: an open session is declared lost only if all events of its partition, up to the time
 * at which a heartbeat was due, have been folded. Later events override that.
 *
 * While the session's process sends events, its own clock decides, which may be slow. When it sends
 * no more, the time of all processes decides.
 *
 * The order of the writes makes a crash harmless: the list of lost sessions first, the copies of the
 * row before `sessions` (where the next search looks), then the marks of the hours that count the end,
 * then the list again. The next search repeats a step that was cut off in between.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { int64, isoTime } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { KafkaAdmin } from '@sockscope/runtime/kafka';
import { lostRowOf } from '@sockscope/schemas';
import { floorTo, HOUR_MS, isLong } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { changedHours, createBuckets } from '../rollups/buckets.js';
import { SESSION_COLUMNS } from '../tables/columns.js';
import type { LostConfig } from './config.js';
import { foldedUntilMs } from './event-time.js';
import { LOST_STATE } from './states.js';
import type { LostMetrics } from './metrics.js';
import { createLongSessions } from './long-sessions.js';
import { createSharedIds } from './shared-ids.js';

/** Sessions declared lost with one set of inserts. */
const CHUNK_MAX = 5_000;
/** Sets of inserts in one search; the rest waits for the next search. */
const CHUNKS_MAX = 20;
/**
 * While the newest folded event of a partition is older than this, its sessions are not judged, for
 * example when an old topic is read for the first time. Every proxy in the table would look recent then.
 */
const FAR_BEHIND_MS = 86_400_000;
/** Deadline of marking the hours of lost sessions. */
const MARK_TIMEOUT_MS = 60_000;
const COLUMN_NAMES = Object.keys(SESSION_COLUMNS);
const INSERT_SETTINGS = {
  date_time_input_format: 'best_effort',
  // Sessions of any number of days are found at once. The default refuses more than 100, and a search
  // that is refused finds the same sessions again, for ever.
  max_partitions_per_insert_block: 0,
};

export interface LostSessions extends Component {
  /** One search, whether it is due or not. Resolves with the number of sessions declared lost. */
  search(): Promise<number>;
}

export interface LostDeps {
  readonly topic: string;
  readonly clickhouse: ClickHouse;
  readonly admin: Pick<KafkaAdmin, 'describeTopic'>;
  /** Whether this process searches; two at once are harmless. */
  readonly leads: () => boolean;
  readonly logger: Logger;
  readonly metrics: LostMetrics;
}

/** A row of `sessions` to insert again: texts and numbers as the database sent them. */
type Row = Readonly<Record<string, unknown>> & {
  readonly session_id: string;
  readonly started_at: string;
  readonly updated_at: string;
  readonly seq: number;
};

/** A process of a proxy with recently stored events. */
interface HeardProcess {
  readonly proxy: string;
  readonly epoch: number;
  /** How slow its clock is at most. */
  readonly slowMs: number;
}

/** The present by which a partition's sessions are judged, milliseconds since 1970, for each partition. */
interface Times {
  /** Partitions of the topic. A session's id is the key of its events, and decides its partition. */
  readonly partitions: number;
  readonly untilMs: ReadonlyMap<number, number>;
}

const sessionRow = z.looseObject({
  session_id: z.string(),
  started_at: isoTime,
  updated_at: isoTime,
  seq: z.int(),
});

/** Each shard looks up the keys of its own sessions. */
const OPEN_SETTINGS = { distributed_product_mode: 'local' } as const;

/**
 * Open sessions of which nothing was heard since {silent_since}, by the time of events. Keys with such a version are
 * found by the index of `status`, and FINAL decides about these: alone it would read whole days (ADR 0044). Nearly all
 * open sessions send heartbeats, or are younger, and are not looked at.
 */
const SILENT = (() => {
  const since = "fromUnixTimestamp64Milli({silent_since:Int64}, 'UTC')";
  const isSilent = `status = 'active' AND started_at < ${since} AND updated_at < ${since}`;
  return `${isSilent} AND (started_at, session_id) IN (
          SELECT started_at, session_id FROM sessions WHERE ${isSilent})`;
})();

/** @param now milliseconds since 1970. */
export function createLostSessions(
  config: LostConfig,
  deps: LostDeps,
  now: () => number = Date.now,
): LostSessions {
  const { clickhouse, logger, metrics } = deps;
  const ending = new AbortController();
  const { signal } = ending;
  const buckets = createBuckets(clickhouse, { timeoutMs: MARK_TIMEOUT_MS, signal });
  const copyLongEnds = createLongSessions(clickhouse);
  const lookForSharedIds = createSharedIds({ clickhouse, logger, metrics });
  let running: Promise<void> | null = null;

  /** The partitions of the topic, and the times of those whose sessions can be judged. */
  async function foldedUntil(): Promise<Times | null> {
    // The ends first: if the offsets that are read later reach them, all records below are folded.
    const topic = await deps.admin.describeTopic(deps.topic);
    if (topic === null) return null;
    const stored = await clickhouse.query({
      sql: `SELECT partition, toUnixTimestamp64Milli(watermark) AS watermark_ms, next_offset
        FROM ingest_watermarks FINAL WHERE topic = {topic:String}`,
      params: { topic: deps.topic },
      row: z.object({ partition: z.int(), watermark_ms: int64, next_offset: int64 }),
      signal,
    });
    const byPartition = new Map(stored.map((row) => [row.partition, row]));
    const untilMs = foldedUntilMs(
      topic.map(({ partition, earliestOffset, endOffset }) => {
        const row = byPartition.get(partition);
        return {
          partition,
          watermarkMs: row === undefined || row.watermark_ms === 0 ? null : row.watermark_ms,
          nextOffset: row?.next_offset ?? null,
          earliestOffset,
          endOffset,
        };
      }),
    );
    // The events since then would be most of an old topic that is read for the first time.
    const judged = new Map([...untilMs].filter(([, ms]) => now() - ms <= FAR_BEHIND_MS));
    return judged.size === 0 ? null : { partitions: topic.length, untilMs: judged };
  }

  /** No session that was heard of later is lost, milliseconds since 1970. */
  function silentSince(untilMs: Times['untilMs']): number {
    return Math.max(...untilMs.values()) - Math.min(config.after_ms, config.replaced_after_ms);
  }

  /** Proxies with open sessions that were silent for longer than any may be, by the time of all. */
  async function silentProxies({ untilMs }: Times): Promise<string[]> {
    const rows = await clickhouse.query({
      sql: `SELECT DISTINCT toString(proxy_id) AS proxy FROM sessions FINAL WHERE ${SILENT}`,
      params: { silent_since: silentSince(untilMs) },
      row: z.object({ proxy: z.string() }),
      settings: OPEN_SETTINGS,
      signal,
    });
    return rows.map(({ proxy }) => proxy);
  }

  /**
   * Returns the processes of these proxies with an event stored since their last heartbeat was due, and
   * the largest possible delay of their clocks. The time of storing counts, because their clocks may be
   * wrong. It is compared with the present of the slowest judged partition, not with now: otherwise
   * ingest would know no live proxy after a long stop.
   *
   * An event is stored after it occurred. So a clock is at most as slow as the longest delay of an
   * event. With a correct clock, this adds only that delay.
   */
  async function heardLately(
    proxies: readonly string[],
    { untilMs }: Times,
  ): Promise<HeardProcess[]> {
    const rows = await clickhouse.query({
      sql: `SELECT toString(proxy_id) AS proxy, proxy_epoch AS epoch,
          max(toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(occurred_at)) AS slow_ms
        FROM session_events
        WHERE ingested_at > fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') AND toString(proxy_id) IN {proxies:Array(String)}
        GROUP BY proxy, epoch`,
      params: { since_ms: Math.min(...untilMs.values()) - config.after_ms, proxies },
      row: z.object({ proxy: z.string(), epoch: int64, slow_ms: int64 }),
      signal,
    });
    return rows.map(({ proxy, epoch, slow_ms }) => ({
      proxy,
      epoch,
      slowMs: Math.max(0, slow_ms),
    }));
  }

  /** If several versions of the topic's size disagree about a session, its next event corrects it. */
  async function candidates(
    { partitions, untilMs }: Times,
    heard: readonly HeardProcess[],
  ): Promise<Row[]> {
    const newest = newestOf(heard);
    return clickhouse.query({
      sql: `WITH
          bitAnd(kafkaMurmurHash(toString(session_id)), 2147483647) % {partitions:UInt32} AS partition,
          transform(partition, {judged:Array(UInt32)}, {until_ms:Array(Int64)}, toInt64(0)) AS until_ms,
          transform(concat(toString(proxy_id), '/', toString(proxy_epoch)), {processes:Array(String)}, {slow_ms:Array(Int64)}, toInt64(0)) AS slow_ms,
          transform(toString(proxy_id), {proxies:Array(String)}, {epochs:Array(UInt64)}, toUInt64(0)) AS newest_epoch,
          transform(toString(proxy_id), {proxies:Array(String)}, {newest_slow_ms:Array(Int64)}, toInt64(0)) AS newest_slow_ms
        SELECT ${COLUMN_NAMES.join(', ')} FROM sessions FINAL
        WHERE ${SILENT}
          AND has({judged:Array(UInt32)}, partition) AND toUnixTimestamp64Milli(started_at) < until_ms AND (
            toUnixTimestamp64Milli(updated_at) < until_ms - slow_ms - {after_ms:Int64}
            OR (proxy_epoch < newest_epoch
              AND toUnixTimestamp64Milli(updated_at) < until_ms - newest_slow_ms - {replaced_after_ms:Int64}))
        LIMIT {limit:UInt32}`,
      params: {
        partitions,
        judged: [...untilMs.keys()],
        until_ms: [...untilMs.values()],
        silent_since: silentSince(untilMs),
        after_ms: config.after_ms,
        replaced_after_ms: config.replaced_after_ms,
        limit: CHUNK_MAX,
        processes: heard.map(({ proxy, epoch }) => `${proxy}/${epoch}`),
        slow_ms: heard.map(({ slowMs }) => slowMs),
        proxies: newest.map(({ proxy }) => proxy),
        epochs: newest.map(({ epoch }) => epoch),
        newest_slow_ms: newest.map(({ slowMs }) => slowMs),
      },
      row: sessionRow,
      settings: OPEN_SETTINGS,
      signal,
    });
  }

  async function declare(rows: readonly Row[]): Promise<void> {
    const lost = rows.map((row) => Object.assign({}, row, lostRowOf(row)));
    await list(lost, LOST_STATE.declared);
    const cells = lost.map(cellsOf);
    await insert('sessions_by_user', COLUMN_NAMES, cells);
    await insert('sessions_by_destination', COLUMN_NAMES, cells);
    await insert('long_sessions', COLUMN_NAMES, lost.filter(isLong).map(cellsOf));
    await insert(
      'session_ends',
      ['ended_at', 'started_at', 'session_id'],
      lost.map((row) => [row.ended_at, row.started_at, row.session_id]),
    );
    await insert('sessions', COLUMN_NAMES, cells);
    await count(lost);
  }

  /** Marks the hours in which the sessions end, and those in which they may have been missed. */
  async function count(lost: readonly LostEntry[]): Promise<void> {
    await buckets.mark(changedHours(new Set(lost.map((row) => hourOf(row.ended_at)))));
    await list(lost, LOST_STATE.counted);
  }

  /** Sessions that an earlier search declared lost but did not count. */
  async function finishEarlier(): Promise<void> {
    const rows = await clickhouse.query({
      sql: `SELECT session_id, started_at, ended_at, version FROM ingest_lost_sessions FINAL
        WHERE state = {declared:UInt8} LIMIT {limit:UInt32}`,
      params: { declared: LOST_STATE.declared, limit: CHUNK_MAX },
      row: z.object({
        session_id: z.string(),
        started_at: isoTime,
        ended_at: isoTime,
        version: int64,
      }),
      signal,
    });
    if (rows.length > 0) await count(rows);
  }

  function list(lost: readonly LostEntry[], state: number): Promise<void> {
    return insert(
      'ingest_lost_sessions',
      ['session_id', 'started_at', 'ended_at', 'version', 'state'],
      lost.map((row) => [row.session_id, row.started_at, row.ended_at, row.version, state]),
    );
  }

  async function insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly unknown[])[],
  ): Promise<void> {
    if (rows.length === 0) return;
    await clickhouse.insert({
      table,
      columns,
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
      settings: INSERT_SETTINGS,
      signal,
    });
  }

  async function search(): Promise<number> {
    await finishEarlier();
    const times = await foldedUntil();
    if (times === null) return 0;
    const proxies = await silentProxies(times);
    if (proxies.length === 0) return 0;
    const heard = await heardLately(proxies, times);
    let declared = 0;
    for (let chunk = 0; chunk < CHUNKS_MAX; chunk += 1) {
      // One after the other: a chunk that is declared is no candidate any more.
      const rows = await candidates(times, heard);
      if (rows.length > 0) await declare(rows);
      declared += rows.length;
      metrics.declared.inc(rows.length);
      if (rows.length < CHUNK_MAX) break;
    }
    if (declared > 0) logger.warn({ sessions: declared }, 'sessions declared lost');
    return declared;
  }

  async function loop(): Promise<void> {
    while (!signal.aborted) {
      await delay(config.interval_ms, undefined, { signal }).catch(() => undefined);
      if (signal.aborted || !deps.leads()) continue;
      try {
        await lookForSharedIds(signal);
        await search();
        await copyLongEnds(signal);
      } catch (error) {
        if (signal.aborted) return;
        metrics.failures.inc();
        logger.error(
          { err: error },
          `the search for lost sessions failed and will be repeated: ${messageOf(error)}`,
        );
      }
    }
  }

  return {
    search,
    start() {
      running ??= loop();
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}

/** The newest process of each proxy: sessions of an older one are judged by its time. */
function newestOf(heard: readonly HeardProcess[]): HeardProcess[] {
  const newest = new Map<string, HeardProcess>();
  for (const process of heard) {
    const known = newest.get(process.proxy);
    if (known === undefined || known.epoch < process.epoch) newest.set(process.proxy, process);
  }
  return [...newest.values()];
}

interface LostEntry {
  readonly session_id: string;
  readonly started_at: string;
  readonly ended_at: string;
  readonly version: number;
}

function cellsOf(row: Readonly<Record<string, unknown>>): unknown[] {
  return COLUMN_NAMES.map((name) => row[name]);
}

/** Seconds since 1970. */
function hourOf(time: string): number {
  return floorTo(Date.parse(time), HOUR_MS) / 1_000;
}
