import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import type { CheckResult, Logger, Registry } from '@sockscope/runtime';
import type { KafkaConfig } from '@sockscope/runtime/kafka';
import type { Spool } from '../limits/spool-share.js';
import type { EventsConfig } from './config.js';
import { Intake } from './intake.js';
import { deltaOf } from './measurement.js';
import type { Measurement } from './measurement.js';
import type { Backend, FromBackend, Outage, StartBackend } from './messages.js';
import { createEventMetrics } from './metrics.js';
import { SharedState } from './shared.js';
import type { EventSink, OpenSession } from './sink.js';
import { LogWriter, segmentBytes } from './spool/log.js';
import { SessionTable, TableMemory } from './spool/table.js';
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
  /** State for `/readyz`: not ok while new sessions are refused because their events have no room. */
  health(): CheckResult;
}

export interface PipelineDeps {
  readonly kafka: KafkaConfig;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly proxyId: string;
  /** Starts the publishing side; in a thread of its own if not given. */
  readonly startBackend?: StartBackend;
}

const STOP_GRACE_MS = 2_000;
/** The counts of a spool that is not open yet. */
const NOTHING = {
  emitted: { SessionStarted: 0, TrafficDelta: 0, SessionClosed: 0 },
  diskRefusals: 0,
  dropped: 0,
  memoryBytes: 0,
};

/** The way of events to Kafka, as the proxy's thread sees it: into the log, or into the table of open sessions. */
export function createEventPipeline(config: EventsConfig, deps: PipelineDeps): EventPipeline {
  const { logger } = deps;
  const shared = new SharedState();
  let reported = 0;
  let backend: Backend | null = null;
  /** Null until the spool is open. */
  let intake: Intake | null = null;
  /** Positions in the log at the end of the last sweep, and of the previous one. */
  let endAtSweep = 0;
  let covered = 0;
  let outage: Outage | null = null;
  let onAnswer: ((message: FromBackend) => void) | null = null;

  const tableMemory = new TableMemory();
  const table = new SessionTable(tableMemory);
  const ended: OpenSession[] = [];
  const isFull = (): boolean => intake?.isFull ?? false;
  const spool: Spool = {
    get bytes() {
      return shared.get('written') - shared.get('acknowledged');
    },
    maxBytes: config.spool_max_bytes,
    holdsLess: (bytes) => intake?.holdsLess(bytes, 'acknowledged') ?? true,
  };
  const takeStats = createEventMetrics(deps.registry, () => ({
    ...(intake?.counts ?? NOTHING),
    reported,
    spoolBytes: spool.bytes,
    spoolMaxBytes: spool.maxBytes,
    accepting: !isFull(),
  }));

  function receive(message: FromBackend): void {
    switch (message.kind) {
      case 'repaid':
        intake?.repaid();
        return;
      case 'stats':
        ({ outage } = message.stats);
        takeStats(message.stats);
        return;
      case 'log':
        logger[message.level](message.fields, message.message);
        return;
      case 'ready':
      case 'failed':
      case 'stopped':
        onAnswer?.(message);
    }
  }

  /** The next answer of the publishing side: that it is ready, or has failed, or has stopped. */
  function answer(): Promise<FromBackend> {
    return new Promise((resolve) => {
      onAnswer = resolve;
    });
  }

  function write(session: OpenSession, measurement: Measurement, isReport: boolean): boolean {
    return intake !== null && table.write(session, measurement, isReport, intake.end);
  }

  return {
    spool,
    get accepting() {
      return config.full_policy === 'drop' || !isFull();
    },
    emit(event) {
      intake?.take(event);
    },
    later(make) {
      intake?.later(make);
    },
    report(session, delta) {
      if (write(session, delta, true)) reported += 1;
      else intake?.take(deltaOf(session.started(), delta));
    },
    note(session, measurement) {
      write(session, measurement, false);
    },
    release(session) {
      ended.push(session);
    },
    swept() {
      covered = endAtSweep;
      endAtSweep = shared.get('written');
      // The table is written next, and must not know of events that the log lacks.
      intake?.flush();
      backend?.post({ kind: 'swept', covered });
    },
    async start() {
      const starting = (deps.startBackend ?? startThread)(
        {
          events: config,
          kafka: deps.kafka,
          proxy_id: deps.proxyId,
          shared: shared.memory,
          table: tableMemory.memory,
        },
        receive,
      );
      backend = starting;
      const opened = await answer();
      if (opened.kind !== 'ready') {
        backend = null;
        starting.terminate();
        const why = opened.kind === 'failed' ? opened.message : 'the publishing thread has ended';
        throw new SockscopeError('spool_unusable', why);
      }
      const { dir, position } = opened;
      const log = new LogWriter(dir, position, segmentBytes(config.spool_max_bytes));
      const lend = (chunk: Uint8Array): void => {
        backend?.post({ kind: 'lent', chunk });
      };
      const onGiven = (): void => {
        for (const session of ended.splice(0)) table.release(session);
      };
      intake = new Intake(config, { log, shared, logger, lend, onGiven });
      covered = position;
      endAtSweep = position;
    },
    async stop() {
      const stopping = backend;
      // A folder that is being opened is left as it is: the next start opens it again.
      if (stopping !== null && intake !== null) await publishRest(stopping, intake);
      backend = null;
      stopping?.terminate();
    },
    health() {
      const waits =
        outage === null
          ? []
          : [
              `events wait for ${Math.round((Date.now() - outage.sinceMs) / 1_000)} s: ${outage.why}`,
            ];
      const ok = config.full_policy === 'drop' || !isFull();
      if (!ok) waits.unshift('the event spool is full: new sessions are refused');
      return waits.length === 0 ? { ok } : { ok, detail: waits.join('; ') };
    },
  };

  async function publishRest(stopping: Backend, events: Intake): Promise<void> {
    events.finish();
    const stopped = answer();
    const isClean = events.counts.openSessions === 0;
    stopping.post({ kind: 'stop', timeoutMs: config.flush_timeout_ms, isClean });
    await Promise.race([
      stopped,
      delay(config.flush_timeout_ms + STOP_GRACE_MS, undefined, { ref: false }),
    ]);
    events.close();
    const { bytes: left_bytes } = spool;
    if (left_bytes > 0) logger.warn({ left_bytes }, 'unpublished events stay in the spool');
  }
}
