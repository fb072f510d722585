import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { z } from 'zod';
import type { Query } from '../sql/query.js';
import type { StoreMetrics } from './metrics.js';

/** Bounds of one query, enforced by ClickHouse and by us. */
export interface StoreLimits {
  readonly query_timeout_ms: number;
  readonly rows_to_read_max: number;
  readonly memory_max_bytes: number;
}

/** How one request asks: it may go away. */
export interface Asking {
  readonly signal: AbortSignal;
}

/** Puts questions to ClickHouse within limits, and measures each. */
export interface Store {
  ask<Row extends z.ZodType>(query: Query<Row>, asking: Asking): Promise<z.output<Row>[]>;
  ping(): Promise<void>;
}

export function createStore(
  limits: StoreLimits,
  deps: { readonly clickhouse: ClickHouse; readonly metrics: StoreMetrics },
): Store {
  const { clickhouse, metrics } = deps;
  const settings = {
    max_rows_to_read: limits.rows_to_read_max,
    max_memory_usage: limits.memory_max_bytes,
    // The server gives up by itself a little after us, should our closing not reach it.
    max_execution_time: Math.ceil(limits.query_timeout_ms / 1_000) + 1,
    timeout_overflow_mode: 'throw',
  };
  return {
    async ask(query, asking) {
      const end = metrics.duration.startTimer({ query: query.name });
      try {
        const { rows, cost } = await clickhouse.queryWithCost({
          sql: query.sql,
          params: query.params,
          row: query.row,
          settings: { ...settings, ...query.settings },
          timeoutMs: limits.query_timeout_ms,
          signal: asking.signal,
        });
        metrics.rowsRead.inc({ query: query.name }, cost.readRows);
        return rows;
      } catch (error) {
        const code = error instanceof ClickHouseError ? error.code : 'unknown';
        metrics.errors.inc({ query: query.name, code });
        throw error;
      } finally {
        end();
      }
    },
    ping: () => clickhouse.ping({ timeoutMs: 1_500 }),
  };
}
