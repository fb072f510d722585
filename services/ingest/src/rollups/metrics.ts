import { Counter, Gauge, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

export type RollupMetrics = ReturnType<typeof createRollupMetrics>;

export function createRollupMetrics(registry: Registry) {
  const registers = [registry];
  return {
    hours: new Counter({
      name: 'sockscope_ingest_rollup_hours_total',
      help: 'Hours recomputed.',
      registers,
    }),
    failures: new Counter({
      name: 'sockscope_ingest_rollup_failures_total',
      help: 'Rounds that failed; their hours stay marked.',
      registers,
    }),
    seconds: new Histogram({
      name: 'sockscope_ingest_rollup_duration_seconds',
      help: 'Time of one round that had something to do.',
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers,
    }),
    dirtyHours: new Gauge({
      name: 'sockscope_ingest_rollup_dirty_hours',
      help: 'Marked hours that the last round left for the next.',
      registers,
    }),
    dirtySessions: new Gauge({
      name: 'sockscope_ingest_rollup_dirty_sessions',
      help: 'Marks of sessions that the last round left for the next: an end of theirs that moved may be counted twice.',
      registers,
    }),
    freshSeconds: new Gauge({
      name: 'sockscope_ingest_rollup_fresh_timestamp_seconds',
      help: 'Rows stored before this time are in the sums; 0 until the first round.',
      registers,
    }),
  };
}
