/**
 * Deletes rows past their retention: whole partitions are dropped, which costs nothing; the rest is
 * rewritten if the disk has room.
 *
 * Tables whose partitions are a week at most only ever drop whole parts afterwards. Rewriting parts row
 * by row is left to small tables, and to those with larger partitions, once in some days.
 */
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { onCluster, storageName, storageTable } from './layout.js';
import type { Layout } from './layout.js';
import type { RetainedTable } from './retention.js';
import { settingsClause } from './settings.js';

const DAY_MS = 86_400_000;
/** Days that a row stays on disk at most beyond its retention. */
const GRACE_DAYS = 7;
/** Seconds between two rewritings of expired rows, less than the grace. */
const REWRITE_INTERVAL_S = 5 * 86_400;
const QUERY_TIMEOUT_MS = 300_000;

/** A statement for a table, and a message about it. */
export interface ExpiryStep {
  /** Empty if there is only a message. */
  readonly sql: string;
  readonly note?: string;
}

const DROPS_PARTS = { ttl_only_drop_parts: 1, materialize_ttl_recalculate_only: 1 } as const;
const REWRITES = { merge_with_ttl_timeout: REWRITE_INTERVAL_S } as const;

/**
 * The days of a partition, from the expression of its key; null if the partition key is not one of
 * ours.
 */
export function partitionDays(key: string): 'day' | 'week' | 'month' | 'year' | null {
  if (key.startsWith('toDate(')) return 'day';
  if (key.startsWith('toMonday(')) return 'week';
  if (key.startsWith('toYYYYMM(')) return 'month';
  if (key.startsWith('toYear(')) return 'year';
  return null;
}

/** The end of a partition, milliseconds since 1970; null if its name has no date. */
export function partitionEndMs(key: string, name: string): number | null {
  const days = partitionDays(key);
  const [year = Number.NaN, month = 1, day = 1] =
    days === 'month'
      ? [Number(name.slice(0, 4)), Number(name.slice(4))]
      : name.replaceAll("'", '').split('-').map(Number);
  const end = {
    day: () => Date.UTC(year, month - 1, day + 1),
    week: () => Date.UTC(year, month - 1, day + 7),
    month: () => Date.UTC(year, month, 1),
    year: () => Date.UTC(year + 1, 0, 1),
  };
  const ms = days === null ? Number.NaN : end[days]();
  return Number.isNaN(ms) ? null : ms;
}

export function dropsWholeParts(key: string): boolean {
  const days = partitionDays(key);
  return days === 'day' || days === 'week';
}

/** The settings that change a table's way of expiring; null if it has them. */
export function expirySettings(key: string, engineFull: string): string | null {
  return settingsClause(dropsWholeParts(key) ? DROPS_PARTS : REWRITES, engineFull);
}

export interface ExpiryDeps {
  readonly clickhouse: ClickHouse;
  readonly layout: Layout;
  readonly nowMs: number;
}

interface PartitionOfTable {
  readonly id: string;
  readonly name: string;
  readonly rows: number;
  readonly bytes: number;
}

/**
 * @param table as it is now: the key of its partitions, and whether its retention changes.
 */
export async function expirySteps(
  retained: RetainedTable,
  table: { readonly partitionKey: string; readonly isChanged: boolean },
  deps: ExpiryDeps,
): Promise<ExpiryStep[]> {
  const { layout, nowMs } = deps;
  if (retained.days === 0) return [];
  const alter = `ALTER TABLE ${storageTable(layout, retained.table)}${onCluster(layout)}`;
  const cutMs = nowMs - retained.days * DAY_MS;
  const partitions = await partitionsOf(retained.table, deps);
  const isOver = ({ name }: PartitionOfTable) =>
    (partitionEndMs(table.partitionKey, name) ?? Number.POSITIVE_INFINITY) <= cutMs;
  const whole = partitions.filter(isOver);
  const steps: ExpiryStep[] = whole.map(({ id, name, rows, bytes }) => ({
    sql: `${alter} DROP PARTITION ID '${id}'`,
    note: `${retained.table}: partition ${name} is past its ${retained.days} days: ${rows} rows, ${mebibytes(bytes)}`,
  }));
  const rest = partitions.filter((each) => !isOver(each));
  if (dropsWholeParts(table.partitionKey)) {
    // Only the times of expiry are rewritten.
    if (table.isChanged && rest.length > 0) steps.push({ sql: `${alter} MATERIALIZE TTL` });
    return steps;
  }
  if (rest.length === 0) return steps;
  const graceMs = table.isChanged ? 0 : GRACE_DAYS * DAY_MS;
  const expired = await expiredRows(retained, (cutMs - graceMs) / 1_000, deps);
  let freeBytes = await freeSpace(deps);
  for (const partition of rest) {
    const rows = expired.get(partition.id) ?? 0;
    if (rows === 0) continue;
    const what = `${retained.table}: ${rows} rows of partition ${partition.name} are past their ${retained.days} days`;
    const { bytes } = partition;
    if (bytes > freeBytes) {
      const note = `${what}; kept for now: rewriting it needs ${mebibytes(bytes)} of disk, ${mebibytes(freeBytes)} are free. Make room and run migrate again`;
      steps.push({ sql: '', note });
      continue;
    }
    freeBytes -= bytes;
    steps.push({ sql: `${alter} MATERIALIZE TTL IN PARTITION ID '${partition.id}'`, note: what });
  }
  return steps;
}

async function partitionsOf(table: string, deps: ExpiryDeps): Promise<PartitionOfTable[]> {
  return deps.clickhouse.query({
    sql: `SELECT partition_id AS id, any(partition) AS name, sum(rows) AS rows, sum(bytes_on_disk) AS bytes
      FROM ${everywhere(deps.layout, 'system.parts')}
      WHERE database = {database:String} AND table = {table:String} AND active
      GROUP BY id ORDER BY name`,
    params: { database: deps.layout.database, table: storageName(deps.layout, table) },
    row: z.object({ id: z.string(), name: z.string(), rows: int64, bytes: int64 }),
    timeoutMs: QUERY_TIMEOUT_MS,
  });
}

/** Rows before a time, by partition. */
async function expiredRows(retained: RetainedTable, cutS: number, deps: ExpiryDeps) {
  const rows = await deps.clickhouse.query({
    sql: `SELECT _partition_id AS id, count() AS rows FROM ${storageTable(deps.layout, retained.table)}
      WHERE ${retained.column} < fromUnixTimestamp64Milli({cut:Int64}, 'UTC') GROUP BY id`,
    params: { cut: Math.max(0, Math.floor(cutS)) * 1_000 },
    row: z.object({ id: z.string(), rows: int64 }),
    timeoutMs: QUERY_TIMEOUT_MS,
  });
  return new Map(rows.map((row) => [row.id, row.rows]));
}

async function freeSpace(deps: ExpiryDeps): Promise<number> {
  const [row] = await deps.clickhouse.query({
    sql: `SELECT min(unreserved_space) AS free FROM ${everywhere(deps.layout, 'system.disks')}`,
    row: z.object({ free: int64 }),
  });
  return row?.free ?? 0;
}

function everywhere(layout: Layout, table: string): string {
  return layout.kind === 'cluster' && layout.onCluster
    ? `clusterAllReplicas('${layout.cluster}', ${table})`
    : table;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
