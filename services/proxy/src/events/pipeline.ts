import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import type { CheckResult, Logger, Registry } from '@sockscope/runtime';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import type { Spool } from '../limits/spool-share.js';
import type { EventsConfig } from './config.js';
import { Intake } from './intake.js';
import { deltaOf } from './measurement.js';
import type { Measurement } from './measurement.js';
import type { Backend, FromBackend, StartBackend } from './messages.js';
import { createEventMetrics } from './metrics.js';
import { createSharedBuffer, SharedState } from './shared.js';
import type { EventSink, OpenSession } from './sink.js';
import { LogWriter, segmentBytes } from './spool/log.js';
import { SessionTable } from './spool/table.js';
import { startThread } from './thread.js';

export interface EventPipeline extends EventSink {
  /**
   * Opens the spool and returns the remains of a previous run.
   *
   * @throws SockscopeError `spool_unusable` if the folder is not writable or belongs to another running proxy.
   */
  start(): Promise<void>;
  /**
   * Publishes waiting events for at most `flush_timeout_ms`; the rest stays on disk for the next
   * start.
   */
  stop(): Promise<void>;
  /** How full the spool is. */
  readonly spool: Spool;
  /** For `/readyz`: not ok while new sessions are refused because their events have no room. */
  health(): CheckResult;
}

export interface PipelineDeps {
  readonly kafka: KafkaConfig;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly proxyId: string;
  /** Where the publishing side runs; a thread of its own if not given. */
  readonly startBackend?: StartBackend;
}

/** Events of this long are written together: what a kill -9 can take away. */
const HAND_OVER_MS = 5;
/** A file of the log is left for the next one after this time, so that it can be forced to disk. */
const LEAVE_FILE_MS = 1_000;
const STOP_GRACE_MS = 2_000;

