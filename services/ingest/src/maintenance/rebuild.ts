/**
 * Builds the folded tables anew beside the live ones, then exchanges them. Ingest goes on meanwhile.
 *
 * Guarantee: nothing that ingest stores during the rebuild is missing afterwards. Every event goes into
 * `session_events` too; those that came since the beginning are folded again into the new tables once
 * these are live and an insert that was under way at the exchange must have ended.
 *
 * Until the last step the live tables are as they were, and a rebuild that ends in the middle leaves
 * nothing but the `_rebuild` tables, which the next one drops.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { storageName } from '../migrations/layout.js';
import type { Layout } from '../migrations/layout.js';
import { markAllHours } from '../rollups/index.js';
import { SESSION_COLUMNS, TRAFFIC_COLUMNS } from '../tables/columns.js';
import { FOLDED_TABLES, refoldWindow } from './refold.js';

/**
 * - `rebuild_unsafe`: the source does not hold what the tables hold, or the layout cannot exchange.
 */
export class RebuildError extends SockscopeError {
  declare readonly code: 'rebuild_unsafe';
}

const HOUR_S = 3_600;
const DAY_S = 86_400;
const EVENTS = 'session_events';
/** Before the beginning: an insert that began earlier may be stored later. */
const OVERLAP_S = 120;

export interface RebuildConfig {
  /** Longest time that an insert of ingest takes, milliseconds. */
  readonly insertTimeoutMs: number;
  /** Retention of `session_events`, milliseconds; 0: for good. Older sessions are taken from the live tables. */
  readonly eventsRetentionMs: number;
  /** Deadline of one statement, milliseconds. */
  readonly timeoutMs: number;
}

export interface RebuildDeps {
  readonly clickhouse: ClickHouse;
  readonly layout: Layout;
  readonly onProgress: (done: number, total: number, what: string) => void;
  /**
   * Fills `session_events_rebuild` from elsewhere; then that table becomes live too. Without it, the
   * events are those of `session_events`.
   */
  readonly fillEvents?: (table: string) => Promise<void>;
}

