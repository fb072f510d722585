import { Counter, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { CLICKHOUSE_ERROR_CODES } from '@sockscope/runtime/clickhouse';
import { TABLE_COLUMNS } from '../tables/columns.js';

export type WriterMetrics = ReturnType<typeof createWriterMetrics>;

export function createWriterMetrics(registry: Registry) {
  const registers = [registry];
  const insertFailures = new Counter({
    name: 'sockscope_ingest_insert_failures_total',
    help: 'Inserts that failed and were sent again.',
    labelNames: ['table', 'code'],
    registers,
  });
  // A counter that begins with 1 has no increase in Prometheus, so the first failure would not count.
  for (const table of Object.keys(TABLE_COLUMNS)) {
    for (const code of CLICKHOUSE_ERROR_CODES) insertFailures.inc({ table, code }, 0);
  }
  return {
    rows: new Counter({
      name: 'sockscope_ingest_rows_total',
      help: 'Rows that ClickHouse acknowledged.',
      labelNames: ['table'],
      registers,
    }),
    insertFailures,
    insertSeconds: new Histogram({
      name: 'sockscope_ingest_insert_duration_seconds',
      help: 'Time of one acknowledged insert.',
      labelNames: ['table'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
      registers,
    }),
  };
}
