/**
 * From batches of records to committed offsets: decode, fold, write, commit, in this order. An offset
 * is committed after every table and the dead-letter topic have acknowledged all that lies below it.
 *
 * One batch fills while the one before it is written; when both are full, `ready` stays pending and
 * the consumer waits. That bounds memory whatever ClickHouse does.
 */
import type { Logger } from '@sockscope/runtime';
import type { BatchSink, CommitPosition, ConsumedBatch } from '@sockscope/runtime/kafka';
import { decodeEvent } from '../decode/decode-event.js';
import { dlqRecordOf } from '../dlq/dlq-record.js';
import type { PoisonRecord } from '../dlq/dlq-record.js';
import type { DlqPublisher } from '../dlq/publisher.js';
import { createAccumulator } from '../fold/accumulator.js';
import type { Accumulator } from '../fold/accumulator.js';
import { encodeTables } from '../tables/encode.js';
import type { Writer } from '../write/writer.js';
import type { PipelineConfig } from './config.js';
import type { PipelineMetrics } from './metrics.js';

export interface Pipeline extends BatchSink {
  /** Writes and commits all that is held. Rejects when `signal` fires first. */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends at once; what is held is neither finished nor committed, and will be delivered again. */
  abort(): void;
}

type Cause = 'events' | 'bytes' | 'age' | 'drain';

interface Batch {
  readonly fold: Accumulator;
  readonly poison: PoisonRecord[];
  /** End of what was taken, by partition and epoch. */
  readonly positions: Map<string, CommitPosition>;
  bytes: number;
  records: number;
  oldest: string | null;
  newest: string | null;
}

function emptyBatch(): Batch {
  return {
    fold: createAccumulator(),
    poison: [],
    positions: new Map(),
    bytes: 0,
    records: 0,
    oldest: null,
    newest: null,
  };
}

export function createPipeline(
  config: PipelineConfig,
  deps: {
    readonly topic: string;
    readonly writer: Writer;
    readonly dlq: DlqPublisher;
    readonly commit: (positions: readonly CommitPosition[]) => Promise<boolean>;
    readonly metrics: PipelineMetrics;
    readonly logger: Logger;
  },
): Pipeline {
  const { metrics, logger } = deps;
  const ending = new AbortController();
  let filling = emptyBatch();
  let writing: Promise<void> | null = null;
  let ageTimer: NodeJS.Timeout | null = null;
  /** Why `filling` should be written as soon as the one before it is done. */
  let due: Cause | null = null;
  let waiting: (() => void)[] = [];

  function fullness(): Cause | null {
    if (filling.records >= config.batch_events) return 'events';
    if (filling.bytes >= config.batch_bytes) return 'bytes';
    return null;
  }

  function request(cause: Cause): void {
    if (filling.records === 0 || ending.signal.aborted) return;
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
        // Only an abort ends a write: what it held is delivered again after a restart.
        logger.warn({ err: error, records: sealed.records }, 'a batch was not finished');
      })
      .finally(() => {
        writing = null;
        metrics.held.set(filling.records);
        const next = fullness() ?? due;
        if (next !== null) request(next);
        const woken = waiting;
        waiting = [];
        for (const wake of woken) wake();
      });
  }

  async function write(batch: Batch): Promise<void> {
    const stop = metrics.batchSeconds.startTimer();
    await Promise.all([
      deps.writer.write(encodeTables(batch.fold), ending.signal),
      deps.dlq.publish(batch.poison.map(dlqRecordOf), ending.signal),
    ]);
    for (const { poison } of batch.poison) metrics.poison.inc({ reason: poison.reason });
    metrics.batchEvents.observe(batch.fold.events);
    const nowMs = Date.now();
    if (batch.oldest !== null) {
      metrics.delaySeconds.observe({ of: 'oldest' }, (nowMs - Date.parse(batch.oldest)) / 1_000);
    }
    if (batch.newest !== null) {
      metrics.delaySeconds.observe({ of: 'newest' }, (nowMs - Date.parse(batch.newest)) / 1_000);
    }
    await deps.commit([...batch.positions.values()]);
    stop();
  }

  return {
    async ready() {
      while (fullness() !== null && writing !== null) {
        // oxlint-disable-next-line no-await-in-loop
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
    accept(batch: ConsumedBatch) {
      const bytesBefore = filling.bytes;
      for (const record of batch.records) {
        filling.records += 1;
        filling.bytes += record.value?.length ?? 0;
        const decoded = decodeEvent(record.value);
        if (decoded.ok) {
          const { event } = decoded;
          filling.fold.add(event);
          if (filling.oldest === null || event.occurred_at < filling.oldest) {
            filling.oldest = event.occurred_at;
          }
          if (filling.newest === null || event.occurred_at > filling.newest) {
            filling.newest = event.occurred_at;
          }
        } else {
          filling.poison.push({
            topic: deps.topic,
            partition: batch.partition,
            record,
            poison: decoded,
          });
        }
      }
      const { partition, epoch, to } = batch;
      filling.positions.set(`${partition}/${epoch}`, { partition, epoch, offset: to });
      metrics.records.inc(batch.records.length);
      metrics.bytes.inc(filling.bytes - bytesBefore);
      metrics.lag.set({ partition }, Math.max(0, batch.highWatermark - to));
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
        while ((filling.records > 0 || writing !== null) && !ending.signal.aborted) {
          request('drain');
          // oxlint-disable-next-line no-await-in-loop
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
