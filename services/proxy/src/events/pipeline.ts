import { createKafkaProducer } from '@sockscope/runtime/kafka';
import type { KafkaConfig, OutgoingRecord } from '@sockscope/runtime/kafka';
import type { Logger, Registry } from '@sockscope/runtime';
import { cloudEventHeaders } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import type { EventsConfig } from './config.js';
import type { EventSink } from './sink.js';

export interface EventPipeline extends EventSink {
  start(): Promise<void>;
  /** Publishes what is left, for at most this long. */
  stop(): Promise<void>;
}

export interface PipelineDeps {
  readonly kafka: KafkaConfig;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly proxyId: string;
}

const FLUSH_MS = 5_000;

export function createEventPipeline(config: EventsConfig, deps: PipelineDeps): EventPipeline {
  const producer = createKafkaProducer(deps.kafka, {
    logger: deps.logger,
    role: deps.proxyId,
    hooks: {
      onFailure: (error, attempt, delayMs) => {
        deps.logger.warn({ err: error, attempt, delay_ms: delayMs }, 'events not acknowledged');
      },
    },
  });
  const queue: OutgoingRecord[] = [];
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | null = null;

  async function drain(): Promise<void> {
    while (queue.length > 0 && !abort.signal.aborted) {
      const batch = queue.slice(0, config.batch_max_records);
      // oxlint-disable-next-line no-await-in-loop
      await producer.send(deps.kafka.topic, batch, abort.signal);
      queue.splice(0, batch.length);
    }
  }

  function arm(): void {
    if (timer !== undefined || sending !== null) return;
    timer = setTimeout(() => {
      timer = undefined;
      sending = drain()
        .catch((error: unknown) => {
          deps.logger.error({ err: error }, 'events not published');
        })
        .finally(() => {
          sending = null;
          if (queue.length > 0 && !abort.signal.aborted) arm();
        });
    }, config.linger_ms);
  }

  return {
    accepting: true,
    emit(event: SessionEvent) {
      queue.push({
        key: event.session_id,
        value: JSON.stringify(event),
        headers: cloudEventHeaders(event),
      });
      arm();
    },
    async start() {},
    async stop() {
      clearTimeout(timer);
      const deadline = setTimeout(() => {
        abort.abort();
      }, FLUSH_MS);
      await sending;
      await drain().catch(() => undefined);
      clearTimeout(deadline);
      producer.stop();
    },
  };
}
