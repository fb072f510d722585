/**
 * Guarantee: once a round has finished with nothing left, the sums per hour, day and week equal what the
 * exact tables held when the round read its marks, whatever was retried, repeated or run twice at once.
 *
 * - A mark is read before `computed_at` is drawn from the server's clock, and that before the rows are
 *   read. So of two rounds at once, the rows of the one with the later `computed_at`, which win, have
 *   seen every row whose mark the other one is about to settle.
 * - Only the marks that were read are settled, and only after every table has taken the new sums; a
 *   crash in between repeats the work.
 * - The work of a round is bounded by hours and by marks of sessions, its part of the time by
 *   `share_percent`. What it leaves is counted, and the sums are not called fresh meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { weekOf as weekOfMs } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { LOST_STATE } from '../lost/states.js';
import type { RetentionConfig } from '../migrations/config.js';
import type { RollupsConfig } from './config.js';
import type { RollupMetrics } from './metrics.js';
import {
  countDifferences,
  DAY_TABLES,
  DAY_TARGETS,
  HOUR_TARGETS,
  OLD_DAY_TARGETS,
  REPLACE_DAY_SKETCHES,
  REPLACE_HOUR_SKETCHES,
  replaceCoarserStatement,
  replaceStatement,
  WEEK_TABLES,
  WEEK_TARGETS,
} from './sql.js';
import type { Expired } from './sql.js';

const HOUR_S = 3_600;
const DAY_S = 86_400;
const WEEK_S = 7 * DAY_S;
/** Marks read in one round; more of them wait. A batch makes a handful. */
const MARKS_MAX = 20_000;
/** Marks of sessions read at a time, and so many times in one round; the rest waits for the next. */
const SESSION_MARKS_MAX = 20_000;
const SESSION_READS_MAX = 10;
/** Sessions that one statement names: their ids must stay below the server's `http_max_field_value_size`. */
const NAMED_MAX = 2_000;
/** Declared lost and not heard of since: so many are read at a time to be compared with `sessions`. */
const LOST_PAGE = 10_000;
/** So many times in one round; the next comparison goes on with the rest. */
const LOST_PAGES_MAX = 20;
/** Before every start of a session, milliseconds since 1970. */
const BEFORE_ALL_MS = -1;
const LOST_CHECK_INTERVAL_MS = 60_000;

export interface RoundResult {
  readonly hours: number;
  /** Hours left marked. */
  readonly left: number;
  /**
   * Marks of sessions left, whose former ends are not known yet. Where both are 0, what was stored when
   * the round began is in the sums; else an end that moved may be counted where it was, too.
   */
  readonly sessionsLeft: number;
  /** Whether lost sessions are left that the next comparison begins with; false where none was made. */
  readonly lostLeft: boolean;
}

export interface Rollups extends Component {
  /** One round, whether it is due or not. @param checkLost whether lost sessions are compared too. */
  round(checkLost?: boolean): Promise<RoundResult>;
  /**
   * Makes days of which nothing has expired anew from all of their hours, and then every week from all of
   * its days, whatever `ingest_rollup_progress` says that they know already. Harmless beside rounds, whose
   * work it cannot undo, nor they its own; where it is ended early, it has to be repeated.
   */
  remakeCoarser(onProgress?: (done: number, total: number) => void): Promise<void>;
}

/** How long the tables that sums are made from keep their rows, in milliseconds; 0: for good. */
export interface SourceRetention {
  readonly sessions: number;
  readonly session_traffic_1m: number;
  readonly rollup_1h: number;
  readonly rollup_1d: number;
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
  /** Lost sessions that began until then have been compared, milliseconds since 1970. */
  let lostComparedMs = BEFORE_ALL_MS;
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

