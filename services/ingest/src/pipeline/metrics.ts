import { Counter, Gauge, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { POISON_REASONS } from '../decode/decode-event.js';

export type PipelineMetrics = ReturnType<typeof createPipelineMetrics>;

export function createPipelineMetrics(registry: Registry) {
  const registers = [registry];
  const poison = new Counter({
    name: 'sockscope_ingest_poison_records_total',
    help: 'Invalid records that went to the dead-letter topic.',
    labelNames: ['reason'],
    registers,
  });
  // A counter that begins with 1 has no increase in Prometheus, so the first record would not count.
  for (const reason of POISON_REASONS) poison.inc({ reason }, 0);
  return {
    records: new Counter({
      name: 'sockscope_ingest_records_total',
      help: 'Records taken from Kafka, repeated ones included.',
      registers,
    }),
    bytes: new Counter({
      name: 'sockscope_ingest_record_bytes_total',
      help: 'Bytes of the values of the records taken from Kafka.',
      registers,
    }),
    poison,
    forgotten: new Counter({
      name: 'sockscope_ingest_forgotten_events_total',
      help: 'Events that were skipped because their user or source address was forgotten.',
      registers,
    }),
    unknownFields: new Counter({
      name: 'sockscope_ingest_unknown_fields_total',
      help: 'Unknown fields of valid events, which ingest ignores; upgrade ingest to keep them.',
      labelNames: ['event'],
      registers,
    }),
    headerChanges: new Counter({
      name: 'sockscope_ingest_header_changes_total',
      help: 'Changes of a constant field within a session; the newest event wins. A field that never may change is unknown if it changed between two batches.',
      labelNames: ['field'],
      registers,
    }),
    batches: new Counter({
      name: 'sockscope_ingest_batches_total',
      help: 'Batches written, by the limit that ended them.',
      labelNames: ['cause'],
      registers,
    }),
    batchEvents: new Histogram({
      name: 'sockscope_ingest_batch_events',
      help: 'Events in a batch.',
      buckets: [1, 10, 100, 1_000, 10_000, 50_000, 100_000, 200_000],
      registers,
    }),
    batchSeconds: new Histogram({
      name: 'sockscope_ingest_batch_write_duration_seconds',
      help: 'Time from closing a batch to the commit of its offsets.',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    delaySeconds: new Histogram({
      name: 'sockscope_ingest_event_delay_seconds',
      help: 'Age of the oldest and the newest event of a batch when it became queryable.',
      labelNames: ['of'],
      buckets: [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3_600],
      registers,
    }),
    held: new Gauge({
      name: 'sockscope_ingest_held_events',
      help: 'Events read from Kafka that ClickHouse has not acknowledged yet.',
      registers,
    }),
  };
}
