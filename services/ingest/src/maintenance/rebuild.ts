/**
 * Rebuilds the folded tables beside the live ones, then exchanges them. Ingest continues meanwhile.
 *
 * Guarantees:
 *
 * - No session is lost or becomes older. Rows of the live tables without stored events (these
 *   expired, or were never there) are carried over, with any retention; and the
 *   tables are not exchanged while an hour of the new ones has fewer sessions than the live ones.
 * - Nothing that ingest stores during the rebuild is missing afterwards. Every event goes into
 *   `session_events` too; those that came since the beginning are folded again into the new tables
 *   once these are live and an insert that was under way at the exchange must have ended. Rows that went
 *   into the former tables and whose events come later still, because their insert is refused meanwhile,
 *   are carried over from these before they are dropped.
 *
 * `session_events` itself is never exchanged: events are facts, and storing one again changes nothing.
 * A rebuild that ends before the exchange leaves the live tables as they were. If it ends later,
 * run it again. Both leave `_rebuild` tables, which the next rebuild drops.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { storageName } from '../migrations/layout.js';
import type { Layout } from '../migrations/layout.js';
import { markAllHours } from '../rollups/compare.js';
import type { SourceRetention } from '../rollups/expiry.js';
import { carrySessions, carryTraffic, compareHours, TRAFFIC_TABLE } from './carry-over.js';
import { rangesToCarry } from './ranges.js';
import { FOLDED_TABLES, refoldWindow, SESSION_TABLES } from './refold.js';

/**
 * - `rebuild_unsafe`: there is nothing to build from, the layout cannot exchange, or the new tables
 *   would hold less than the live ones. These are untouched.
 */
export class RebuildError extends SockscopeError {
  declare readonly code: 'rebuild_unsafe';
}

type NameOf = (table: string) => string;

const HOUR_S = 3_600;
const DAY_S = 86_400;
const EVENTS = 'session_events';
/** Before the beginning: an insert that began earlier may be stored later. */
const OVERLAP_S = 120;
/** Hours with missing sessions that the error names. */
const SHORT_HOURS_NAMED = 3;

export interface RebuildConfig {
  /** Longest time that an insert of ingest takes, milliseconds. */
  readonly insertTimeoutMs: number;
  /** Expired rows need not be in the new tables, and their sums are not made again. */
  readonly retention: SourceRetention;
  /** Deadline of one statement, milliseconds. */
  readonly timeoutMs: number;
}

export interface RebuildDeps {
  readonly clickhouse: ClickHouse;
  readonly layout: Layout;
  readonly onProgress: (done: number, total: number, what: string) => void;
  /** Adds events from elsewhere to `session_events` before anything is built. */
  readonly addEvents?: () => Promise<void>;
}

/**
 * Rebuilds `sessions`, its copies and `session_traffic_1m`, and marks every hour for the rollups.
 * In a cluster, the tables of the connected node.
 */
