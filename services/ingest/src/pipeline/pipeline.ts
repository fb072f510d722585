/**
 * From batches of records to committed offsets: decode, fold, write, commit, in this order. An offset
 * is committed after every table and the dead-letter topic have acknowledged all that lies below it.
 *
 * One batch fills while the one before it is written; when both are full, the consumer waits. That
 * bounds memory whatever ClickHouse does.
 */
import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import type { BatchSink, CommitPosition, ConsumedBatch } from '@sockscope/runtime/kafka';
import { createDecoder } from '../decode/decode-event.js';
import { EventView } from '../decode/event-view.generated.js';
import { bytesOf, dlqRecordOf } from '../dlq/dlq-record.js';
import type { PoisonRecord } from '../dlq/dlq-record.js';
import type { DlqPublisher } from '../dlq/publisher.js';
import { createFoldPool } from '../fold/batch-fold.js';
import type { BatchFold, BatchSessions } from '../fold/batch-fold.js';
import type { TableBlock } from '../tables/block.js';
import type { Writer } from '../write/writer.js';
import type { PipelineConfig } from './config.js';
import type { PipelineMetrics } from './metrics.js';

export interface Pipeline extends BatchSink {
  /** Writes and commits all that is held. Rejects when `signal` fires first. */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends at once; what is held is neither finished nor committed, and will be delivered again. */
  abort(): void;
}

/** How far a batch goes in one partition. */
export interface BatchPartition {
  readonly partition: number;
  readonly nextOffset: number;
  /** Whether nothing was left to read when it was fetched. */
  readonly caughtUp: boolean;
  /** Latest `occurred_at` in the batch, milliseconds since 1970; null where it holds no event. */
  readonly newestMs: number | null;
}

/** A batch whose rows are stored in every table, and whose offsets are not committed yet. */
export interface StoredBatch {
  readonly sessions: BatchSessions;
  /** UTC hours in which a session ended or something moved, milliseconds since 1970. */
  readonly hours: ReadonlySet<number>;
  readonly partitions: readonly BatchPartition[];
}

/** Books that are kept beside the tables. They are stored before a batch's offsets are committed. */
export interface Bookkeeper {
  /** Called once per batch. The rows are inserted until they are acknowledged, then `acknowledge` is called. */
  plan(batch: StoredBatch): { readonly blocks: readonly TableBlock[]; acknowledge(): void };
}

type Cause = 'events' | 'bytes' | 'age' | 'poison' | 'drain';

interface Part {
  readonly partition: number;
  readonly epoch: number;
  offset: number;
  anchor: CommitPosition['anchor'];
  highWatermark: number;
  newestMs: number;
}

interface Batch {
  readonly fold: BatchFold;
  readonly poison: PoisonRecord[];
  poisonBytes: number;
  /** By partition and epoch. */
  readonly parts: Map<string, Part>;
  records: number;
  oldestMs: number;
  newestMs: number;
}

export interface PipelineDeps {
  readonly topic: string;
  readonly writer: Writer;
  readonly dlq: DlqPublisher;
  readonly bookkeepers: readonly Bookkeeper[];
  readonly commit: (positions: readonly CommitPosition[]) => Promise<boolean>;
  readonly metrics: PipelineMetrics;
  readonly logger: Logger;
  /**
   * Told of an error that leaves a batch unfinished for good. Nothing is written or committed any more
   * then: an offset committed later would pass over that batch.
   */
  readonly fail: (error: Error) => void;
}

/** One batch fills while the one before it is written. */
const BATCHES_AT_ONCE = 2;
/** After an abort nothing is written any more, and so there never is room again. */
const NEVER = new Promise<void>(() => undefined);
/** Poison is held as whole records until it is in the dead-letter topic: so much of it, and one record batch more. */
const POISON_MAX_BYTES = 8 * 1024 ** 2;

