import { randomUUID } from 'node:crypto';
import type { Logger } from '../log/logger.js';
import { createKafkaAdmin } from './admin.js';
import type { KafkaConfig } from './config.js';
import { consumerConfig } from './consumer-config.js';
import { KafkaError } from './errors.js';
import { createGroupConsumer } from './group-consumer.js';
import type { ConsumedBatch, UnreadableBatch } from './group-consumer.js';
import { readerGroupPrefix } from './plan.js';

/** `stop`: nothing more of this partition, which then counts as read. */
export type ReadFurther = 'stop' | void;

export interface TopicReading {
  /**
   * Each batch in turn, in the order of its partition; the next one comes when this has resolved.
   * Records of the last batch may lie beyond the end that the topic had when the reading began.
   */
  onBatch(batch: ConsumedBatch): ReadFurther | Promise<ReadFurther>;
  /** Decides about what cannot be read; without it that is an error. */
  onUnreadable?(batch: UnreadableBatch): ReadFurther;
  /** Called after every batch: how many of how many offsets are behind us. */
  onProgress?(done: number, total: number): void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A topic of which nothing has come for so long is not going to be read. The time that `onBatch` takes
 * does not count: nothing can come meanwhile, and a slow insert is no fault of Kafka's.
 */
const STALL_MS = 60_000;
/** A partition that is not read further is held, and held again after this time. */
const HELD_MS = 5_000;

/**
 * Reads a topic from its oldest records to the end that it has now, for commands and checks. It joins
 * as the only member of a group of its own, which is deleted afterwards.
 *
 * @returns the end of each partition.
 * @throws KafkaError; `kafka_aborted` when the signal fired. Whatever `onBatch` throws.
 */
export async function readTopic(
  config: { readonly kafka: KafkaConfig; readonly topic: string },
  reading: TopicReading,
  deps: { readonly logger: Logger },
): Promise<ReadonlyMap<number, number>> {
  const { topic } = config;
  const kafka = { ...config.kafka, topic };
  const groupId = `${readerGroupPrefix(config.kafka.client_id)}${randomUUID()}`;
  const admin = createKafkaAdmin(config.kafka, { ...deps, role: 'reader' });
  try {
    const partitions = await admin.describeTopic(topic);
    if (partitions === null) {
      throw new KafkaError('kafka_rejected', `there is no topic ${topic}`, { retryable: false });
    }
    const ends = new Map(partitions.map((p) => [p.partition, Number(p.endOffset)]));
    const positions = new Map(partitions.map((p) => [p.partition, Number(p.earliestOffset)]));
    const start = sum(positions);
    const total = sum(ends) - start;
    const isDone = () => [...ends].every(([p, end]) => (positions.get(p) ?? 0) >= end);
    if (!isDone()) {
      await consume(kafka, groupId, deps.logger, reading, (batch) => {
        const end = ends.get(batch.partition);
        if (end !== undefined) positions.set(batch.partition, Math.min(end, batch.to));
        reading.onProgress?.(sum(positions) - start, total);
        return isDone();
      });
      await admin.deleteGroup(groupId).catch((error: unknown) => {
        deps.logger.debug({ err: error, group: groupId }, 'group of a reader not deleted');
      });
    }
    return ends;
  } finally {
    await admin.stop();
  }
}

type Progress = Pick<ConsumedBatch, 'partition' | 'to'>;

/** Hands over batches until `passed` says that it was the last one. */
async function consume(
  kafka: KafkaConfig,
  groupId: string,
  logger: Logger,
  reading: TopicReading,
  passed: (progress: Progress) => boolean,
): Promise<void> {
  let busy: Promise<void> | null = null;
  let isOver = false;
  let stall: NodeJS.Timeout | undefined;
  let settle: (error: unknown) => void = () => undefined;
  const finished = new Promise<void>((resolve, reject) => {
    settle = (error) => {
      isOver = true;
      clearTimeout(stall);
      if (error === null) resolve();
      else reject(error instanceof Error ? error : new Error('reading failed', { cause: error }));
    };
  });
  const stopped = new Set<number>();
  const holdAt = ({ from }: { readonly from: number }) => ({ offset: from, retryMs: HELD_MS });
  const go = (batch: Progress, further: ReadFurther) => {
    if (further === 'stop') stopped.add(batch.partition);
    const to = further === 'stop' ? Number.POSITIVE_INFINITY : batch.to;
    if (passed({ partition: batch.partition, to })) settle(null);
  };
  const watch = () => {
    clearTimeout(stall);
    stall = setTimeout(() => {
      settle(
        new KafkaError('kafka_timeout', `nothing came from ${kafka.topic} for ${STALL_MS} ms`, {
          retryable: true,
        }),
      );
    }, STALL_MS);
  };
  const onAbort = () => {
    settle(new KafkaError('kafka_aborted', 'reading: ended by the caller', { retryable: true }));
  };
  reading.signal?.addEventListener('abort', onAbort, { once: true });
  if (reading.signal?.aborted === true) onAbort();

  const consumer = createGroupConsumer(
    { kafka, consumer: { ...consumerConfig.parse({}), group_id: groupId } },
    {
      logger,
      sink: {
        full: () => busy,
        accept(batch) {
          if (isOver || stopped.has(batch.partition)) return holdAt(batch);
          clearTimeout(stall);
          busy = (async () => {
            try {
              go(batch, await reading.onBatch(batch));
            } catch (error) {
              settle(error);
            } finally {
              busy = null;
              if (!isOver) watch();
            }
          })();
          return null;
        },
        unreadable(batch) {
          if (isOver || stopped.has(batch.partition)) return holdAt(batch);
          const { partition, from, reason } = batch;
          if (reading.onUnreadable === undefined) {
            settle(
              new KafkaError(
                'kafka_rejected',
                `partition ${partition} of ${kafka.topic} cannot be read at offset ${from}: ${reason}`,
                { retryable: false },
              ),
            );
            return holdAt(batch);
          }
          go(batch, reading.onUnreadable(batch));
          watch();
          return stopped.has(partition) ? holdAt(batch) : null;
        },
      },
    },
  );
  watch();
  consumer.start();
  try {
    await finished;
  } finally {
    reading.signal?.removeEventListener('abort', onAbort);
    clearTimeout(stall);
    await consumer.stop();
  }
}

function sum(offsets: ReadonlyMap<number, number>): number {
  let total = 0;
  for (const offset of offsets.values()) total += offset;
  return total;
}
