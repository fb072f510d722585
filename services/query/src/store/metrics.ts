import { Counter, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

export interface StoreMetrics {
  readonly duration: Histogram<'query'>;
  readonly rowsRead: Counter<'query'>;
  readonly errors: Counter<'query' | 'code'>;
  readonly reused: Counter<'query'>;
}

/** Labels come from the fixed names of our queries and the fixed codes of our errors. */
export function createStoreMetrics(registry: Registry): StoreMetrics {
  return {
    duration: new Histogram({
      name: 'sockscope_query_sql_duration_seconds',
      help: 'Time of one query to ClickHouse, from sending it to its last row.',
      labelNames: ['query'],
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
      registers: [registry],
    }),
    rowsRead: new Counter({
      name: 'sockscope_query_sql_rows_read_total',
      help: 'Rows that ClickHouse read to answer.',
      labelNames: ['query'],
      registers: [registry],
    }),
    errors: new Counter({
      name: 'sockscope_query_sql_errors_total',
      help: 'Queries to ClickHouse that failed, were aborted or took too long.',
      labelNames: ['query', 'code'],
      registers: [registry],
    }),
    reused: new Counter({
      name: 'sockscope_query_sql_reused_total',
      help: 'Answers served from memory, at most as old as QUERY_REUSE.',
      labelNames: ['query'],
      registers: [registry],
    }),
  };
}
