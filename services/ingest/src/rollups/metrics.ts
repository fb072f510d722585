import { Counter, Gauge, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

export type RollupMetrics = ReturnType<typeof createRollupMetrics>;

export function createRollupMetrics(registry: Registry) {
  const registers = [registry];
  return {
    buckets: new Counter({
      name: 'sockscope_ingest_rollup_buckets_total',
      help: 'Buckets summed, by kind: slice (of the present hour), hour, day, week, detail_hour, detail_day.',
      labelNames: ['span'],
      registers,
    }),
    failures: new Counter({
      name: 'sockscope_ingest_rollup_failures_total',
      help: 'Rounds that failed; their buckets stay dirty.',
      registers,
    }),
    seconds: new Histogram({
      name: 'sockscope_ingest_rollup_duration_seconds',
      help: 'Time of one round, by kind of bucket.',
      labelNames: ['span'],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers,
    }),
    dirtyBuckets: new Gauge({
      name: 'sockscope_ingest_rollup_dirty_buckets',
      help: 'Changed buckets that are not summed yet, by span; the present hour is nearly always one of them.',
      labelNames: ['span'],
      registers,
    }),
    freshSeconds: new Gauge({
      name: 'sockscope_ingest_rollup_fresh_timestamp_seconds',
      help: 'The sums per hour contain all rows stored before this time; 0 until the first round.',
      registers,
    }),
  };
}
