/** Reads the topic's events for the commands, as far as ingest itself would go. */
import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { readTopic } from '@sockscope/runtime/kafka';
import type { KafkaConfig, RecordCursor } from '@sockscope/runtime/kafka';
import { createDecoder } from '../decode/decode-event.js';
import { EventView } from '../decode/event-view.generated.js';
import { forgottenBy, readDecisions } from '../forget/forgotten.js';
import { readSkips, skipsOf } from '../waits/skips.js';

/** The place at which a partition is unreadable, and the reason. Later records were not read. */
export interface Stop {
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
}

export interface EventReader {
  /** `view` holds the event of the cursor's present record. */
  event(partition: number, view: EventView, records: RecordCursor): void;
  /** Counts an invalid record. */
  poison(partition: number): void;
  /** Called after each batch. */
  flush(): Promise<void>;
  progress(done: number, total: number): void;
}

/** @returns the partitions that wait, with the places up to which they were read. */
export async function readEvents(
  kafka: KafkaConfig,
  deps: {
    readonly clickhouse: ClickHouse;
    readonly logger: Logger;
    readonly signal?: AbortSignal | undefined;
  },
  reader: EventReader,
): Promise<readonly Stop[]> {
  const skips = skipsOf(await readSkips(deps.clickhouse, kafka.topic));
  const isForgotten = forgottenBy(await readDecisions(deps.clickhouse));
  const view = new EventView();
  const decoder = createDecoder(view);
  const stops: Stop[] = [];
  await readTopic(
    { kafka, topic: kafka.topic },
    {
      async onBatch({ partition, records }) {
        while (records.next()) {
          const poison = decoder.decode(records.bytes, records.valueStart, records.valueLength);
          if (poison === null) {
            if (!isForgotten(view)) reader.event(partition, view, records);
          } else if (poison.neededVersion === undefined || skips.has(partition, records.offset)) {
            reader.poison(partition);
          } else {
            stops.push({ partition, offset: records.offset, reason: poison.detail });
            return 'stop';
          }
        }
        await reader.flush();
        return undefined;
      },
      onUnreadable({ partition, from, reason }) {
        if (skips.has(partition, from)) return undefined;
        stops.push({ partition, offset: from, reason });
        return 'stop';
      },
      signal: deps.signal,
      onProgress: (done, total) => {
        reader.progress(done, total);
      },
    },
    { logger: deps.logger },
  );
  return stops;
}