/** The way of events to Kafka, as the proxy's thread sees it: into the log, or into the table of open sessions. */
export function createEventPipeline(config: EventsConfig, deps: PipelineDeps): EventPipeline {
  const { logger } = deps;
  const metrics = createEventMetrics(deps.registry);
  const sharedBuffer = createSharedBuffer();
  const shared = new SharedState(sharedBuffer);
  let backend: Backend | null = null;
  let log: LogWriter | null = null;
  let intake: Intake | null = null;
  let timer: NodeJS.Timeout | null = null;
  let leaveTimer: NodeJS.Timeout | null = null;
  let hasChanged = false;
  let endAtSweep = 0;
  let isTroubled = false;
  let wasFull = false;
  let failing: { readonly sinceMs: number; readonly why: string } | null = null;
  let onReady: ((message: FromBackend & { kind: 'ready' }) => void) | null = null;
  let onFailed: ((error: Error) => void) | null = null;
  let onStopped: (() => void) | null = null;

  const table = new SessionTable(({ tableClass, first, memory }) => {
    backend?.post({ kind: 'slots', tableClass, first, memory });
  });

  function flush(isLast = false): void {
    timer = null;
    if (intake === null) return;
    intake.flush(isLast);
    // The disk is tried again, whatever comes.
    if (intake.waitingBytes > 0) arm();
    if (hasChanged) backend?.post({ kind: 'swept' });
    hasChanged = false;
    const isWaiting = shared.written > shared.acknowledged || shared.isLending;
    if (isWaiting && shared.wake()) backend?.post({ kind: 'wake' });
  }

  function arm(): void {
    timer ??= setTimeout(flush, HAND_OVER_MS, false);
  }

  function troubled(trouble: unknown): void {
    const now = trouble !== null;
    if (now === isTroubled) return;
    isTroubled = now;
    if (now) {
      metrics.refusedByDisk();
      logger.error(
        { err: trouble },
        'the event spool cannot be written; events are kept in memory',
      );
    } else logger.info('the event spool can be written again');
  }

  function isFull(): boolean {
    const now = intake?.isFull ?? false;
    if (now !== wasFull) {
      wasFull = now;
      const fields = { policy: config.full_policy };
      if (now) logger.error(fields, 'the event spool is full');
      else logger.info(fields, 'the event spool has room again');
    }
    return now;
  }

  function open({ dir, position }: FromBackend & { kind: 'ready' }): void {
    log = new LogWriter(dir, position, segmentBytes(config.spool_max_bytes));
    intake = new Intake(config, { log, shared, onTrouble: troubled });
    endAtSweep = position;
    leaveTimer = setInterval(() => log?.leave(), LEAVE_FILE_MS).unref();
  }

  function receive(message: FromBackend): void {
    switch (message.kind) {
      case 'borrow':
        backend?.post({ kind: 'lent', chunk: intake?.lend() ?? new Uint8Array() });
        return;
      case 'repaid':
        intake?.repaid();
        return;
      case 'crashed':
        metrics.crashed(message.sessions);
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
        onStopped?.();
        return;
    }
  }

  function write(session: OpenSession, measurement: Measurement, isReport: boolean): boolean {
    if (intake === null || !table.write(session, measurement, isReport, intake.end)) return false;
    hasChanged = true;
    arm();
    return true;
  }

  return {
    get accepting() {
      return config.full_policy === 'drop' || !isFull();
    },
    spool: {
      get bytes() {
        return shared.written - shared.acknowledged;
      },
      maxBytes: config.spool_max_bytes,
    },
    emit(event) {
      metrics.emitted(event.type);
      intake?.take(event);
      arm();
    },
    report(session, delta) {
      metrics.emitted('TrafficDelta');
      if (write(session, delta, true)) {
        metrics.reported();
        return;
      }
      intake?.take(deltaOf(session.started(), delta));
      arm();
    },
    note(session, measurement) {
      write(session, measurement, false);
    },
    release(session) {
      table.release(session);
    },
    swept() {
      shared.covered = endAtSweep;
      endAtSweep = shared.written;
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
        memoryBytes: () => intake?.waitingBytes ?? 0,
        spoolBytes: () => shared.written - shared.acknowledged,
        dropped: () => intake?.dropped ?? 0,
        accepting: () => !isFull(),
        spoolMaxBytes: config.spool_max_bytes,
      });
      try {
        const message = await ready;
        open(message);
        const { crashedSessions, foundBytes } = message;
        metrics.crashed(crashedSessions);
        if (crashedSessions > 0 || foundBytes > 0) {
          logger.warn(
            { crashed_sessions: crashedSessions, unpublished_bytes: foundBytes },
            'recovered the events and open sessions of the previous run',
          );
        }
      } catch (error) {
        backend.terminate();
        backend = null;
        throw error;
      }
    },
    async stop() {
      const stopping = backend;
      if (stopping === null) return;
      backend = null;
      if (intake !== null) await publishRest(stopping, intake);
      // A folder that is being opened is left as it is: the next start opens it again.
      stopping.terminate();
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

  async function publishRest(publishing: Backend, events: Intake): Promise<void> {
    backend = publishing;
    if (timer !== null) clearTimeout(timer);
    if (leaveTimer !== null) clearInterval(leaveTimer);
    flush(true);
    log?.leave();
    const stopped = new Promise<void>((resolve) => {
      onStopped = resolve;
    });
    const isClean = events.openSessions === 0;
    publishing.post({ kind: 'stop', timeoutMs: config.flush_timeout_ms, isClean });
    await Promise.race([
      stopped,
      delay(config.flush_timeout_ms + STOP_GRACE_MS, undefined, { ref: false }),
    ]);
    backend = null;
    if (timer !== null) clearTimeout(timer);
    events.close();
    const leftBytes = shared.written - shared.acknowledged;
    if (leftBytes > 0) {
      logger.warn({ left_bytes: leftBytes }, 'unpublished events stay in the spool');
    }
  }
}