export async function rebuild(config: RebuildConfig, deps: RebuildDeps): Promise<void> {
  const { clickhouse, layout, onProgress } = deps;
  if (layout.kind === 'cluster' && layout.replicated) {
    throw new RebuildError(
      'rebuild_unsafe',
      'Replicated tables keep the path of their name and cannot be exchanged: let ingest fold the topic into a new CLICKHOUSE_DATABASE with a new KAFKA_GROUP_ID, then point query at it',
    );
  }
  const live: NameOf = (table) => storageName(layout, table);
  const beside: NameOf = (table) => `${storageName(layout, table)}_rebuild`;
  const events = live(EVENTS);

  async function command(sql: string, params: Record<string, SqlValue> = {}): Promise<void> {
    await clickhouse.command({
      sql,
      params,
      timeoutMs: config.timeoutMs,
      settings: {
        async_insert: 0,
        max_partitions_per_insert_block: 0,
        // Old rows go to old partitions, even past their retention.
        max_insert_threads: 1,
      },
    });
  }

  /** Hours in which sessions of the stored events began, those alone that came since a time. */
  async function windows(sinceS: number): Promise<number[]> {
    const rows = await clickhouse.query({
      sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(started_at)) AS hour FROM ${events}
        WHERE ingested_at >= toDateTime({since:UInt32}, 'UTC') ORDER BY hour`,
      params: { since: sinceS },
      row: z.object({ hour: int64 }),
      timeoutMs: config.timeoutMs,
    });
    return rows.map(({ hour }) => hour);
  }

  async function refold(hours: readonly number[], nameOf: NameOf, what: string): Promise<void> {
    for (const [index, hour] of hours.entries()) {
      for (const sql of refoldWindow(events, nameOf)) {
        // Windows one after the other bound the memory of the database.
        await command(sql, { from: hour, to: hour + HOUR_S });
      }
      onProgress(index + 1, hours.length, what);
    }
  }

  /** The hours of a table beside the same hours of another one. */
  async function hoursOf(table: string, from: NameOf, to: NameOf) {
    return clickhouse.query({
      sql: compareHours(table, from(table), to(table)),
      row: z.object({ hour: int64, from_rows: int64, to_rows: int64, is_same: z.int() }),
      timeoutMs: config.timeoutMs,
      settings: { do_not_merge_across_partitions_select_final: 1 },
    });
  }

  /**
   * Rows that only this set of tables has: neither the other set nor the stored events have them.
   */
  async function carryOver(from: NameOf, to: NameOf, what: string): Promise<void> {
    const steps: { sql: string; from: number; to: number }[] = [];

    for (const table of SESSION_TABLES) {
      const sql = carrySessions(from(table), to(table));
      const hoursOfTable = await hoursOf(table, from, to);
      steps.push(...rangesToCarry(hoursOfTable).map((range) => ({ sql, ...range })));
    }
    const sql = carryTraffic({
      from: from(TRAFFIC_TABLE),
      to: to(TRAFFIC_TABLE),
      events,
      // Whichever way it goes, the live ones know the newest rows: sessions are carried over before traffic.
      sessions: live('sessions'),
    });
    for (const { hour, is_same } of await hoursOf(TRAFFIC_TABLE, from, to)) {
      // Hour by hour: here the primary key begins with the time.
      if (is_same === 0) steps.push({ sql, from: hour, to: hour + HOUR_S });
    }
    for (const [index, step] of steps.entries()) {
      await command(step.sql, { from: step.from, to: step.to });
      onProgress(index + 1, steps.length, what);
    }
  }

  /** Throws if an hour would have fewer sessions than now. */
  async function checkNothingMissing(sinceS: number): Promise<void> {
    const keptFromS =
      config.retention.sessions === 0 ? 0 : sinceS - config.retention.sessions / 1_000 + DAY_S;
    const short: { table: string; hour: number; missing: number }[] = [];
    for (const table of SESSION_TABLES) {
      for (const { hour, from_rows, to_rows } of await hoursOf(table, live, beside)) {
        if (to_rows < from_rows && hour >= keptFromS) {
          short.push({ table, hour, missing: from_rows - to_rows });
        }
      }
    }
    if (short.length === 0) return;
    // Sessions that came meanwhile are folded after the exchange; the events of the last of them may
    // still be on their way.
    await delay(config.insertTimeoutMs);
    const changed = new Set(await windows(sinceS));
    const unexplained = short.filter(({ hour }) => !changed.has(hour));
    if (unexplained.length === 0) return;
    const named = unexplained
      .slice(0, SHORT_HOURS_NAMED)
      .map(
        ({ table, hour, missing }) =>
          `${missing} of ${table} in the hour of ${new Date(hour * 1_000).toISOString()}`,
      );
    throw new RebuildError(
      'rebuild_unsafe',
      `the new tables lack sessions that the live ones have: ${named.join(', ')}; nothing was exchanged. Run rebuild again; if that does not help, report it`,
    );
  }

  await deps.addEvents?.();
  const sinceS = (await serverTime()) - OVERLAP_S;

  for (const table of FOLDED_TABLES) {
    await command(`DROP TABLE IF EXISTS ${beside(table)} SYNC`);
    await command(`CREATE TABLE ${beside(table)} AS ${live(table)}`);
  }
  // After that: forget looks for these tables once its decision is stored.
  if (await isForgetting()) {
    for (const table of FOLDED_TABLES) await command(`DROP TABLE ${beside(table)} SYNC`);
    throw new RebuildError(
      'rebuild_unsafe',
      'forget runs or was interrupted, and the copies would bring its rows back. Let it end, or run it again, and then rebuild',
    );
  }
  const hours = await windows(0);
  if (hours.length === 0) {
    throw new RebuildError(
      'rebuild_unsafe',
      `${events} is empty, so there is nothing to build from. If the topic still has the events, use --from topic`,
    );
  }
  await refold(hours, beside, 'hours folded');
  await carryOver(live, beside, 'ranges of rows without events copied');
  await checkNothingMissing(sinceS);

  // In one statement: nothing that happens to this process leaves some of them exchanged.
  const pairs = FOLDED_TABLES.map((table) => `${live(table)} AND ${beside(table)}`);
  await command(`EXCHANGE TABLES ${pairs.join(', ')}`);
  onProgress(0, 1, 'tables exchanged, waiting for unfinished inserts');
  await delay(config.insertTimeoutMs);
  await refold(await windows(sinceS), live, 'hours folded of events that arrived meanwhile');
  // The rows of a batch are inserted table by table, each until it is acknowledged: sessions and traffic
  // may have gone into the tables that are about to be dropped, and their events may still be waiting.
  await carryOver(beside, live, 'ranges of rows without events yet copied');
  await command(`INSERT INTO session_ends (ended_at, started_at, session_id)
    SELECT assumeNotNull(ended_at), started_at, session_id FROM ${live('sessions')}
    WHERE ended_at IS NOT NULL AND toStartOfTenMinutes(assumeNotNull(ended_at)) != toStartOfTenMinutes(started_at)`);
  // A session may have another end now, or none.
  await command(`INSERT INTO session_ends (ended_at, started_at, session_id)
    SELECT ended_at, started_at, session_id FROM ${live('ended_sessions')}`);
  await markAllHours(clickhouse, config.retention, config.timeoutMs);
  for (const table of FOLDED_TABLES) await command(`DROP TABLE ${beside(table)} SYNC`);

  async function isForgetting(): Promise<boolean> {
    const [row] = await clickhouse.query({
      sql: 'SELECT count() AS n FROM ingest_forgotten FINAL WHERE finished_at IS NULL',
      row: z.object({ n: int64 }),
    });
    return (row?.n ?? 0) > 0;
  }

  async function serverTime(): Promise<number> {
    const [row] = await clickhouse.query({
      sql: 'SELECT toUnixTimestamp(now()) AS now',
      row: z.object({ now: int64 }),
    });
    return row?.now ?? 0;
  }
}