export function createPipeline(config: PipelineConfig, deps: PipelineDeps): Pipeline {
  const { metrics, logger } = deps;
  const pool = createFoldPool(BATCHES_AT_ONCE);
  const view = new EventView();
  const decoder = createDecoder(view);
  const ending = new AbortController();
  let filling = emptyBatch();
  let writing: Promise<void> | null = null;
  let ageTimer: NodeJS.Timeout | null = null;
  /** Why `filling` should be written as soon as the one before it is done. */
  let due: Cause | null = null;

  function emptyBatch(): Batch {
    return {
      fold: pool.take(),
      poison: [],
      poisonBytes: 0,
      parts: new Map(),
      records: 0,
      oldestMs: Number.POSITIVE_INFINITY,
      newestMs: -1,
    };
  }

  function fullness(): Cause | null {
    if (filling.records >= config.batch_events) return 'events';
    if (filling.fold.bytes >= config.batch_bytes) return 'bytes';
    if (filling.poisonBytes >= POISON_MAX_BYTES) return 'poison';
    return null;
  }

  function request(cause: Cause): void {
    if (filling.parts.size === 0 || ending.signal.aborted) return;
    if (writing !== null) {
      due ??= cause;
      return;
    }
    due = null;
    if (ageTimer !== null) clearTimeout(ageTimer);
    ageTimer = null;
    const sealed = filling;
    filling = emptyBatch();
    metrics.batches.inc({ cause });
    writing = write(sealed)
      .catch((error: unknown) => {
        if (ending.signal.aborted) {
          // What it held is delivered again after a restart.
          logger.warn({ records: sealed.records }, `a batch was not finished: ${messageOf(error)}`);
          return;
        }
        ending.abort();
        deps.fail(new Error('a batch cannot be finished', { cause: error }));
      })
      .finally(() => {
        writing = null;
        metrics.held.set(filling.records);
        const next = fullness() ?? due;
        if (next !== null) request(next);
      });
  }

  async function write(batch: Batch): Promise<void> {
    const stop = metrics.batchSeconds.startTimer();
    const { signal } = ending;
    await Promise.all([
      deps.writer.write(batch.fold.encode(), signal),
      deps.dlq.publish(batch.poison.map(dlqRecordOf), signal),
    ]);
    for (const { poison } of batch.poison) metrics.poison.inc({ reason: poison.reason });
    const stored = storedBatchOf(batch);
    const books = deps.bookkeepers.map((bookkeeper) => bookkeeper.plan(stored));
    await deps.writer.write(
      books.flatMap(({ blocks }) => blocks),
      signal,
    );
    for (const book of books) book.acknowledge();
    observe(batch);
    await deps.commit([...batch.parts.values()]);
    // Not before: a retry would send what another batch has written into this memory by then.
    batch.fold.release();
    stop();
  }

  function observe(batch: Batch): void {
    metrics.batchEvents.observe(batch.fold.count);
    if (batch.newestMs < 0) return;
    const nowMs = Date.now();
    metrics.delaySeconds.observe({ of: 'oldest' }, (nowMs - batch.oldestMs) / 1_000);
    metrics.delaySeconds.observe({ of: 'newest' }, (nowMs - batch.newestMs) / 1_000);
  }

  function partOf(batch: ConsumedBatch): Part {
    const key = `${batch.partition}/${batch.epoch}`;
    let part = filling.parts.get(key);
    if (part === undefined) {
      const { partition, epoch, from, anchor, highWatermark } = batch;
      part = { partition, epoch, offset: from, anchor, highWatermark, newestMs: -1 };
      filling.parts.set(key, part);
    }
    return part;
  }

  return {
    full() {
      return fullness() === null ? null : (writing ?? NEVER);
    },
    accept(batch) {
      const { records, partition } = batch;
      const part = partOf(batch);
      let count = 0;
      let valueBytes = 0;
      while (records.next()) {
        count += 1;
        valueBytes += Math.max(0, records.valueLength);
        const poison = decoder.decode(records.bytes, records.valueStart, records.valueLength);
        if (poison !== null) {
          const record = records.record();
          filling.poison.push({ topic: deps.topic, partition, record, poison });
          filling.poisonBytes += bytesOf(record.key, record.value, record.headers);
          continue;
        }
        filling.fold.add(view);
        const { occurredAtMs: occurredMs } = view;
        if (occurredMs > part.newestMs) part.newestMs = occurredMs;
        if (occurredMs < filling.oldestMs) filling.oldestMs = occurredMs;
        if (occurredMs > filling.newestMs) filling.newestMs = occurredMs;
      }
      part.offset = batch.to;
      part.anchor = batch.anchor;
      part.highWatermark = batch.highWatermark;
      filling.records += count;
      metrics.records.inc(count);
      metrics.bytes.inc(valueBytes);
      metrics.lag.set({ partition }, Math.max(0, batch.highWatermark - batch.to));
      metrics.held.set(filling.records);
      ageTimer ??= setTimeout(() => {
        ageTimer = null;
        request('age');
      }, config.batch_age_ms);
      const cause = fullness();
      if (cause !== null) request(cause);
    },
    async drain(signal) {
      const onAbort = () => {
        ending.abort();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        while ((filling.parts.size > 0 || writing !== null) && !ending.signal.aborted) {
          request('drain');
          await writing;
        }
        if (ending.signal.aborted) throw new Error('ended before all was written');
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
    abort() {
      if (ageTimer !== null) clearTimeout(ageTimer);
      ending.abort();
    },
  };
}

function storedBatchOf(batch: Batch): StoredBatch {
  return {
    sessions: batch.fold.sessionsOf(),
    hours: batch.fold.hours,
    partitions: [...batch.parts.values()].map((part) => ({
      partition: part.partition,
      nextOffset: part.offset,
      caughtUp: part.offset >= part.highWatermark,
      newestMs: part.newestMs < 0 ? null : part.newestMs,
    })),
  };
}
