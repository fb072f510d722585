import { Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import type { Wait } from './waits.js';

export type WaitsMetrics = ReturnType<typeof createWaitsMetrics>;

export function createWaitsMetrics(registry: Registry) {
  const registers = [registry];
  const offset = new Gauge({
    name: 'sockscope_ingest_waiting_offset',
    help: 'Offset at which a partition waits, by reason; absent if it does not wait.',
    labelNames: ['partition', 'kind'],
    registers,
  });
  const neededVersion = new Gauge({
    name: 'sockscope_ingest_needed_schema_version',
    help: 'The schema_version that a waiting partition needs; absent otherwise.',
    labelNames: ['partition'],
    registers,
  });
  const count = new Gauge({
    name: 'sockscope_ingest_waiting_partitions',
    help: 'Partitions of this process that wait; /readyz and the log show the offset and the reason.',
    registers,
  });
  return {
    /** Replaces the shown state. */
    show(waits: readonly Wait[]): void {
      offset.reset();
      neededVersion.reset();
      count.set(waits.length);
      for (const wait of waits) {
        offset.set({ partition: wait.partition, kind: wait.kind }, wait.offset);
        if (wait.neededVersion > 0) {
          neededVersion.set({ partition: wait.partition }, wait.neededVersion);
        }
      }
    },
  };
}
