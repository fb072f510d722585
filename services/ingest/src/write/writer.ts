/**
 * Guarantee: when `write` resolves, ClickHouse has acknowledged every row of every table. Until then
 * the same bytes are sent again and again; a table may have got them several times, which the fold of
 * the tables does not notice. Nothing is ever given up but by the caller's signal.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createLogLimiter, messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { TableBlock } from '../tables/block.js';
import type { WriterConfig } from './config.js';
import type { WriterMetrics } from './metrics.js';

export interface Writer {
  /** @throws the last error once `signal` fires; some of the tables may have the rows then. */
  write(blocks: readonly TableBlock[], signal: AbortSignal): Promise<void>;
  /** The error that inserts fail with at present, or null. */
  trouble(): string | null;
}

const BACKOFF_FIRST_MS = 100;
const INSERT_SETTINGS = {
  // Rows with the same key were folded before; doing it again costs a quarter of an insert.
  optimize_on_insert: 0,
  // Repetition is harmless here; rows that a replica drops as repeated may have been deleted meanwhile.
  insert_deduplicate: 0,
  // The first merge makes them. A part of one batch is small enough to be read whole.
  materialize_skip_indexes_on_insert: 0,
  // A batch may hold sessions of any number of days. The default refuses more than 100, for ever.
  max_partitions_per_insert_block: 0,
  // For the small blocks of bookkeeping, which are JSON with ISO 8601 times.
  date_time_input_format: 'best_effort',
};
const LOG_INTERVAL_MS = 5_000;

/** TIMEOUT_EXCEEDED and MEMORY_LIMIT_EXCEEDED: the server could not do this many rows in one statement. */
const TOO_MUCH_CODES: readonly (number | null)[] = [159, 241];
/**
 * How often in a row the server must have answered something else while an insert did not finish:
 * else it was the server that stood still, and fewer rows would not have helped.
 */
const TIMEOUTS_TOO_MUCH = 2;
const PING_TIMEOUT_MS = 2_000;
const PING_INTERVAL_MS = 500;

export function createWriter(
  config: WriterConfig,
  deps: {
    readonly clickhouse: Pick<ClickHouse, 'insert' | 'ping'>;
    readonly logger: Logger;
    readonly metrics: WriterMetrics;
  },
): Writer {
  const { clickhouse, logger, metrics } = deps;
  const troubles = new Map<string, string>();
  const limiter = createLogLimiter(LOG_INTERVAL_MS);

  async function insert(block: TableBlock, signal: AbortSignal): Promise<void> {
    const stop = metrics.insertSeconds.startTimer({ table: block.table });
    await clickhouse.insert({
      table: block.table,
      columns: block.columns,
      format: block.format,
      bytes: block.bytes,
      settings: {
        ...INSERT_SETTINGS,
        // So that the server gives the insert up too.
        max_execution_time: Math.ceil(config.insert_timeout_ms / 1_000),
      },
      timeoutMs: config.insert_timeout_ms,
      signal,
    });
    stop();
    metrics.rows.inc({ table: block.table }, block.rows);
  }

  async function answers(signal: AbortSignal): Promise<boolean> {
    try {
      await clickhouse.ping({ timeoutMs: PING_TIMEOUT_MS, signal });
      return true;
    } catch {
      return false;
    }
  }

  /** An insert that is sent to a server that hangs is one more that it must read when it returns. */
  async function untilItAnswers(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !(await answers(signal))) {
      await delay(PING_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async function insertUntilAcknowledged(block: TableBlock, signal: AbortSignal): Promise<void> {
    let timeouts = 0;
    for (
      let backoffMs = BACKOFF_FIRST_MS;
      ;
      backoffMs = Math.min(backoffMs * 2, config.backoff_max_ms)
    ) {
      try {
        await insert(block, signal);
        troubles.delete(block.table);
        return;
      } catch (error) {
        const code = error instanceof ClickHouseError ? error.code : 'unexpected';
        metrics.insertFailures.inc({ table: block.table, code });
        troubles.set(block.table, `${block.table}: ${messageOf(error)}`);
        if (signal.aborted) throw error;
        const isTimeout = code === 'clickhouse_timeout';
        const isAnswering = isTimeout && (await answers(signal));
        timeouts = isAnswering ? timeouts + 1 : 0;
        const isTooMuch =
          timeouts >= TIMEOUTS_TOO_MUCH ||
          (error instanceof ClickHouseError && TOO_MUCH_CODES.includes(error.serverCode));
        const halves = isTooMuch ? block.halves?.() : undefined;
        if (halves !== undefined) {
          // The same rows in the same order, but in two inserts: otherwise the same insert would
          // always take too long.
          logger.warn(
            { table: block.table, rows: block.rows },
            'an insert is too large and is halved',
          );
          for (const half of halves) {
            await insertUntilAcknowledged(half, signal);
          }
          return;
        }
        const heldBack = limiter.pass();
        if (heldBack !== null) {
          // An error that needs a change (a missing table, say) is retried too: the operator may
          // make the change while we wait, and there is nowhere else for the rows to go.
          logger.error(
            { err: error, table: block.table, backoff_ms: backoffMs, held_back: heldBack },
            'insert failed; the same rows are sent again',
          );
        }
        if (isTimeout && !isAnswering) await untilItAnswers(signal);
        else await delay(backoffMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  return {
    async write(blocks, signal) {
      await Promise.all(blocks.map((block) => insertUntilAcknowledged(block, signal)));
    },
    trouble: () => [...troubles.values()][0] ?? null,
  };
}
