/** A pipeline whose publishing side runs in this thread, and a Kafka that can be away. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger, Registry } from '@sockscope/runtime';
import {
  kafkaConfig,
  KafkaError,
  NothingAcceptedError,
  RecordsRefusedError,
} from '@sockscope/runtime/kafka';
import type { KafkaProducer, ProducerHooks } from '@sockscope/runtime/kafka';
import { sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { onTestFinished } from 'vitest';
import { startBackend } from '../backend.js';
import { eventsConfig } from '../config.js';
import type { Frame } from '../frame.js';
import type { StartBackend, ToBackend } from '../messages.js';
import { createEventPipeline } from '../pipeline.js';
import type { EventPipeline } from '../pipeline.js';
import { releaseFolder } from '../spool/folder.js';

/** A Kafka that can be away, slow to answer or picky, with its acknowledged records and requests. */
export function fakeKafka() {
  const published: SessionEvent[] = [];
  const records: Frame[] = [];
  const state = {
    isAway: false,
    failure: new KafkaError('kafka_unreachable', 'away', { retryable: true }),
    refuses: (_event: SessionEvent): boolean => false,
    requests: 0,
    /** How long it takes to answer. */
    answerMs: 0,
  };
  const createProducer = (hooks: ProducerHooks, isDead: () => boolean): KafkaProducer<Frame> => ({
    async send(_topic, batch, signal) {
      while (state.isAway) {
        if (signal.aborted) throw new KafkaError('kafka_aborted', 'aborted', { retryable: true });
        hooks.onFailure?.(state.failure, 1, 5);
        await new Promise((resolve) => setTimeout(resolve, 5));
        // A dead process sends nothing, though this one continues.
        if (isDead()) await new Promise(() => undefined);
      }
      if (state.answerMs > 0) {
        await delay(state.answerMs, undefined, { signal }).catch(() => {
          throw new KafkaError('kafka_aborted', 'aborted', { retryable: true });
        });
      }
      state.requests += 1;
      const refused: Frame[] = [];
      for (const record of batch) {
        const event = sessionEvent.parse(JSON.parse(record.json));
        if (state.refuses(event)) {
          refused.push(record);
          continue;
        }
        records.push(record);
        published.push(event);
      }
      const cause = new KafkaError('kafka_rejected', 'invalid', { retryable: false });
      if (refused.length > 0 && refused.length === batch.length) {
        const error = new NothingAcceptedError('events', 1, cause);
        hooks.onFailure?.(error, 1, 0);
        throw error;
      }
      hooks.onAcknowledged?.(batch.length, 1);
      if (refused.length > 0) throw new RecordsRefusedError(refused, cause);
    },
    stop() {},
  });
  return { published, records, state, createProducer };
}

/** The publishing side in this thread; messages take a turn of the event loop as they do in life. */
function inProcess(createProducer: (hooks: ProducerHooks) => KafkaProducer<Frame>): StartBackend {
  return (config, receive) => {
    let isOver = false;
    const deliver = startBackend(config, {
      send: (message) => {
        setImmediate(() => {
          if (!isOver) receive(structuredClone(message));
        });
      },
      createProducer,
      deadFoldersAfterMs: 100,
    });
    return {
      post(message: ToBackend) {
        setImmediate(() => {
          if (!isOver) deliver(message);
        });
      },
      terminate() {
        isOver = true;
      },
    };
  };
}

export interface Running {
  readonly pipeline: EventPipeline;
  readonly registry: Registry;
  /** Ends it as kill -9 would: without a last message. */
  readonly kill: () => void;
}

export async function run(
  dir: string,
  kafka: ReturnType<typeof fakeKafka>,
  settings: Record<string, unknown> = {},
  proxyId = 'proxy-1',
): Promise<Running> {
  const registry = new Registry();
  let backend: ReturnType<StartBackend> | null = null;
  let isDead = false;
  const start = inProcess((hooks) => kafka.createProducer(hooks, () => isDead));
  const pipeline = createEventPipeline(
    eventsConfig.parse({ spool_dir: dir, linger_ms: 1, flush_timeout_ms: 20_000, ...settings }),
    {
      kafka: kafkaConfig.parse({}),
      logger: createLogger('test', { level: 'silent' }),
      registry,
      proxyId,
      startBackend: (config, receive) => {
        backend = start(config, receive);
        return backend;
      },
    },
  );
  onTestFinished(() => (isDead ? undefined : pipeline.stop()));
  await pipeline.start();
  return {
    pipeline,
    registry,
    kill: () => {
      isDead = true;
      backend?.terminate();
      releaseFolder(join(dir, proxyId));
    },
  };
}

export async function metric(registry: Registry, name: string): Promise<number> {
  const found = await registry.getSingleMetric(name)?.get();
  return (found?.values ?? []).reduce((sum, each) => sum + each.value, 0);
}
