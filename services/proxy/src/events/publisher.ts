import { setTimeout as delay } from 'node:timers/promises';
import { NothingAcceptedError, RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaProducer } from '@sockscope/runtime/kafka';
import type { Outbox } from './outbox.js';
import { eventRecordOf, occurredAtMs } from './record.js';
import type { EventRecord } from './record.js';

export interface Publisher {
  /** Something may be there to publish. */
  wake(): void;
  /** Publishes until nothing is left or the time is over, then ends the connection. */
  stop(timeoutMs: number): Promise<void>;
}

export interface PublisherDeps {
  readonly outbox: Outbox;
  readonly producer: KafkaProducer<EventRecord>;
  readonly topic: string;
  /** A batch was acknowledged; `oldest` is the `occurred_at` of its first event. */
  readonly onPublished: (records: number, oldestMs: number) => void;
  /** Kafka refuses these permanently. False when they cannot be kept elsewhere now: they wait. */
  readonly keepRefused: (records: readonly EventRecord[], reason: string) => boolean;
  /** Payloads that are no events. */
  readonly onBroken: (count: number) => void;
  /** What must not happen. */
  readonly onFailure: (error: unknown) => void;
}

const READ_RETRY_MS = 500;
/** Pause after Kafka has accepted nothing, or while refused events cannot be kept. */
const REFUSED_RETRY_MS = 2_000;

/** Takes from the outbox and gives to Kafka, one batch at a time, until all is acknowledged. */
export function createPublisher(
  config: { readonly linger_ms: number },
  deps: PublisherDeps,
): Publisher {
  const { outbox, producer } = deps;
  const abort = new AbortController();
  const hurry = new AbortController();
  let running: Promise<void> | null = null;

  async function publish(): Promise<void> {
    for (;;) {
      // Others come along in one request: it costs about the same for one as for a hundred.
      if (!outbox.hasFullBatch) await pause(config.linger_ms, hurry.signal);
      if (abort.signal.aborted || outbox.isEmpty) return;
      const batch = outbox.next();
      if (batch === null) {
        // The disk does not give back what it holds.
        await pause(READ_RETRY_MS, abort.signal);
        continue;
      }
      const records = batch.payloads.map(eventRecordOf).filter((record) => record !== null);
      const broken = batch.payloads.length - records.length;
      if (broken > 0) deps.onBroken(broken);
      let refused = 0;
      try {
        await producer.send(deps.topic, records, abort.signal);
      } catch (error) {
        if (abort.signal.aborted) return;
        if (error instanceof NothingAcceptedError) {
          // With more events beside it, a single bad one can be told from a topic at fault.
          await pause(REFUSED_RETRY_MS, abort.signal);
          outbox.release();
          continue;
        }
        if (!(error instanceof RecordsRefusedError)) throw error;
        const { refused: kept, message } = error as RecordsRefusedError<EventRecord>;
        while (!deps.keepRefused(kept, message)) {
          await pause(REFUSED_RETRY_MS, abort.signal);
          if (abort.signal.aborted) return;
        }
        refused = kept.length;
      }
      outbox.acknowledge(batch);
      const [oldest] = records;
      deps.onPublished(
        records.length - refused,
        oldest === undefined ? Date.now() : occurredAtMs(oldest),
      );
    }
  }

  function wake(): void {
    if (running !== null || abort.signal.aborted) return;
    running = publish()
      .catch(deps.onFailure)
      .finally(() => {
        running = null;
        if (!outbox.isEmpty) wake();
      });
  }

  return {
    wake,
    async stop(timeoutMs) {
      hurry.abort();
      const timer = setTimeout(() => {
        abort.abort();
      }, timeoutMs);
      while (!outbox.isEmpty && !abort.signal.aborted) {
        wake();
        await running;
      }
      clearTimeout(timer);
      abort.abort();
      await running;
      producer.stop();
    },
  };
}

/** Waits, or until the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
