/**
 * One statement of a round, with limits that hold on the server too: it ends there when its time is over,
 * and when we give up. A client that gives up on an INSERT … SELECT does not stop it by itself.
 */
import { randomUUID } from 'node:crypto';
import { SHARED_SNAPSHOT } from '@sockscope/schemas/sums';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';

export interface StatementLimits {
  readonly threads: number;
  /** Longest time of one statement, milliseconds. */
  readonly statement_ms: number;
  /** Memory of one statement; sums that need more go to disk, then the statement is refused. */
  readonly memory_bytes: number;
  /** Statements wait while the server runs one with a lower number (the setting `priority`). */
  readonly priority: number;
  /** Niceness of its threads on the server; 0 changes nothing (the setting `os_thread_priority`). */
  readonly nice: number;
}

/** The server ends the statement first, so that its error names the reason. */
const GRACE_MS = 5_000;
const KILL_TIMEOUT_MS = 5_000;
/**
 * Share of a statement's memory at which its groups go to disk; the rest is for reading and inserting. A slice of 1.8
 * million sessions takes a little more than 0.4 GiB in two threads, and several times as long if its groups go to disk.
 */
const GROUPS_SHARE = 0.6;
const MEMORY_CODE = 241;
/** TIMEOUT_EXCEEDED, TOO_SLOW and MEMORY_LIMIT_EXCEEDED. */
const TOO_MUCH_CODES: readonly (number | null)[] = [159, 160, MEMORY_CODE];

/** Returns whether less work at once may succeed. */
export function isTooMuch(error: unknown): boolean {
  return (
    error instanceof ClickHouseError &&
    (error.code === 'clickhouse_timeout' || TOO_MUCH_CODES.includes(error.serverCode))
  );
}

/** Returns whether it took too long: then smaller groups help little, because each part reads all rows. */
export function isTooLong(error: unknown): boolean {
  return isTooMuch(error) && error instanceof ClickHouseError && error.serverCode !== MEMORY_CODE;
}

export interface RoundStatement {
  /** Begins the id of the query, so that `system.processes` names the bucket. */
  readonly name: string;
  readonly sql: string;
  readonly params: Readonly<Record<string, SqlValue>>;
}

/** The time in which some statements ran, those that run now included. */
export interface RunningTime {
  /** Milliseconds. */
  ms(): number;
  during<T>(work: () => Promise<T>): Promise<T>;
}

export function createRunningTime(): RunningTime {
  let endedMs = 0;
  let begunMs: number | null = null;
  const presentMs = () => (begunMs === null ? 0 : performance.now() - begunMs);
  return {
    ms: () => endedMs + presentMs(),
    async during(work) {
      begunMs = performance.now();
      try {
        return await work();
      } finally {
        endedMs += presentMs();
        begunMs = null;
      }
    },
  };
}

/** Runs one statement. @throws ClickHouseError; the statement has ended by then, or was cancelled. */
export async function runStatement(
  clickhouse: Pick<ClickHouse, 'command'>,
  { name, sql, params }: RoundStatement,
  limits: StatementLimits,
  signal: AbortSignal,
): Promise<void> {
  const queryId = `${name}-${randomUUID()}`;
  try {
    await clickhouse.command({
      sql,
      params,
      queryId,
      signal,
      timeoutMs: limits.statement_ms + GRACE_MS,
      settings: {
        max_threads: limits.threads,
        priority: limits.priority,
        os_thread_priority: limits.nice,
        max_execution_time: limits.statement_ms / 1_000,
        max_memory_usage: limits.memory_bytes,
        max_bytes_before_external_group_by: Math.floor(limits.memory_bytes * GROUPS_SHARE),
        // The default, half of the memory, would come first.
        max_bytes_ratio_before_external_group_by: GROUPS_SHARE,
        // A sum has the name of the summed column.
        prefer_column_name_to_alias: 1,
        do_not_merge_across_partitions_select_final: 1,
        distributed_product_mode: 'local',
        ...SHARED_SNAPSHOT,
        async_insert: 0,
        insert_deduplicate: 0,
        distributed_foreground_insert: 1,
        // Every round reads the replica that marks and rows are written to.
        load_balancing: 'in_order',
      },
    });
  } catch (error) {
    const isUnknown =
      error instanceof ClickHouseError &&
      (error.code === 'clickhouse_timeout' || error.code === 'clickhouse_aborted');
    if (isUnknown) await kill(clickhouse, queryId);
    throw error;
  }
}

async function kill(clickhouse: Pick<ClickHouse, 'command'>, queryId: string): Promise<void> {
  const sql = `KILL QUERY WHERE query_id = {id:String} ASYNC`;
  // If this fails the statement ends by its own time limit.
  await clickhouse
    .command({ sql, params: { id: queryId }, timeoutMs: KILL_TIMEOUT_MS })
    .catch(() => undefined);
}
