/**
 * Guarantee: once a round has finished with nothing left, the sums per hour and day equal what the
 * exact tables held when the round read its marks, whatever was retried, repeated or run twice at once.
 *
 * - A mark is read before `computed_at` is drawn from the server's clock, and that before the rows are
 *   read. So of two rounds at once, the rows of the one with the later `computed_at`, which win, have
 *   seen every row whose mark the other one is about to settle.
 * - Only the marks that were read are settled, and only after every table has taken the new sums; a
 *   crash in between repeats the work.
 * - The work of a round is bounded by hours, its part of the time by `share_percent`.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { z } from 'zod';
import type { RollupsConfig } from './config.js';
import type { RollupMetrics } from './metrics.js';
import {
  countDifferences,
  DAY_TARGETS,
  HOUR_TARGETS,
  REPLACE_DURATIONS,
  replaceDayStatement,
  replaceStatement,
} from './sql.js';

const HOUR_S = 3_600;
const DAY_S = 86_400;
/** Marks read in one round; more of them wait. A batch makes a handful. */
const MARKS_MAX = 20_000;
/** Sessions whose former ends are looked up in one round. */
const SESSIONS_MAX = 2_000;
/** Declared lost, unresolved, the newest: so many are compared with `sessions` at a time. */
const LOST_MAX = 10_000;
/** `state` in ingest_lost_sessions, see lost.ts. */
const OVERRIDDEN = 2;
const LOST_CHECK_INTERVAL_MS = 60_000;

export interface RoundResult {
  readonly hours: number;
  /** Hours left marked. 0: the sums are as fresh as `freshAt`. */
  readonly left: number;
}

export interface Rollups extends Component {
  /** One round, whether it is due or not. @param checkLost whether lost sessions are compared too. */
  round(checkLost?: boolean): Promise<RoundResult>;
}

/** How long the tables that sums are made from keep their rows, in milliseconds; 0: for good. */
export interface SourceRetention {
  readonly sessions: number;
  readonly session_traffic_1m: number;
  readonly rollup_1h: number;
  readonly rollup_pairs_1h: number;
}

export interface RollupsDeps {
  readonly clickhouse: ClickHouse;
  readonly retention: SourceRetention;
  /** Whether this process is the one that keeps the rollups; two at once are harmless but wasteful. */
  readonly leads: () => boolean;
  readonly logger: Logger;
  readonly metrics: RollupMetrics;
}

interface Mark {
  readonly mark_id: string;
  /** Seconds since 1970. */
  readonly hour: number;
}

const markRow = z.object({ mark_id: z.string(), hour: int64 });
const hourRow = z.object({ hour: int64 });
const sessionMarkRow = z.object({ mark_id: z.string(), session_id: z.string(), started_ms: int64 });
const lostRow = z.object({
  session_id: z.string(),
  started_ms: int64,
  ended_ms: int64,
  version: int64,
});

