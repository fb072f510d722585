/**
 * Turns batches of records into committed offsets: decode, fold, write, commit, in this order. An offset
 * is committed after every table and the dead-letter topic have acknowledged all that lies below it.
 *
 * A record that must not be passed over holds its partition, and no other one: see waits.ts.
 *
 * One batch fills while the previous one is written; when both are full, the consumer waits. That
 * bounds memory, even if ClickHouse is slow or away.
 */
import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import type {
  BatchSink,
  CommitPosition,
  ConsumedBatch,
  Hold,
  StoredRecord,
  UnreadableBatch,
} from '@sockscope/runtime/kafka';
import { createDecoder } from '../decode/decode-event.js';
import type { Poison } from '../decode/decode-event.js';
import type { PoisonBudget } from '../dlq/budget.js';
import type { DeadLetters } from '../dlq/dead-letters.js';
import { EventView } from '../decode/event-view.generated.js';
import type { IsForgotten } from '../forget/forgotten.js';
import { bytesOf } from '../dlq/dlq-record.js';
import type { PoisonRecord } from '../dlq/dlq-record.js';
import { createFoldPool } from '../fold/batch-fold.js';
import type { BatchFold, BatchSessions } from '../fold/batch-fold.js';
import type { TableBlock } from '../tables/block.js';
import type { Wait, Waits } from '../waits/waits.js';
import type { Writer } from '../write/writer.js';
import { BatchAge } from './batch-age.js';
import type { PipelineConfig } from './config.js';
import type { PipelineMetrics } from './metrics.js';

export interface Pipeline extends BatchSink {
  /** Writes and commits all that is held. Rejects when `signal` fires first. */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends at once; held records are neither finished nor committed, and will be delivered again. */
  abort(): void;
}

/** How far a batch goes in one partition. */
export interface BatchPartition {
  readonly partition: number;
  /** The offset at which it begins. */
  readonly firstOffset: number;
  readonly nextOffset: number;
  /** Whether ingest had read everything when it was fetched. */
  readonly caughtUp: boolean;
  /** Latest `occurred_at` in the batch, milliseconds since 1970; null if it holds no event. */
  readonly newestMs: number | null;
}

/** A batch as bookkeepers see it. */
export interface BatchSummary {
  readonly sessions: BatchSessions;
  /** Starts of the ten-minute slices in which a session ended or something moved, milliseconds since 1970. */
  readonly slices: ReadonlySet<number>;
  readonly partitions: readonly BatchPartition[];
}

/** Books that are kept beside the tables. They are stored before a batch's offsets are committed. */
export interface Bookkeeper {
  /**
   * Called once per batch, before its rows are stored. Then `blocks` is called, once every table has
   * acknowledged them; its rows are inserted until they are acknowledged, and then `acknowledge` is called.
   */
  plan(batch: BatchSummary, signal: AbortSignal): Promise<Book>;
}

export interface Book {
  blocks(): readonly TableBlock[];
  acknowledge(): void;
}

type Cause = 'events' | 'bytes' | 'age' | 'poison' | 'drain';

interface Part {
  readonly partition: number;
  readonly epoch: number;
  readonly firstOffset: number;
  offset: number;
  anchor: CommitPosition['anchor'];
  highWatermark: number;
  newestMs: number;
}

/** Fields of all stretches of a partition, readable or not. */
type Stretch = Pick<UnreadableBatch, keyof UnreadableBatch & keyof ConsumedBatch>;

interface Batch {
  readonly fold: BatchFold;
  readonly poison: PoisonRecord[];
  poisonBytes: number;
  /** Parts by partition and epoch. */
  readonly parts: Map<string, Part>;
  records: number;
  oldestMs: number;
  newestMs: number;
}

export interface PipelineDeps {
  readonly writer: Writer;
  readonly deadLetters: Pick<DeadLetters, 'deliver' | 'waits' | 'commitLater'>;
  readonly budget: PoisonBudget;
  readonly waits: Pick<Waits, 'set' | 'clear' | 'has'>;
  /** Whether an event is of a session that was forgotten: it is passed over. */
  readonly isForgotten: IsForgotten;
  readonly bookkeepers: readonly Bookkeeper[];
  readonly commit: (positions: readonly CommitPosition[]) => Promise<boolean>;
  readonly metrics: PipelineMetrics;
  readonly logger: Logger;
  /**
   * Receives an error that leaves a batch unfinished permanently. Nothing is written or committed
   * any more then: an offset committed later would pass over that batch.
   */
  readonly fail: (error: Error) => void;
}