/** Rebuilds `sessions`, its copies and `session_traffic_1m`, and marks every hour for the rollups. */
export async function rebuild(config: RebuildConfig, deps: RebuildDeps): Promise<void> {
  const { clickhouse, layout, onProgress, fillEvents } = deps;
  if (layout.kind === 'cluster' && layout.replicated) {
    throw new RebuildError(
      'rebuild_unsafe',
      'Replicated tables keep the path of their name and cannot be exchanged: let ingest fold the topic into a new CLICKHOUSE_DATABASE with a new KAFKA_GROUP_ID, then point query at it',
    );
  }
  const live = (table: string) => storageName(layout, table);
  const beside = (table: string) => `${storageName(layout, table)}_rebuild`;
  const tables: readonly string[] =
    fillEvents === undefined ? FOLDED_TABLES : [...FOLDED_TABLES, EVENTS];

  async function command(sql: string, params: Record<string, SqlValue> = {}): Promise<void> {
    await clickhouse.command({
      sql,
      params,
      timeoutMs: config.timeoutMs,
      settings: {
        async_insert: 0,
        max_partitions_per_insert_block: 0,
        // Old rows are bound for old partitions, whatever their retention says.
        max_insert_threads: 1,
      },
    });
  }

  /** Hours in which sessions of `events` began, those alone that came since a time where one is given. */
  async function windows(events: string, sinceS: number | null): Promise<number[]> {
    const rows = await clickhouse.query({
      sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(started_at)) AS hour FROM ${events}
        WHERE ingested_at >= toDateTime({since:UInt32}, 'UTC') ORDER BY hour`,
      params: { since: sinceS ?? 0 },
      row: z.object({ hour: int64 }),
      timeoutMs: config.timeoutMs,
    });
    return rows.map(({ hour }) => hour);
  }

  async function refold(
    hours: readonly number[],
    events: string,
    nameOf: (table: string) => string,
    what: string,
  ): Promise<void> {
    for (const [index, hour] of hours.entries()) {
      for (const sql of refoldWindow(events, nameOf)) {
        // Windows one after the other bound the memory of the database.
        // oxlint-disable-next-line no-await-in-loop
        await command(sql, { from: hour, to: hour + HOUR_S });
      }
      onProgress(index + 1, hours.length, what);
    }
  }

  /** What lies before the oldest event that is kept, and what no event says: lost sessions. */
  async function carryOver(beforeS: number): Promise<void> {
    for (const table of FOLDED_TABLES) {
      const isTraffic = table === 'session_traffic_1m';
      const names = Object.keys(isTraffic ? TRAFFIC_COLUMNS : SESSION_COLUMNS).join(', ');
      const lost = isTraffic ? '' : " OR (close_reason = 'lost' AND version % 2 = 1)";
      // oxlint-disable-next-line no-await-in-loop
      await command(
        `INSERT INTO ${beside(table)} (${names}) SELECT ${names} FROM ${live(table)} FINAL
          WHERE started_at < toDateTime({before:UInt32}, 'UTC')${lost}`,
        { before: beforeS },
      );
    }
  }

  const begunS = await serverTime();
  /* oxlint-disable no-await-in-loop */
  for (const table of tables) {
    await command(`DROP TABLE IF EXISTS ${beside(table)} SYNC`);
    await command(`CREATE TABLE ${beside(table)} AS ${live(table)}`);
  }
  /* oxlint-enable no-await-in-loop */
  if (fillEvents !== undefined) await fillEvents(beside(EVENTS));
  const source = fillEvents === undefined ? live(EVENTS) : beside(EVENTS);
  const beforeS = oldestWholeDay(begunS, config.eventsRetentionMs);
  const hours = await windows(source, null);
  if (hours.length === 0) {
    throw new RebuildError('rebuild_unsafe', `${source} is empty: there is nothing to build from`);
  }
  await refold(
    hours.filter((hour) => hour >= beforeS),
    source,
    beside,
    'hours folded',
  );
  await carryOver(beforeS);

  // oxlint-disable-next-line no-await-in-loop
  for (const table of tables) await command(`EXCHANGE TABLES ${live(table)} AND ${beside(table)}`);
  onProgress(0, 1, 'tables exchanged, waiting for inserts that were under way');
  await delay(config.insertTimeoutMs);
  const sinceS = begunS - OVERLAP_S;
  if (fillEvents !== undefined) {
    // The names have changed places: what ingest stored meanwhile is in the table beside.
    const names = await columnsOf(EVENTS);
    await command(
      `INSERT INTO ${live(EVENTS)} (${names}) SELECT ${names} FROM ${beside(EVENTS)} WHERE ingested_at >= toDateTime({since:UInt32}, 'UTC')`,
      { since: sinceS },
    );
  }
  const arrived = await windows(fillEvents === undefined ? live(EVENTS) : beside(EVENTS), sinceS);
  await refold(arrived, live(EVENTS), live, 'hours folded of what came meanwhile');
  await markAllHours(clickhouse, config.timeoutMs);
  // oxlint-disable-next-line no-await-in-loop
  for (const table of tables) await command(`DROP TABLE ${beside(table)} SYNC`);

  async function serverTime(): Promise<number> {
    const [row] = await clickhouse.query({
      sql: 'SELECT toUnixTimestamp(now()) AS now',
      row: z.object({ now: int64 }),
    });
    return row?.now ?? 0;
  }

  async function columnsOf(table: string): Promise<string> {
    const rows = await clickhouse.query({
      sql: `SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String}`,
      params: { database: layout.database, table: live(table) },
      row: z.object({ name: z.string() }),
    });
    return rows.map(({ name }) => name).join(', ');
  }
}

/** Of the days before this one, some events may have expired. */
function oldestWholeDay(nowS: number, retentionMs: number): number {
  return retentionMs === 0 ? 0 : Math.ceil((nowS - retentionMs / 1_000) / DAY_S) * DAY_S;
}
