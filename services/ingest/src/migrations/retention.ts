import type { RetentionConfig } from './config.js';

const DAY_MS = 86_400_000;
const WEEK_DAYS = 7;

/** A table whose rows expire, by which of its times. */
export interface RetainedTable {
  readonly table: string;
  readonly column: string;
  /** 0 keeps rows permanently. */
  readonly days: number;
}

/** The configured retention of each table. A part of a day counts as a whole one. */
export function retainedTables(config: RetentionConfig): RetainedTable[] {
  const days = (ms: number) => Math.ceil(ms / DAY_MS);
  const sessions = days(config.sessions);
  return [
    { table: 'sessions', column: 'started_at', days: sessions },
    { table: 'sessions_by_user', column: 'started_at', days: sessions },
    { table: 'sessions_by_destination', column: 'started_at', days: sessions },
    { table: 'long_sessions', column: 'started_at', days: sessions },
    { table: 'session_ends', column: 'started_at', days: sessions },
    { table: 'ended_sessions', column: 'started_at', days: sessions },
    { table: 'session_traffic_1m', column: 'bucket', days: days(config.session_traffic_1m) },
    { table: 'session_events', column: 'started_at', days: days(config.session_events) },
    { table: 'rollup_1h', column: 'bucket', days: days(config.rollup_1h) },
    { table: 'rollup_sketches_1h', column: 'bucket', days: days(config.rollup_1h) },
    { table: 'rollup_1d', column: 'bucket', days: days(config.rollup_1d) },
    { table: 'rollup_sketches_1d', column: 'bucket', days: days(config.rollup_1d) },
    // A week's row is as old as its last day.
    {
      table: 'rollup_1w',
      column: 'bucket',
      days: config.rollup_1d === 0 ? 0 : days(config.rollup_1d) + WEEK_DAYS,
    },
    { table: 'rollup_pairs_1h', column: 'bucket', days: days(config.rollup_pairs_1h) },
    { table: 'rollup_pairs_1d', column: 'bucket', days: days(config.rollup_pairs_1d) },
    { table: 'export_audit', column: 'exported_at', days: days(config.export_audit) },
  ];
}

/** The TTL as ClickHouse itself writes it in `engine_full`. */
export function ttlExpression(retained: RetainedTable): string {
  return `toDateTime(${retained.column}) + toIntervalDay(${retained.days})`;
}

/** Days after which a table's rows expire now; null: never. */
export function presentDays(engineFull: string): number | null {
  const days = / TTL .*toIntervalDay\((\d+)\)/.exec(engineFull)?.[1];
  return days === undefined ? null : Number(days);
}

/**
 * The change that sets a table's retention; null if none is needed.
 *
 * @param engineFull `system.tables.engine_full` of the table as it is.
 */
export function retentionClause(retained: RetainedTable, engineFull: string): string | null {
  const present = / TTL (.+?)(?: SETTINGS |$)/.exec(engineFull)?.[1] ?? '';
  if (retained.days === 0) return present === '' ? null : 'REMOVE TTL';
  const wanted = ttlExpression(retained);
  return present === wanted ? null : `MODIFY TTL ${wanted}`;
}