  /** Where marked sessions ended before, as hour marks. Resolves with the marks that are left. */
  async function expandSessions(): Promise<number> {
    for (let reads = 0; reads < SESSION_READS_MAX; reads += 1) {
      // One after the other: what has been read is settled before more is.

      const marks = await clickhouse.query({
        sql: `SELECT mark_id, session_id, toUnixTimestamp64Milli(started_at) AS started_ms
          FROM ingest_dirty_sessions FINAL WHERE done = 0
          ORDER BY started_at DESC, session_id DESC LIMIT {limit:UInt32}`,
        params: { limit: SESSION_MARKS_MAX },
        row: sessionMarkRow,
        ...call,
      });
      if (marks.length > 0) await expand(marks);
      if (marks.length < SESSION_MARKS_MAX) return 0;
    }
    const [row] = await clickhouse.query({
      sql: 'SELECT count() AS marks FROM ingest_dirty_sessions FINAL WHERE done = 0',
      row: z.object({ marks: int64 }),
      ...call,
    });
    return row?.marks ?? 0;
  }

  /** The hours are stored before the marks of the sessions are settled. */
  async function expand(marks: readonly z.output<typeof sessionMarkRow>[]): Promise<void> {
    // A session that was heard of again and again has many marks, and is looked up once.
    const sessions = [...new Map(marks.map((mark) => [mark.session_id, mark])).values()];
    const hours = await inParts(sessions, (part) =>
      clickhouse.query({
        sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(assumeNotNull(ended_at))) AS hour FROM (
            SELECT ended_at FROM session_events WHERE ended_at IS NOT NULL AND ${AMONG_SESSIONS}
            UNION ALL
            SELECT ended_at FROM ingest_lost_sessions WHERE ${AMONG_SESSIONS}
          )`,
        params: amongSessions(part),
        row: hourRow,
        ...call,
      }),
    );
    await markHours(hours.map(({ hour }) => hour));
    await insert(
      'ingest_dirty_sessions',
      ['mark_id', 'session_id', 'started_at', 'done'],
      marks.map((mark) => [mark.mark_id, mark.session_id, toTimestamp(mark.started_ms), 1]),
    );
  }

  /**
   * Compares the sessions that were declared lost, in the order of their starts. Each is looked at again
   * until its entry expires: only `sessions` tells whether it was heard of.
   *
   * @returns whether some are left to the next comparison.
   */
  async function compareLost(): Promise<boolean> {
    for (let pages = 0; pages < LOST_PAGES_MAX; pages += 1) {
      // One after the other: a page begins where the one before it ended.

      const lost = await clickhouse.query({
        sql: `SELECT session_id, toUnixTimestamp64Milli(started_at) AS started_ms,
            toUnixTimestamp64Milli(ended_at) AS ended_ms, version
          FROM ingest_lost_sessions FINAL
          WHERE state < {overridden:UInt8} AND started_at > fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')
          ORDER BY started_at LIMIT {limit:UInt32} WITH TIES`,
        params: {
          overridden: LOST_STATE.overridden,
          after_ms: lostComparedMs,
          limit: LOST_PAGE,
        },
        row: lostRow,
        ...call,
      });
      await resolveLost(lost);
      lostComparedMs = lost.at(-1)?.started_ms ?? BEFORE_ALL_MS;
      if (lost.length < LOST_PAGE) {
        lostComparedMs = BEFORE_ALL_MS;
        return false;
      }
    }
    return true;
  }

  /** Sessions that were declared lost and then heard of again: the hour that they were counted in changes. */
  async function resolveLost(lost: readonly z.output<typeof lostRow>[]): Promise<void> {
    const now = await inParts(lost, (part) =>
      clickhouse.query({
        // The row that counts is the one of the highest version, merged or not.
        sql: `SELECT session_id, max(version) AS newest FROM sessions WHERE ${AMONG_SESSIONS} GROUP BY session_id`,
        params: amongSessions(part),
        row: z.object({ session_id: z.string(), newest: int64 }),
        ...call,
      }),
    );
    const newest = new Map(now.map((row) => [row.session_id, row.newest]));
    const back = lost.filter((row) => (newest.get(row.session_id) ?? 0) > row.version);
    await markHours(back.map((row) => hourOf(row.ended_ms / 1_000)));
    await insert(
      'ingest_lost_sessions',
      ['session_id', 'started_at', 'ended_at', 'version', 'state'],
      back.map((row) => [
        row.session_id,
        toTimestamp(row.started_ms),
        toTimestamp(row.ended_ms),
        row.version,
        LOST_STATE.overridden,
      ]),
    );
  }

  async function markHours(hours: readonly number[]): Promise<void> {
    const markId = randomUUID();
    const rows = [...new Set(hours)].map((hour) => [markId, hour]);
    await insert('ingest_dirty_hours', ['mark_id', 'hour'], rows);
  }

  async function serverTime(): Promise<string> {
    const [clock] = await clickhouse.query({
      sql: "SELECT toString(now64(6, 'UTC')) AS at",
      row: z.object({ at: z.string() }),
      ...call,
    });
    return clock?.at ?? '';
  }

  async function readMarks(): Promise<Mark[]> {
    return clickhouse.query({
      sql: `SELECT mark_id, toUnixTimestamp(hour) AS hour
        FROM ingest_dirty_hours FINAL WHERE done = 0 ORDER BY hour DESC LIMIT {limit:UInt32}`,
      params: { limit: MARKS_MAX },
      row: markRow,
      ...call,
    });
  }

  async function countDirtyHours(): Promise<number> {
    const [row] = await clickhouse.query({
      sql: 'SELECT uniqExact(hour) AS hours FROM ingest_dirty_hours FINAL WHERE done = 0',
      row: z.object({ hours: int64 }),
      ...call,
    });
    return row?.hours ?? 0;
  }

  /**
   * The version of what is computed next. By the server's clock, and never below that of an earlier
   * round, should the clock have been set back: every round stores its version with the sketches. Above
   * what their day knows already too, which may be of other hours: it would never take these over.
   */
  async function nextVersion(hours: readonly number[], dayThrough: string): Promise<string> {
    const [row] = await clickhouse.query({
      sql: `SELECT toString(greatest(
          now64(6, 'UTC'),
          (SELECT max(computed_at) FROM rollup_sketches_1h WHERE ${HOURS}) + toIntervalMicrosecond(1),
          ${ABOVE_THROUGH}
        )) AS version`,
      params: { hours, through: dayThrough },
      row: z.object({ version: z.string() }),
      ...call,
    });
    return row?.version ?? '';
  }

  /**
   * The version of a day's or week's rows, drawn after the finer ones were replaced. Two rounds at once may
   * replace different hours of one day: the one that draws later reads later, and so sees the hours of both.
   *
   * @param through what the week knows already of its days, which a day's version must exceed.
   */
  async function nextCoarserVersion(
    tables: readonly string[],
    bucket: number,
    through: string = NEVER,
  ): Promise<string> {
    const versions = tables.map(
      (table) =>
        `(SELECT max(computed_at) FROM ${table} WHERE bucket = {bucket:DateTime('UTC')}) + toIntervalMicrosecond(1)`,
    );
    const [row] = await clickhouse.query({
      sql: `SELECT toString(greatest(now64(6, 'UTC'), ${versions.join(', ')}, ${ABOVE_THROUGH})) AS version`,
      params: { bucket, through },
      row: z.object({ version: z.string() }),
      ...call,
    });
    return row?.version ?? '';
  }

  async function recomputeDay(plan: DayPlan): Promise<void> {
    const { day, week, hours, isOld, expired, expiredInWeek } = plan;
    // Read before anything is replaced: had another process just settled a later version, the rows that
    // we are about to write would otherwise never reach the day or the week.
    const [dayThrough, weekThrough] = await Promise.all([
      throughOf('day', day),
      throughOf('week', week),
    ]);
    const computed_at = await nextVersion(hours, dayThrough);
    const params = { ...spanOf(hours), computed_at };
    // The day is made from its hours, the week from its days; and one statement at a time keeps the load even.
    for (const target of HOUR_TARGETS) await command(replaceStatement(target, expired), params);
    // Of two sketches nobody can say which is the fuller one.
    if (!expired.sessions) await command(REPLACE_HOUR_SKETCHES, params);
    const dayVersion = await nextCoarserVersion(DAY_TABLES, day, weekThrough);
    await replaceDay(isOld ? OLD_DAY_TARGETS : DAY_TARGETS, expired, {
      ...params,
      ...within(day, DAY_S, dayThrough),
      computed_at: dayVersion,
    });
    await replaceWeek(week, expiredInWeek, weekThrough);
    await insert(
      'ingest_rollup_progress',
      ['span', 'bucket', 'through'],
      [
        ['day', day, computed_at],
        ['week', week, dayVersion],
      ],
    );
    metrics.hours.inc(hours.length);
  }

  async function replaceDay(
    targets: typeof DAY_TARGETS,
    expired: Expired,
    params: Record<string, SqlValue>,
  ): Promise<void> {
    for (const target of targets) {
      await command(replaceCoarserStatement(target, expired), params);
    }
    if (!expired.sessions) await command(REPLACE_DAY_SKETCHES, params);
  }

  async function replaceWeek(week: number, expired: Expired, through: string): Promise<void> {
    const params = {
      ...within(week, WEEK_S, through),
      computed_at: await nextCoarserVersion(WEEK_TABLES, week),
    };
    for (const target of WEEK_TARGETS) {
      await command(replaceCoarserStatement(target, expired), params);
    }
  }

  /** Days that have rows in a table of sums, seconds since 1970. */
  async function daysOf(table: 'rollup_1h' | 'rollup_1d', sinceS: number): Promise<number[]> {
    const rows = await clickhouse.query({
      sql: `SELECT DISTINCT toUnixTimestamp(toStartOfDay(bucket)) AS day FROM ${table}
        WHERE dimension = 'total' AND bucket >= toDateTime({since:UInt32}, 'UTC') ORDER BY day`,
      params: { since: sinceS },
      row: z.object({ day: int64 }),
      ...call,
    });
    return rows.map(({ day }) => day);
  }

  /**
   * Neither hours nor progress are touched. As in a round the version is drawn before the finer sums are
   * read, and a round draws its own after it has replaced these: so whichever version is the later one,
   * its sums have seen the hours of both.
   */
  async function remakeCoarser(onProgress?: (done: number, total: number) => void): Promise<void> {
    const nowS = secondsOf(await serverTime());
    const whole = await readWholeSince(clickhouse, { ...deps.retention }, nowS, call);
    const days = await daysOf('rollup_1h', whole.sources);

    for (const [index, day] of days.entries()) {
      await replaceDay(DAY_TARGETS, NOTHING_EXPIRED, {
        ...within(day, DAY_S, NEVER),
        computed_at: await nextCoarserVersion(
          DAY_TABLES,
          day,
          await throughOf('week', weekOf(day)),
        ),
      });
      onProgress?.(index + 1, days.length);
    }
    // After all days: a week that a round made meanwhile may know a later version than some day was given.
    for (const week of new Set((await daysOf('rollup_1d', 0)).map(weekOf))) {
      await replaceWeek(week, expiredInWeekOf(week, whole), NEVER);
    }
  }

  async function throughOf(span: 'day' | 'week', bucket: number): Promise<string> {
    const [row] = await clickhouse.query({
      sql: `SELECT toString(max(through)) AS through FROM ingest_rollup_progress
        WHERE span = {span:String} AND bucket = {bucket:DateTime('UTC')}`,
      params: { span, bucket },
      row: z.object({ through: z.string() }),
      ...call,
    });
    return row?.through ?? NEVER;
  }

  function settle(marks: readonly Mark[]): Promise<void> {
    return insert(
      'ingest_dirty_hours',
      ['mark_id', 'hour', 'done'],
      marks.map((mark) => [mark.mark_id, mark.hour, 1]),
    );
  }

  async function round(checkLost = false): Promise<RoundResult> {
    // Before any mark is read: what is stored from here on may have been missed.
    const readAt = await serverTime();
    const sessionsLeft = await expandSessions();
    const lostLeft = checkLost && (await compareLost());
    const marks = await readMarks();
    const whole = await readWholeSince(clickhouse, { ...deps.retention }, secondsOf(readAt), call);
    const dirty = [...new Set(marks.map((mark) => mark.hour))];
    const settled = new Set<number>();
    for (const [day, hoursOfDay] of byDay(dirty.slice(0, config.hours_max))) {
      const plan = planOf(day, hoursOfDay, whole);
      await recomputeDay(plan);
      const done = new Set(plan.hours);
      await settle(marks.filter((mark) => done.has(mark.hour)));
      for (const hour of done) settled.add(hour);
    }
    const left =
      marks.length < MARKS_MAX
        ? dirty.filter((hour) => !settled.has(hour)).length
        : await countDirtyHours();
    if (left === 0 && sessionsLeft === 0) freshAt = readAt;
    metrics.dirtyHours.set(left);
    metrics.dirtySessions.set(sessionsLeft);
    if (freshAt !== null) {
      await insert('ingest_rollup_state', ['id', 'fresh_at', 'dirty_hours'], [[1, freshAt, left]]);
      metrics.freshSeconds.set(secondsOf(freshAt));
    }
    return { hours: settled.size, left, sessionsLeft, lostLeft };
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
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted || !deps.leads()) continue;
      const begunMs = performance.now();
      await timedRound();
      tookMs = performance.now() - begunMs;
    }
  }

  return {
    round,
    remakeCoarser,
    start() {
      running ??= loop();
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}

/**
 * Marks every hour whose sums can be made anew exactly, and of older ones those whose day has none: what
 * a rebuild of the rollups begins with. Sums of the others stay as they are.
 */
export async function markAllHours(
  clickhouse: ClickHouse,
  retention: SourceRetention,
  timeoutMs: number,
): Promise<void> {
  const whole = await readWholeSince(clickhouse, { ...retention }, await serverSeconds(clickhouse));
  await clickhouse.command({
    sql: `INSERT INTO ingest_dirty_hours (mark_id, hour)
      SELECT {mark_id:UUID}, hour FROM (
        SELECT toStartOfHour(started_at) AS hour FROM sessions GROUP BY hour
        UNION DISTINCT SELECT toStartOfHour(assumeNotNull(ended_at)) AS hour FROM sessions WHERE ended_at IS NOT NULL GROUP BY hour
        UNION DISTINCT SELECT toStartOfHour(bucket) AS hour FROM session_traffic_1m GROUP BY hour
        UNION DISTINCT SELECT bucket AS hour FROM rollup_1h GROUP BY hour
      )
      WHERE hour >= toDateTime({whole_since:UInt32}, 'UTC')
        OR toStartOfDay(hour) GLOBAL NOT IN (SELECT bucket FROM rollup_1d WHERE dimension = 'total')`,
    params: {
      mark_id: randomUUID(),
      whole_since: whole.sources,
    },
    timeoutMs,
    settings: { async_insert: 0 },
  });
}

async function serverSeconds(clickhouse: ClickHouse): Promise<number> {
  const [row] = await clickhouse.query({
    sql: 'SELECT toUnixTimestamp(now()) AS now',
    row: z.object({ now: int64 }),
  });
  return row?.now ?? 0;
}

/** A table of rollups and how many of its rows are not what they should be. */
export interface RollupDifference {
  readonly table: string;
  /** Start of the day or week. */
  readonly bucket: string;
  readonly rows: number;
}

export interface DifferenceOptions {
  /** Rows that have expired are not looked for. */
  readonly retention: SourceRetention & Pick<RetentionConfig, 'rollup_pairs_1d'>;
  /** Whether the sums of a day or week, half-open, may be compared with the finer ones. */
  readonly isSettled?: (fromS: number, toS: number) => boolean;
  readonly timeoutMs: number;
}

/**
 * Compares the rollups of some hours, and of the days and weeks around them, with a recomputation as it
 * would be made now. Changes nothing. Where a source has begun to expire, sums that are too small are
 * found, others are not.
 */
export async function findRollupDifferences(
  clickhouse: ClickHouse,
  hours: readonly number[],
  { retention, isSettled = () => true, timeoutMs }: DifferenceOptions,
): Promise<RollupDifference[]> {
  const differences: RollupDifference[] = [];
  const nowS = await serverSeconds(clickhouse);
  // A week's rows are kept as long as a day's, and until its last day has expired.
  const kept = { ...retention, rollup_1w: retention.rollup_1d };
  const whole = await readWholeSince(clickhouse, kept, nowS);
  const compare = async (
    targets: typeof HOUR_TARGETS,
    startS: number,
    expired: Expired,
    params: Record<string, SqlValue>,
  ) => {
    for (const target of targets) {
      if (startS < whole.of(target.table)) continue;
      // One after the other: each reads a whole day or week.
      const [row] = await clickhouse.query({
        sql: countDifferences(target, expired),
        params,
        row: z.object({ differences: int64 }),
        settings: { prefer_column_name_to_alias: 1 },
        timeoutMs,
      });
      const rows = row?.differences ?? 0;
      if (rows > 0) {
        differences.push({
          table: target.table,
          bucket: new Date(startS * 1_000).toISOString(),
          rows,
        });
      }
    }
  };
  const days = byDay(hours);
  const plans = [...days].map(([day, hoursOfDay]) => planOf(day, hoursOfDay, whole));

  for (const { day, isOld, expired } of plans) {
    await compare(HOUR_TARGETS, day, expired, spanOf(days.get(day) ?? []));
    if (!isSettled(day, day + DAY_S)) continue;
    const targets = isOld ? OLD_DAY_TARGETS : DAY_TARGETS;
    await compare(targets, day, expired, { ...spanOf(hoursIn(day)), ...within(day, DAY_S, NEVER) });
  }
  const weeks = new Map(plans.map(({ week, expiredInWeek }) => [week, expiredInWeek]));
  for (const [week, expired] of weeks) {
    if (!isSettled(week, week + WEEK_S)) continue;
    await compare(WEEK_TARGETS, week, expired, within(week, WEEK_S, NEVER));
  }
  return differences;
}

/** Before every version. */
const NEVER = '1970-01-01 00:00:00.000000';
const ABOVE_THROUGH = "{through:DateTime64(6, 'UTC')} + toIntervalMicrosecond(1)";
const NOTHING_EXPIRED: Expired = { sessions: false, traffic: false };
const HOURS = "bucket IN {hours:Array(DateTime('UTC'))}";
/**
 * Both bounds, because the start is what the primary key begins with; and the lists as they are, because
 * the index does not see through a function over them: all parts would be read.
 */
const AMONG_SESSIONS =
  "started_at IN {starts:Array(DateTime64(3, 'UTC'))} AND session_id IN {ids:Array(UUID)}";

function amongSessions(
  sessions: readonly { readonly session_id: string; readonly started_ms: number }[],
): Record<string, SqlValue> {
  return {
    starts: sessions.map(({ started_ms }) =>
      toTimestamp(started_ms).replace('T', ' ').replace('Z', ''),
    ),
    ids: sessions.map((session) => session.session_id),
  };
}

/** Asks part by part, one after the other, and puts the answers together. */
async function inParts<T, R>(
  sessions: readonly T[],
  ask: (part: readonly T[]) => Promise<readonly R[]>,
): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < sessions.length; at += NAMED_MAX) {
    answers.push(...(await ask(sessions.slice(at, at + NAMED_MAX))));
  }
  return answers;
}

function hourOf(seconds: number): number {
  return Math.floor(seconds / HOUR_S) * HOUR_S;
}

/** @param text as `toString` of a DateTime64 in UTC has it. */
function secondsOf(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`) / 1_000;
}

/** How the sums of a day, and of its week, are to be made. */
interface DayPlan {
  readonly day: number;
  readonly week: number;
  readonly hours: readonly number[];
  /** Whether something that the day is made from may have expired, its sums per hour included. */
  readonly isOld: boolean;
  readonly expired: Expired;
  readonly expiredInWeek: Expired;
}

function planOf(day: number, hours: readonly number[], whole: WholeSince): DayPlan {
  const isOld = day < whole.sources;
  const week = weekOf(day);
  return {
    day,
    week,
    // An old day is made from the exact tables as a whole: its hours may be gone.
    hours: isOld ? hoursIn(day) : hours,
    isOld,
    expired: {
      sessions: day < whole.of('sessions'),
      traffic: day < whole.of('session_traffic_1m'),
    },
    expiredInWeek: expiredInWeekOf(week, whole),
  };
}

/** A week's sums are made from those of its days, whatever they are of. */
function expiredInWeekOf(week: number, whole: WholeSince): Expired {
  const isCut = week < whole.of('rollup_1d');
  return { sessions: isCut, traffic: isCut };
}

/** Of what the sums per hour and day are made from. */
const SOURCES = ['sessions', 'session_traffic_1m', 'rollup_1h', 'rollup_pairs_1h'] as const;

/** The first day of which nothing has expired, seconds since 1970. */
interface WholeSince {
  of(table: string): number;
  /** Of none of SOURCES. */
  readonly sources: number;
}

/**
 * What may have expired, by the retention as it is now and as it ever was: that it was raised brings
 * nothing back, and what was stored before may go yet when it was to go.
 *
 * @param retention of tables, milliseconds, 0 or none: for good.
 */
async function readWholeSince(
  clickhouse: ClickHouse,
  retention: Partial<Record<string, number>>,
  nowS: number,
  call: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<WholeSince> {
  const rows = await clickhouse.query({
    sql: `SELECT source, toUnixTimestamp(max(least(changed_at, toDateTime({now_s:UInt32}, 'UTC') - toIntervalDay(days)))) AS gone_until
      FROM ingest_former_retention GROUP BY source`,
    params: { now_s: Math.floor(nowS) },
    row: z.object({ source: z.string(), gone_until: int64 }),
    ...call,
  });
  const formerly = new Map(rows.map(({ source, gone_until }) => [source, dayAfter(gone_until)]));
  const of = (table: string) =>
    Math.max(formerly.get(table) ?? 0, keptSince(nowS, retention[table] ?? 0));
  return { of, sources: Math.max(...SOURCES.map(of)) };
}

/** The first day of which a retention leaves everything, seconds since 1970. @param retentionMs 0: for good. */
function keptSince(nowS: number, retentionMs: number): number {
  return retentionMs === 0 ? 0 : dayAfter(nowS - retentionMs / 1_000);
}

/** The first day that begins at a time or after it. */
function dayAfter(seconds: number): number {
  return Math.ceil(seconds / DAY_S) * DAY_S;
}

function hoursIn(day: number): number[] {
  return Array.from({ length: DAY_S / HOUR_S }, (_, hour) => day + hour * HOUR_S);
}

/** The parameters of a day or week. @param through what it knows already of its finer sums. */
function within(bucket: number, lengthS: number, through: string) {
  return { bucket, bucket_end: bucket + lengthS, through };
}

function spanOf(hours: readonly number[]) {
  return { hours, from: Math.min(...hours), to: Math.max(...hours) + HOUR_S };
}

/** The Monday that begins the ISO week of a day. Seconds since 1970, UTC. */
export function weekOf(day: number): number {
  return weekOfMs(day * 1_000) / 1_000;
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
