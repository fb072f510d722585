import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import type { CheckResult, Logger, Registry } from '@sockscope/runtime';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import type { SessionEvent } from '@sockscope/schemas';
import type { EventsConfig } from './config.js';
import { FrameWriter } from './frames.js';
import type { Backend, FromBackend, StartBackend } from './messages.js';
import { createEventMetrics } from './metrics.js';
import type { SessionReading } from './reading.js';
import type { EventSink } from './sink.js';
import { startThread } from './thread.js';

export interface EventPipeline extends EventSink {
  /**
   * Opens the spool and says what a previous run left in it.
   *
   * @throws SockscopeError `spool_unusable` where the folder cannot be written or belongs to
   *   another running proxy.
   */
  start(): Promise<void>;
  /** Publishes what is left, for at most `flush_timeout_ms`; the rest stays on disk for the next start. */
  stop(): Promise<void>;
  /** For `/readyz`: not ok while new sessions are refused because their events have no room. */
  health(): CheckResult;
}

export interface PipelineDeps {
  readonly kafka: KafkaConfig;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly proxyId: string;
  /** Where the publishing side runs; a thread of its own where not given. */
  readonly startBackend?: StartBackend;
}

/** Events of this long travel together to the publishing thread: what a kill -9 can take away. */
const HAND_OVER_MS = 5;
const STOP_GRACE_MS = 2_000;

/** The way of events to Kafka, as the proxy's thread sees it: encode, gather, hand over. */
export function createEventPipeline(config: EventsConfig, deps: PipelineDeps): EventPipeline {
  const { logger } = deps;
  const metrics = createEventMetrics(deps.registry);
  let backend: Backend | null = null;
  let timer: NodeJS.Timeout | null = null;
  /** Bytes handed over that the other thread has not taken yet. */
  let inTransitBytes = 0;
  let isSpoolFull = false;
  let failingSinceMs: number | null = null;
  let onReady: ((message: FromBackend & { kind: 'ready' }) => void) | null = null;
  let onFailed: ((error: Error) => void) | null = null;
  let onStopped: ((leftBytes: number) => void) | null = null;

  const writer = new FrameWriter(handOver);

  function handOver(chunk: Uint8Array<ArrayBuffer>): void {
    inTransitBytes += chunk.length;
    backend?.post({ kind: 'chunk', chunk });
  }

  function flush(): void {
    timer = null;
    const chunk = writer.take();
    if (chunk !== null) handOver(chunk);
  }

  function isFull(): boolean {
    return isSpoolFull || inTransitBytes > config.queue_max_bytes;
  }

  function receive(message: FromBackend): void {
    switch (message.kind) {
      case 'taken':
        inTransitBytes -= message.bytes;
        if (message.isFull !== isSpoolFull) {
          isSpoolFull = message.isFull;
          logger.error(
            { is_full: isSpoolFull, policy: config.full_policy },
            isSpoolFull ? 'the event spool is full' : 'the event spool has room again',
          );
        }
        return;
      case 'stats':
        isSpoolFull = message.stats.isFull;
        failingSinceMs = message.stats.failingSinceMs;
        metrics.take(message.stats);
        return;
      case 'log':
        logger[message.level](message.fields, message.message);
        return;
      case 'ready':
        onReady?.(message);
        return;
      case 'failed':
        onFailed?.(new SockscopeError('spool_unusable', message.message));
        return;
      case 'stopped':
        onStopped?.(message.leftBytes);
        return;
    }
  }

  /** Arms the hand-over; false where even the way to the other thread is blocked. */
  function hasRoom(): boolean {
    if (inTransitBytes > 2 * config.queue_max_bytes) return false;
    timer ??= setTimeout(flush, HAND_OVER_MS);
    return true;
  }

  return {
    get accepting() {
      return config.full_policy === 'drop' || !isFull();
    },
    emit(event: SessionEvent) {
      metrics.emitted(event.type);
      if (hasRoom()) writer.event(event);
      else metrics.dropped();
    },
    note(reading: SessionReading) {
      if (hasRoom()) writer.reading(reading);
    },
    async start() {
      const ready = new Promise<FromBackend & { kind: 'ready' }>((resolve, reject) => {
        onReady = resolve;
        onFailed = reject;
      });
      backend = (deps.startBackend ?? startThread)(
        { events: config, kafka: deps.kafka, proxy_id: deps.proxyId },
        receive,
      );
      metrics.observe({ inTransitBytes: () => inTransitBytes, accepting: () => !isFull() });
      try {
        const { crashedSessions, foundBytes } = await ready;
        metrics.crashed(crashedSessions);
        if (crashedSessions > 0 || foundBytes > 0) {
          logger.warn(
            { crashed_sessions: crashedSessions, unpublished_bytes: foundBytes },
            'took up what the previous run left',
          );
        }
      } catch (error) {
        backend.terminate();
        backend = null;
        throw error;
      }
    },
    async stop() {
      if (backend === null) return;
      if (timer !== null) clearTimeout(timer);
      flush();
      const stopped = new Promise<number>((resolve) => {
        onStopped = resolve;
      });
      backend.post({ kind: 'stop', timeoutMs: config.flush_timeout_ms });
      const leftBytes = await Promise.race([
        stopped,
        delay(config.flush_timeout_ms + STOP_GRACE_MS, null, { ref: false }),
      ]);
      if (leftBytes !== 0) {
        logger.warn({ left_bytes: leftBytes }, 'unpublished events stay in the spool');
      }
      backend.terminate();
      backend = null;
    },
    health() {
      const seconds =
        failingSinceMs === null ? 0 : Math.round((Date.now() - failingSinceMs) / 1_000);
      const detail = failingSinceMs === null ? {} : { detail: `Kafka away for ${seconds} s` };
      if (isFull() && config.full_policy === 'refuse') {
        return { ok: false, detail: 'the event spool is full: new sessions are refused' };
      }
      return { ok: true, ...detail };
    },
  };
}