/** One batch fills while the previous one is written. */
const BATCHES_AT_ONCE = 2;
/** Never resolves: after an abort nothing is written, so no room becomes free. */
const NEVER = new Promise<void>(() => undefined);
/** Limit of invalid records that are held until they are in the dead-letter topic; one record batch may exceed it. */
const POISON_MAX_BYTES = 8 * 1024 ** 2;
/** A partition that waits is read again from its place after this time. */
const HOLD_MS = 1_000;

export function createPipeline(
  config: PipelineConfig & { readonly topic: string },
  deps: PipelineDeps,
): Pipeline {
  const { metrics, logger } = deps;
  const pool = createFoldPool(BATCHES_AT_ONCE);
  const view = new EventView();
  const decoder = createDecoder(view, (event, count) => {
    metrics.unknownFields.inc({ event }, count);
  });
  const ending = new AbortController();
  let filling = emptyBatch();
  let writing: Promise<void> | null = null;
  const age = new BatchAge(config, () => {
    request('age');
  });
  /** Why `filling` should be written as soon as the previous one is done. */
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
    age.reset();
    const begunMs = performance.now();
    const sealed = filling;
    filling = emptyBatch();
    metrics.batches.inc({ cause });
    writing = write(sealed)
      .catch((error: unknown) => {
        if (ending.signal.aborted) {
          // Its records are delivered again after a restart.
          logger.warn({ records: sealed.records }, `a batch was not finished: ${messageOf(error)}`);
          return;
        }
        ending.abort();
        deps.fail(new Error('a batch cannot be finished', { cause: error }));
      })
      .finally(() => {
        writing = null;
        age.took(performance.now() - begunMs);
        metrics.held.set(filling.records);
        const next = fullness() ?? due;
        if (next !== null) request(next);
      });
  }

  async function write(batch: Batch): Promise<void> {
    const stop = metrics.batchSeconds.startTimer();
    const { signal } = ending;
    const summary = summaryOf(batch);
    const books: Book[] = [];
    for (const bookkeeper of deps.bookkeepers) books.push(await bookkeeper.plan(summary, signal));
    await Promise.all([
      deps.writer.write(batch.fold.encode(), signal),
      deps.deadLetters.deliver(batch.poison),
    ]);
    await deps.writer.write(
      books.flatMap((book) => book.blocks()),
      signal,
    );
    for (const book of books) book.acknowledge();
    observe(batch);
    const parts = [...batch.parts.values()];
    for (const part of parts) if (isHeldBack(part)) deps.deadLetters.commitLater(part);
    await deps.commit(parts.filter((part) => !isHeldBack(part)));
    // Not before: a retry would send rows of another batch that reuses this memory.
    batch.fold.release();
    stop();
  }

  function isHeldBack({ partition }: Part): boolean {
    return deps.deadLetters.waits(partition);
  }

  function observe(batch: Batch): void {
    metrics.batchEvents.observe(batch.fold.count);
    for (const [field, count] of batch.fold.headerChanges) {
      metrics.headerChanges.inc({ field }, count);
    }
    if (batch.newestMs < 0) return;
    const nowMs = Date.now();
    metrics.delaySeconds.observe({ of: 'oldest' }, (nowMs - batch.oldestMs) / 1_000);
    metrics.delaySeconds.observe({ of: 'newest' }, (nowMs - batch.newestMs) / 1_000);
  }

  /** Everything of the batch below `offset` was taken. */
  function advance(batch: Stretch, offset: number, newestMs: number): void {
    const { partition, epoch, from, anchor, highWatermark } = batch;
    if (offset <= from) return;
    const key = `${partition}/${epoch}`;
    const part = filling.parts.get(key);
    if (part === undefined) {
      const firstOffset = from;
      filling.parts.set(key, {
        partition,
        epoch,
        firstOffset,
        offset,
        anchor,
        highWatermark,
        newestMs,
      });
    } else {
      part.offset = offset;
      part.anchor = anchor;
      part.highWatermark = highWatermark;
      part.newestMs = Math.max(part.newestMs, newestMs);
    }
    metrics.held.set(filling.records);
    age.grown(filling.records);
    const cause = fullness();
    if (cause !== null) request(cause);
  }

  function hold(wait: Omit<Wait, 'neededVersion'>, neededVersion = 0, retryMs = HOLD_MS): Hold {
    deps.waits.set({ ...wait, neededVersion });
    return { offset: wait.offset, retryMs };
  }

  /** Takes an invalid record, unless it holds its partition. */
  function takePoison(partition: number, record: StoredRecord, poison: Poison): Hold | null {
    const { offset, timestampMs } = record;
    const place = { partition, offset, timestampMs };
    if (poison.neededVersion !== undefined && !deps.waits.has(partition, offset)) {
      const reason = `it needs an ingest that knows schema_version ${poison.neededVersion}`;
      return hold({ ...place, kind: 'unknown_version', reason }, poison.neededVersion);
    }
    const bytes = bytesOf(record.key, record.value, record.headers);
    const waitMs = deps.budget.take(partition, bytes, Date.now());
    if (waitMs > 0) {
      const reason = 'it has more invalid records per second than may go to the dead-letter topic';
      return hold({ ...place, kind: 'poison_flood', reason }, 0, waitMs);
    }
    filling.poison.push({ topic: config.topic, partition, record, poison });
    filling.poisonBytes += bytes;
    return null;
  }

  return {
    full() {
      return fullness() === null ? null : (writing ?? NEVER);
    },
    accept(batch) {
      const { records, partition, from, to } = batch;
      if (deps.deadLetters.waits(partition)) return { offset: from, retryMs: HOLD_MS };
      let held: Hold | null = null;
      let newestMs = -1;
      let count = 0;
      let valueBytes = 0;
      while (held === null && records.next()) {
        const poison = decoder.decode(records.bytes, records.valueStart, records.valueLength);
        if (poison !== null) {
          held = takePoison(partition, records.record(), poison);
          if (held !== null) break;
        } else if (deps.isForgotten(view)) {
          metrics.forgotten.inc();
        } else {
          filling.fold.add(view, partition);
          const { occurredAtMs: occurredMs } = view;
          if (occurredMs > newestMs) newestMs = occurredMs;
          if (occurredMs < filling.oldestMs) filling.oldestMs = occurredMs;
        }
        count += 1;
        valueBytes += Math.max(0, records.valueLength);
      }
      if (newestMs > filling.newestMs) filling.newestMs = newestMs;
      filling.records += count;
      metrics.records.inc(count);
      metrics.bytes.inc(valueBytes);
      if (held === null) deps.waits.clear(partition);
      advance(batch, held?.offset ?? to, newestMs);
      return held;
    },
    unreadable(batch) {
      const { partition, from, to, kind, reason, bytes, timestampMs } = batch;
      if (deps.deadLetters.waits(partition)) return { offset: from, retryMs: HOLD_MS };
      if (!deps.waits.has(partition, from)) {
        return hold({ partition, offset: from, kind, reason, timestampMs });
      }
      const record = { offset: from, timestampMs, key: null, value: bytes, headers: [] };
      const poison = { reason: 'unreadable', detail: reason } as const;
      filling.poison.push({ topic: config.topic, partition, record, poison });
      filling.poisonBytes += bytesOf(null, bytes, []);
      deps.waits.clear(partition);
      advance(batch, to, -1);
      return null;
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
        if (ending.signal.aborted) throw new Error('stopped before everything was written');
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
    abort() {
      age.reset();
      ending.abort();
    },
  };
}

function summaryOf(batch: Batch): BatchSummary {
  return {
    sessions: batch.fold.sessionsOf(),
    slices: batch.fold.slices,
    partitions: [...batch.parts.values()].map((part) => ({
      partition: part.partition,
      firstOffset: part.firstOffset,
      nextOffset: part.offset,
      caughtUp: part.offset >= part.highWatermark,
      newestMs: part.newestMs < 0 ? null : part.newestMs,
    })),
  };
}