export function createRollups(config: RollupsConfig, deps: RollupsDeps): Rollups {
  const { clickhouse, logger, metrics } = deps;
  const ending = new AbortController();
  let running: Promise<void> | null = null;
  let lostCheckedAtMs = Number.NEGATIVE_INFINITY;
  let freshAt: string | null = null;

  const call = { timeoutMs: config.timeout_ms, signal: ending.signal };
  // Sums are named like what they sum.
  const settings = {
    max_threads: config.threads,
    prefer_column_name_to_alias: 1,
    async_insert: 0,
    distributed_foreground_insert: 1,
  };

  async function command(sql: string, params: Record<string, SqlValue>): Promise<void> {
    await clickhouse.command({ sql, params, settings, ...call });
  }

  async function insert(table: string, columns: readonly string[], rows: readonly SqlValue[][]) {
    if (rows.length === 0) return;
    const text = rows.map((row) => JSON.stringify(row)).join('\n');
    await clickhouse.insert({
      table,
      columns,
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(text)],
      settings: { date_time_input_format: 'best_effort' },
      ...call,
    });
  }

  /** Where marked sessions ended before, as hour marks. Those are stored before the sessions' are settled. */
  async function expandSessions(): Promise<void> {
    const marks = await clickhouse.query({
      sql: `SELECT mark_id, session_id, toUnixTimestamp64Milli(started_at) AS started_ms
        FROM ingest_dirty_sessions FINAL WHERE done = 0 ORDER BY started_at DESC LIMIT {limit:UInt32}`,
      params: { limit: SESSIONS_MAX },
      row: sessionMarkRow,
      ...call,
    });
    if (marks.length === 0) return;
    const hours = await clickhouse.query({
      sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(assumeNotNull(ended_at))) AS hour FROM (
          SELECT ended_at FROM session_events WHERE ended_at IS NOT NULL AND ${AMONG_SESSIONS}
          UNION ALL
          SELECT ended_at FROM ingest_lost_sessions WHERE ${AMONG_SESSIONS}
        )`,
      params: amongSessions(marks),
      row: hourRow,
      ...call,
    });
    await markHours(hours.map(({ hour }) => hour));
    await insert(
      'ingest_dirty_sessions',
      ['mark_id', 'session_id', 'started_at', 'done'],
      marks.map((mark) => [mark.mark_id, mark.session_id, toTimestamp(mark.started_ms), 1]),
    );
  }

  /** Sessions that were declared lost and then heard of again: the hour that they were counted in changes. */
  async function resolveLost(): Promise<void> {
    const lost = await clickhouse.query({
      sql: `SELECT session_id, toUnixTimestamp64Milli(started_at) AS started_ms,
          toUnixTimestamp64Milli(ended_at) AS ended_ms, version
        FROM ingest_lost_sessions FINAL WHERE state < 2 ORDER BY declared_at DESC LIMIT {limit:UInt32}`,
      params: { limit: LOST_MAX },
      row: lostRow,
      ...call,
    });
    if (lost.length === 0) return;
    const now = await clickhouse.query({
      sql: `SELECT session_id, version FROM sessions FINAL WHERE ${AMONG_SESSIONS}`,
      params: amongSessions(lost),
      row: z.object({ session_id: z.string(), version: int64 }),
      ...call,
    });
    const versions = new Map(now.map((row) => [row.session_id, row.version]));
    const back = lost.filter((row) => (versions.get(row.session_id) ?? 0) > row.version);
    await markHours(back.map((row) => hourOf(row.ended_ms / 1_000)));
    await insert(
      'ingest_lost_sessions',
      ['session_id', 'started_at', 'ended_at', 'version', 'state'],
      back.map((row) => [
        row.session_id,
        toTimestamp(row.started_ms),
        toTimestamp(row.ended_ms),
        row.version,
        OVERRIDDEN,
      ]),
    );
  }

  async function markHours(hours: readonly number[]): Promise<void> {
    const markId = randomUUID();
    const rows = [...new Set(hours)].map((hour) => [markId, hour]);
    await insert('ingest_dirty_hours', ['mark_id', 'hour'], rows);
  }

  async function readMarks(): Promise<{ marks: Mark[]; readAt: string }> {
    const [clock] = await clickhouse.query({
      sql: "SELECT toString(now64(6, 'UTC')) AS at",
      row: z.object({ at: z.string() }),
      ...call,
    });
    const marks = await clickhouse.query({
      sql: `SELECT mark_id, toUnixTimestamp(hour) AS hour
        FROM ingest_dirty_hours FINAL WHERE done = 0 ORDER BY hour DESC LIMIT {limit:UInt32}`,
      params: { limit: MARKS_MAX },
      row: markRow,
      ...call,
    });
    return { marks, readAt: clock?.at ?? '' };
  }

  /**
   * The version of what is computed next. By the server's clock, and never below that of an earlier
   * round, should the clock have been set back: every round stores its version with the durations.
   */
  async function nextVersion(hours: readonly number[]): Promise<string> {
    const [row] = await clickhouse.query({
      sql: `SELECT toString(greatest(
          now64(6, 'UTC'),
          (SELECT max(computed_at) FROM rollup_durations_1h WHERE ${HOURS}) + toIntervalMicrosecond(1)
        )) AS version`,
      params: { hours },
      row: z.object({ version: z.string() }),
      ...call,
    });
    return row?.version ?? '';
  }

  /**
   * The version of a day's rows, drawn after its hours were replaced. Two rounds at once may replace
   * different hours of one day: the one that draws later reads later, and so sees the hours of both.
   */
  async function nextDayVersion(day: number): Promise<string> {
    const versions = DAY_TARGETS.map(
      ({ table }) =>
        `(SELECT max(computed_at) FROM ${table} WHERE bucket = {day:DateTime('UTC')}) + toIntervalMicrosecond(1)`,
    );
    const [row] = await clickhouse.query({
      sql: `SELECT toString(greatest(now64(6, 'UTC'), ${versions.join(', ')})) AS version`,
      params: { day },
      row: z.object({ version: z.string() }),
      ...call,
    });
    return row?.version ?? '';
  }

  async function recomputeDay(day: number, hours: readonly number[]): Promise<void> {
    const params = await paramsOf(day, hours);
    const { computed_at } = params;
    // The day is made from its hours; and one statement at a time keeps the load even.
    /* oxlint-disable no-await-in-loop */
    for (const target of HOUR_TARGETS) await command(replaceStatement(target), params);
    await command(REPLACE_DURATIONS, params);
    const dayParams = { ...params, computed_at: await nextDayVersion(day) };
    for (const target of DAY_TARGETS) await command(replaceDayStatement(target), dayParams);
    await insert('ingest_rollup_days', ['day', 'through'], [[day, computed_at]]);
    /* oxlint-enable no-await-in-loop */
    metrics.hours.inc(hours.length);
  }

  /**
   * `through` is read before the hours are replaced: had another process just settled a later one, the
   * rows that we are about to write would otherwise never reach the day.
   */
  async function paramsOf(day: number, hours: readonly number[]) {
    const [row] = await clickhouse.query({
      sql: 'SELECT toString(max(through)) AS through FROM ingest_rollup_days WHERE day = {day:DateTime}',
      params: { day },
      row: z.object({ through: z.string() }),
      ...call,
    });
    return {
      day,
      hours,
      from: Math.min(...hours),
      to: Math.max(...hours) + HOUR_S,
      through: row?.through ?? NEVER,
      computed_at: await nextVersion(hours),
    };
  }

  function settle(marks: readonly Mark[]): Promise<void> {
    return insert(
      'ingest_dirty_hours',
      ['mark_id', 'hour', 'done'],
      marks.map((mark) => [mark.mark_id, mark.hour, 1]),
    );
  }

  async function round(checkLost = false): Promise<RoundResult> {
    await expandSessions();
    if (checkLost) await resolveLost();
    const { marks, readAt } = await readMarks();
    const oldest = oldestHour(secondsOf(readAt), deps.retention);
    await settle(marks.filter((mark) => mark.hour < oldest));
    const dirty = [...new Set(marks.map((mark) => mark.hour))].filter((hour) => hour >= oldest);
    const hours = new Set(dirty.slice(0, config.hours_max));
    for (const [day, hoursOfDay] of byDay(hours)) {
      // oxlint-disable-next-line no-await-in-loop
      await recomputeDay(day, hoursOfDay);
      // oxlint-disable-next-line no-await-in-loop
      await settle(marks.filter((mark) => hoursOfDay.includes(mark.hour)));
    }
    const left = dirty.length - hours.size;
    if (left === 0 && marks.length < MARKS_MAX) freshAt = readAt;
    metrics.dirtyHours.set(left);
    if (freshAt !== null) {
      await insert('ingest_rollup_state', ['id', 'fresh_at', 'dirty_hours'], [[1, freshAt, left]]);
      metrics.freshSeconds.set(secondsOf(freshAt));
    }
    return { hours: hours.size, left };
  }

  async function timedRound(): Promise<void> {
    const nowMs = performance.now();
    const checkLost = nowMs - lostCheckedAtMs >= LOST_CHECK_INTERVAL_MS;
    try {
      const { hours } = await round(checkLost);
      if (checkLost) lostCheckedAtMs = nowMs;
      if (hours > 0) metrics.seconds.observe((performance.now() - nowMs) / 1_000);
    } catch (error) {
      if (ending.signal.aborted) return;
      metrics.failures.inc();
      logger.error({ err: error }, `rollups were not recomputed: ${messageOf(error)}`);
    }
  }

  async function loop(): Promise<void> {
    const signal = ending.signal;
    let tookMs = 0;
    while (!signal.aborted) {
      const pauseMs = Math.max(config.interval_ms, tookMs * (100 / config.share_percent - 1));
      // oxlint-disable-next-line no-await-in-loop
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted || !deps.leads()) continue;
      const begunMs = performance.now();
      // oxlint-disable-next-line no-await-in-loop
      await timedRound();
      tookMs = performance.now() - begunMs;
    }
  }

  return {
    round,
    start() {
      running ??= loop();
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}

/** Marks every hour that has anything in the exact tables: what a rebuild of the rollups begins with. */
export async function markAllHours(clickhouse: ClickHouse, timeoutMs: number): Promise<void> {
  await clickhouse.command({
    sql: `INSERT INTO ingest_dirty_hours (mark_id, hour)
      SELECT {mark_id:UUID}, hour FROM (
        SELECT toStartOfHour(started_at) AS hour FROM sessions GROUP BY hour
        UNION DISTINCT SELECT toStartOfHour(assumeNotNull(ended_at)) AS hour FROM sessions WHERE ended_at IS NOT NULL GROUP BY hour
        UNION DISTINCT SELECT toStartOfHour(bucket) AS hour FROM session_traffic_1m GROUP BY hour
        UNION DISTINCT SELECT bucket AS hour FROM rollup_1h GROUP BY hour
      )`,
    params: { mark_id: randomUUID() },
    timeoutMs,
    settings: { async_insert: 0 },
  });
}

/** A table of rollups and how many of its rows are not what the exact tables say. */
export interface RollupDifference {
  readonly table: string;
  readonly day: string;
  readonly rows: number;
}

/**
 * Compares the rollups of some hours with a recomputation. Changes nothing.
 *
 * @param marked hours that wait to be recomputed. They are left out, and so is their day: a round makes
 *   it after their hours, and until then it differs from them.
 */
export async function findRollupDifferences(
  clickhouse: ClickHouse,
  hours: readonly number[],
  timeoutMs: number,
  marked: ReadonlySet<number> = new Set(),
): Promise<RollupDifference[]> {
  const differences: RollupDifference[] = [];
  const markedDays = byDay(marked);
  for (const [day, hoursOfDay] of byDay(hours.filter((hour) => !marked.has(hour)))) {
    const targets = markedDays.has(day) ? HOUR_TARGETS : [...HOUR_TARGETS, ...DAY_TARGETS];
    for (const target of targets) {
      // One after the other: each reads a whole day.
      // oxlint-disable-next-line no-await-in-loop
      const [row] = await clickhouse.query({
        sql: countDifferences(target),
        params: {
          day,
          hours: hoursOfDay,
          from: Math.min(...hoursOfDay),
          to: Math.max(...hoursOfDay) + HOUR_S,
          through: NEVER,
        },
        row: z.object({ differences: int64 }),
        settings: { prefer_column_name_to_alias: 1 },
        timeoutMs,
      });
      const rows = row?.differences ?? 0;
      if (rows > 0) {
        differences.push({ table: target.table, day: new Date(day * 1_000).toISOString(), rows });
      }
    }
  }
  return differences;
}

/** Before every version. */
const NEVER = '1970-01-01 00:00:00.000000';
const HOURS = "bucket IN {hours:Array(DateTime('UTC'))}";
/** Both bounds, because the start is what the primary key begins with. */
const AMONG_SESSIONS =
  "started_at IN arrayMap(ms -> fromUnixTimestamp64Milli(ms, 'UTC'), {starts_ms:Array(Int64)}) AND session_id IN {ids:Array(UUID)}";

function amongSessions(
  sessions: readonly { readonly session_id: string; readonly started_ms: number }[],
): Record<string, SqlValue> {
  return {
    starts_ms: sessions.map((session) => session.started_ms),
    ids: sessions.map((session) => session.session_id),
  };
}

function hourOf(seconds: number): number {
  return Math.floor(seconds / HOUR_S) * HOUR_S;
}

/** @param text as `toString` of a DateTime64 in UTC has it. */
function secondsOf(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`) / 1_000;
}

/**
 * The first hour that can still be recomputed: that of the first day of which nothing has expired.
 * What lies before keeps the sums it has; made from what is left, they would come out too small.
 */
function oldestHour(nowS: number, retention: SourceRetention): number {
  const { sessions, session_traffic_1m, rollup_1h, rollup_pairs_1h } = retention;
  const kept = [sessions, session_traffic_1m, rollup_1h, rollup_pairs_1h].filter((ms) => ms > 0);
  if (kept.length === 0) return 0;
  return Math.ceil((nowS - Math.min(...kept) / 1_000) / DAY_S) * DAY_S;
}

function byDay(hours: Iterable<number>): Map<number, number[]> {
  const days = new Map<number, number[]>();
  for (const hour of hours) {
    const day = hour - (hour % DAY_S);
    const known = days.get(day);
    if (known === undefined) days.set(day, [hour]);
    else known.push(hour);
  }
  return days;
}
