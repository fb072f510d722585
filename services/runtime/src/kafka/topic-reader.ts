import type { Logger } from '../log/logger.js';
import { createKafkaAdmin } from './admin.js';
import type { KafkaConfig } from './config.js';
import { consumerConfig } from './consumer-config.js';
import { BatchTooLargeError } from './codecs.js';
import { createPartitionFetcher, throwIfAborted } from './direct.js';
import type { Fetched } from './direct.js';
import { KafkaError } from './errors.js';
import type { ConsumedBatch, UnreadableBatch } from './consumer-types.js';
import { openBatch } from './record-batch.js';
import type { RecordBatch, RecordCursor } from './record-batch.js';

/** `stop`: nothing more of this partition, which then counts as read. */
export type ReadFurther = 'stop' | void;

export interface TopicHandlers {
  /**
   * Each batch in turn, one partition after the other; the next one comes when this has resolved.
   * Records of the last batch may lie beyond the end that the topic had when the reading began.
   */
  onBatch(batch: ConsumedBatch): ReadFurther | Promise<ReadFurther>;
  /** Decides about unreadable records; without it they are an error. */
  onUnreadable?(batch: UnreadableBatch): ReadFurther;
  /** Called after every batch: how many of how many offsets are behind us. */
  onProgress?(done: number, total: number): void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Time without a batch after which a partition counts as unreadable. The time that `onBatch` takes
 * does not count: nothing can come meanwhile, and a slow insert is no fault of Kafka's.
 */
const STALL_MS = 60_000;

/**
 * Reads a topic from its oldest records to the end that it has now, for commands and checks. It fetches
 * by offset, without a group: Read on the topic is all that it needs.
 *
 * @returns the end of each partition that was read.
 * @throws KafkaError; `kafka_aborted` when the signal fired. Every error of `onBatch`.
 */
export async function readTopic(
  config: {
    readonly kafka: KafkaConfig;
    readonly topic: string;
    /** Instead of a minute. */
    readonly stall_ms?: number;
    /** First offsets by partition; no other partition is read. Without it all are, from their oldest records. */
    readonly from?: ReadonlyMap<number, number>;
  },
  handlers: TopicHandlers,
  deps: { readonly logger: Logger },
): Promise<ReadonlyMap<number, number>> {
  const { kafka, topic } = config;
  const stallMs = config.stall_ms ?? STALL_MS;
  const role = 'reader';
  const admin = createKafkaAdmin(kafka, { ...deps, role });
  const fetcher = createPartitionFetcher({ kafka, topic, patience_ms: stallMs }, { ...deps, role });
  const maxBytes = consumerConfig.parse({}).batch_max_bytes;
  let done = 0;

  /** Waits until something of the partition comes. Null when its oldest records are gone meanwhile. */
  async function next(partition: number, offset: number): Promise<Fetched | null> {
    for (const endMs = Date.now() + stallMs; Date.now() <= endMs;) {
      try {
        const fetched = await fetcher.fetchFrom(partition, offset, handlers.signal);
        if (fetched.batches.length > 0) return fetched;
      } catch (error) {
        if (error instanceof KafkaError && error.type === 'OFFSET_OUT_OF_RANGE') return null;
        throw error;
      }
    }
    throw new KafkaError('kafka_timeout', `no record of ${topic} arrived for ${stallMs} ms`, {
      retryable: true,
    });
  }

  /** The partition's start now, after retention has deleted the next record. */
  async function beginning(partition: number, offset: number): Promise<number> {
    const partitions = await admin.describeTopic(topic);
    const earliest = Number(partitions?.find((p) => p.partition === partition)?.earliestOffset);
    if (earliest > offset) return earliest;
    throw new KafkaError(
      'kafka_rejected',
      `${topic} was deleted and created again during reading`,
      {
        retryable: true,
      },
    );
  }

  async function readPartition(
    partition: number,
    { start, end }: { readonly start: number; readonly end: number },
    total: number,
  ): Promise<void> {
    const before = done;
    let position = start;
    while (position < end) {
      const fetched = await next(partition, position);
      if (fetched === null) {
        position = await beginning(partition, position);
        continue;
      }
      for (const batch of fetched.batches) {
        throwIfAborted(handlers.signal);
        if (position >= end) break;
        const isBehind = batch.damage === null && batch.lastOffset < position;
        if (isBehind) continue;
        const to = Math.max(position, batch.lastOffset) + 1;
        const { highWatermark } = fetched;
        const further = await hand(batch, { partition, from: position, to, highWatermark });
        position = further === 'stop' ? end : to;
        done = before + Math.min(end, position) - start;
        handlers.onProgress?.(done, total);
      }
    }
  }

  async function hand(
    batch: RecordBatch,
    place: Pick<ConsumedBatch, 'partition' | 'from' | 'to' | 'highWatermark'>,
  ): Promise<ReadFurther> {
    const stretch = {
      ...place,
      epoch: 0,
      anchor: { baseOffset: batch.baseOffset, crc: batch.crc },
    };
    let records: RecordCursor;
    try {
      records = await openBatch(batch, place.from, maxBytes);
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      if (handlers.onUnreadable === undefined) {
        throw new KafkaError(
          'kafka_rejected',
          `partition ${place.partition} of ${topic} cannot be read at offset ${place.from}: ${error.message}`,
          { retryable: false, cause: error },
        );
      }
      return handlers.onUnreadable({
        ...stretch,
        kind: error instanceof BatchTooLargeError ? 'too_large' : 'damaged',
        reason: error.message,
        bytes: batch.payload,
        timestampMs: batch.maxTimestampMs,
      });
    }
    return handlers.onBatch({ ...stretch, records });
  }

  try {
    const partitions = await admin.describeTopic(topic);
    if (partitions === null) {
      throw new KafkaError('kafka_rejected', `there is no topic ${topic}`, { retryable: false });
    }
    const { from } = config;
    const ranges = partitions
      .filter(({ partition }) => from === undefined || from.has(partition))
      .map(({ partition, earliestOffset, endOffset }) => {
        const start = Math.max(Number(earliestOffset), from?.get(partition) ?? 0);
        return { partition, start, end: Math.max(start, Number(endOffset)) };
      });
    const total = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
    for (const range of ranges) await readPartition(range.partition, range, total);
    return new Map(ranges.map(({ partition, end }) => [partition, end]));
  } finally {
    await Promise.all([admin.stop(), fetcher.stop()]);
  }
}
