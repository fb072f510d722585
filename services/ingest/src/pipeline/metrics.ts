import { Counter, Gauge, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

export type PipelineMetrics = ReturnType<typeof createPipelineMetrics>;

export function createPipelineMetrics(registry: Registry) {
  const registers = [registry];
  return {
    records: new Counter({
      name: 'sockscope_ingest_records_total',
      help: 'Records taken from Kafka, repeated ones included.',
      registers,
    }),
    bytes: new Counter({
      name: 'sockscope_ingest_record_bytes_total',
      help: 'Bytes of the values of these records.',
      registers,
    }),
    poison: new Counter({
      name: 'sockscope_ingest_poison_records_total',
      help: 'Records that are no valid event and went to the dead-letter topic.',
      labelNames: ['reason'],
      registers,
    }),
    unknownFields: new Counter({
      name: 'sockscope_ingest_unknown_fields_total',
      help: 'Fields of valid events that this version of the contract does not know and ignores: upgrade ingest to keep them.',
      labelNames: ['event'],
      registers,
    }),
    headerChanges: new Counter({
      name: 'sockscope_ingest_header_changes_total',
      help: 'Events that changed a field of their session which must not change; the newest event wins. Events of one batch are compared.',
      labelNames: ['field'],
      registers,
    }),
    batches: new Counter({
      name: 'sockscope_ingest_batches_total',
      help: 'Batches written, by what ended them.',
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
      help: 'Time from closing a batch until all of it was acknowledged and committed.',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers,
    }),
    delaySeconds: new Histogram({
      name: 'sockscope_ingest_event_delay_seconds',
      help: 'Age of the oldest and of the newest event of a batch when it could be queried.',
      labelNames: ['of'],
      buckets: [0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 3_600],
      registers,
    }),
    held: new Gauge({
      name: 'sockscope_ingest_held_events',
      help: 'Events taken from Kafka and not yet acknowledged by ClickHouse.',
      registers,
    }),
  };
}
