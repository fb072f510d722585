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
import { createSharedBuffer, SharedState } from './shared.js';
import type { EventSink } from './sink.js';
import { IntakeWriter } from './spool/intake.js';
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

/** Events of this long are written together: what a kill -9 can take away. */
const HAND_OVER_MS = 5;
const STOP_GRACE_MS = 2_000;
/** Of the spool's size, what the other thread may be behind before new sessions are refused. */
const INTAKE_FRACTION = 0.5;

/** The way of events to Kafka, as the proxy's thread sees it: encode, gather, hand over. */
export function createEventPipeline(config: EventsConfig, deps: PipelineDeps): EventPipeline {
  const { logger } = deps;
  const metrics = createEventMetrics(deps.registry);
  const sharedBuffer = createSharedBuffer();
  let backend: Backend | null = null;
  let timer: NodeJS.Timeout | null = null;
  let intake: IntakeWriter | null = null;
  /** Bytes handed over as messages that the other thread has not taken yet. */
  let messageBytes = 0;
  let isTroubled = false;
  let wasFull = false;
  let failing: { readonly sinceMs: number; readonly why: string } | null = null;
  let onReady: ((message: FromBackend & { kind: 'ready' }) => void) | null = null;
  let onFailed: ((error: Error) => void) | null = null;
  let onStopped: ((leftBytes: number) => void) | null = null;

  const shared = new SharedState(sharedBuffer);
  const writer = new FrameWriter(handOver);

  /** Into the intake; where the disk refuses, over to the other thread's memory. */
  function handOver(chunk: Uint8Array): void {
    // While a message is on its way the intake must wait, because it would be looked at first.
    if (intake !== null && messageBytes === 0) {
      try {
        intake.write(chunk);
        shared.written = intake.position;
        isTroubled = false;
        if (shared.wake()) backend?.post({ kind: 'wake' });
        return;
      } catch (error) {
        if (!isTroubled) logger.error({ err: error }, 'the event intake cannot be written');
        isTroubled = true;
      }
    }
    messageBytes += chunk.length;
    backend?.post({ kind: 'chunk', chunk: new Uint8Array(chunk) });
  }

  function flush(): void {
    timer = null;
    writer.flush();
  }

  /** Bytes in the intake that the other thread has not taken yet. */
  function intakeBytes(): number {
    return shared.written - shared.taken;
  }

  function isFull(): boolean {
    const now =
      shared.isFull ||
      intakeBytes() > config.spool_max_bytes * INTAKE_FRACTION ||
      messageBytes > config.queue_max_bytes;
    if (now !== wasFull) {
      wasFull = now;
      const fields = { policy: config.full_policy };
      if (now) logger.error(fields, 'the event spool is full');
      else logger.info(fields, 'the event spool has room again');
    }
    return now;
  }

  function receive(message: FromBackend): void {
    switch (message.kind) {
      case 'taken':
        messageBytes -= message.bytes;
        return;
      case 'stats':
        failing =
          message.stats.failingSinceMs === null
            ? null
            : { sinceMs: message.stats.failingSinceMs, why: message.stats.failure ?? '' };
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
    if (intakeBytes() > config.spool_max_bytes || messageBytes > 2 * config.queue_max_bytes) {
      return false;
    }
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
        { events: config, kafka: deps.kafka, proxy_id: deps.proxyId, shared: sharedBuffer },
        receive,
      );
      metrics.observe({
        memoryBytes: () => messageBytes,
        intakeBytes,
        accepting: () => !isFull(),
      });
      try {
        const { intakeDir, crashedSessions, foundBytes } = await ready;
        intake = new IntakeWriter(intakeDir);
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
      intake?.close();
    },
    health() {
      const detail =
        failing === null
          ? ''
          : `events wait for ${Math.round((Date.now() - failing.sinceMs) / 1_000)} s: ${failing.why}`;
      if (isFull() && config.full_policy === 'refuse') {
        const full = 'the event spool is full: new sessions are refused';
        return { ok: false, detail: detail === '' ? full : `${full}; ${detail}` };
      }
      return detail === '' ? { ok: true } : { ok: true, detail };
    },
  };
}
