import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import { createFoldPool } from '../fold/batch-fold.js';
import { readEvents } from './read-events.js';
import type { Stop } from './read-events.js';

/** Events that are written with one insert. */
const BATCH_EVENTS = 200_000;

export interface TopicEvents {
  readonly events: number;
  /** Records that are no valid event. */
  readonly poison: number;
  /** The places at which partitions wait: later records were not read. */
  readonly stops: readonly Stop[];
}

const TABLE = 'session_events';

/**
 * Writes every event of the topic into `session_events`, in large blocks. One that is stored already is
 * replaced by the same one, so ingest may continue meanwhile; in a cluster each goes to its shard.
 */
export async function copyTopicEvents(
  config: { readonly kafka: KafkaConfig; readonly timeoutMs: number },
  deps: {
    readonly clickhouse: ClickHouse;
    readonly logger: Logger;
    readonly onProgress: (done: number, total: number, what: string) => void;
  },
): Promise<TopicEvents> {
  const { clickhouse, logger, onProgress } = deps;
  const pool = createFoldPool(1);
  let fold = pool.take();
  let events = 0;
  let poison = 0;

  async function flush(): Promise<void> {
    const block = fold.encode().find(({ table }) => table === TABLE);
    if (block !== undefined) {
      await clickhouse.insert({
        table: TABLE,
        columns: block.columns,
        format: block.format,
        bytes: block.bytes,
        timeoutMs: config.timeoutMs,
        settings: { max_partitions_per_insert_block: 0 },
      });
    }
    fold.release();
    fold = pool.take();
  }

  const stops = await readEvents(
    config.kafka,
    { clickhouse, logger },
    {
      event(partition, view) {
        events += 1;
        fold.add(view, partition);
      },
      poison() {
        poison += 1;
      },
      async flush() {
        if (fold.count >= BATCH_EVENTS) await flush();
      },
      progress(done, total) {
        onProgress(done, total, 'records read');
      },
    },
  );
  await flush();
  return { events, poison, stops };
}
