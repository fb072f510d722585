/**
 * The publishing side: chunks of frames in, acknowledged events out. It runs in a thread of its own
 * (worker.ts), so that neither Kafka nor compression ever delays traffic.
 */
import { messageOf } from '@sockscope/runtime';
import { createFormatProducer, recordOf } from '@sockscope/runtime/kafka';
import type { KafkaError, KafkaProducer, ProducerHooks } from '@sockscope/runtime/kafka';
import { framesOf } from './frames.js';
import { createIntakeConsumer } from './intake-consumer.js';
import type { IntakeConsumer } from './intake-consumer.js';
import type {
  BackendConfig,
  BackendStats,
  FromBackend,
  PublishFailures,
  ToBackend,
} from './messages.js';
import { createOutbox } from './outbox.js';
import type { Outbox } from './outbox.js';
import { createPublisher } from './publisher.js';
import type { Publisher } from './publisher.js';
import { createEventRecordFormat } from './record.js';
import type { EventRecord } from './record.js';
import { refusedEventOf, RefusedStore } from './refused/store.js';
import type { RefusedEvent } from './refused/store.js';
import { adoptDeadFolders, openSpoolFolder } from './spool/folder.js';
import type { FolderConfig, SpoolFolder } from './spool/folder.js';
import { clearIntake } from './spool/intake.js';
import { SharedState } from './shared.js';

/**
 * Of events before compression, which makes them ten times smaller: brokers take 1 MiB as one record
 * batch, and a topic may have one partition only.
 */
const BATCH_MAX_BYTES = 2 * 1024 ** 2;
const STATS_INTERVAL_MS = 500;
const MAINTAIN_INTERVAL_MS = 1_000;
/** By then every worker of this machine has taken its folder. */
const ADOPT_AFTER_MS = 30_000;
const ADOPT_INTERVAL_MS = 60_000;
/** When there is more than was taken over at once: by then some of it is published. */
const ADOPT_MORE_MS = 1_000;
const FAILURE_LOG_INTERVAL_MS = 30_000;

export interface BackendDeps {
  readonly send: (message: FromBackend) => void;
  readonly createProducer?: (hooks: ProducerHooks) => KafkaProducer<EventRecord>;
}

/** Starts at once and says `ready` or `failed`. The returned function takes messages after `ready`. */
export function startBackend(
  config: BackendConfig,
  deps: BackendDeps,
): (message: ToBackend) => void {
  const { send } = deps;
  const shared = new SharedState(config.shared);
  const folderConfig: FolderConfig = {
    spool_dir: config.events.spool_dir,
    spool_max_bytes: config.events.spool_max_bytes,
    proxy_id: config.proxy_id,
  };
  const log = (
    level: 'debug' | 'info' | 'warn' | 'error',
    fields: Record<string, unknown>,
    message: string,
  ): void => {
    send({ kind: 'log', level, fields, message });
  };

  let parts: {
    folder: SpoolFolder;
    intake: IntakeConsumer;
    outbox: Outbox;
    publisher: Publisher;
  } | null = null;
  const timers: NodeJS.Timeout[] = [];
  let adoption: NodeJS.Timeout | null = null;

  let published = 0;
  let refused = 0;
  const failures = new Map<string, PublishFailures>();
  let failingSinceMs: number | null = null;
  let failure: string | null = null;
  let nextFailureLogMs = 0;
  let requestsMs: number[] = [];
  let agesMs: number[] = [];

  function logSometimes(
    level: 'warn' | 'error',
    fields: Record<string, unknown>,
    message: string,
  ): void {
    const nowMs = Date.now();
    if (nowMs < nextFailureLogMs) return;
    nextFailureLogMs = nowMs + FAILURE_LOG_INTERVAL_MS;
    log(level, fields, message);
  }

  const hooks: ProducerHooks = {
    onAcknowledged(_records, durationMs) {
      requestsMs.push(durationMs);
      if (failingSinceMs === null) return;
      const seconds = Math.round((Date.now() - failingSinceMs) / 1_000);
      log('info', { outage_seconds: seconds }, 'Kafka acknowledges events again');
      failingSinceMs = null;
      failure = null;
      nextFailureLogMs = 0;
    },
    onFailure(error: KafkaError, attempt, delayMs) {
      const kind = { code: error.code, type: error.type ?? 'none' };
      const key = `${kind.code}/${kind.type}`;
      failures.set(key, { ...kind, count: (failures.get(key)?.count ?? 0) + 1 });
      const nowMs = Date.now();
      failingSinceMs ??= nowMs;
      failure = error.message;
      logSometimes(
        'warn',
        {
          code: error.code,
          type: error.type,
          attempt,
          retry_in_ms: delayMs,
          outage_seconds: Math.round((nowMs - failingSinceMs) / 1_000),
          waiting_bytes: parts?.outbox.counts.spoolBytes ?? 0,
        },
        `events wait for Kafka: ${error.message}`,
      );
    },
  };

  function statsOf(outbox: Outbox, intake: IntakeConsumer): BackendStats {
    const stats = {
      ...outbox.counts,
      lostBytes: outbox.counts.lostBytes + intake.lostBytes,
      published,
      refused,
      failures: [...failures.values()],
      failingSinceMs,
      failure,
      requestsMs,
      agesMs,
    };
    requestsMs = [];
    agesMs = [];
    return stats;
  }

  async function start(): Promise<void> {
    const folder = await openSpoolFolder(folderConfig);
    const outbox = createOutbox(
      {
        queue_max_bytes: config.events.queue_max_bytes,
        spool_max_bytes: config.events.spool_max_bytes,
        batch_max_records: config.events.batch_max_records,
        batch_max_bytes: BATCH_MAX_BYTES,
      },
      {
        log: folder.log,
        journal: folder.journal,
        onTrouble(trouble) {
          if (trouble === null) log('info', {}, 'the event spool can be written again');
          else {
            log(
              'error',
              { err: trouble.message },
              'the event spool cannot be written; events are kept in memory',
            );
          }
        },
      },
    );
    const format = createEventRecordFormat();
    const producer =
      deps.createProducer?.(hooks) ??
      createFormatProducer(config.kafka, format, {
        role: config.proxy_id,
        hooks,
        logger: {
          debug: (fields, message) => {
            log('debug', { ...fields }, message);
          },
        },
      });
    const store = new RefusedStore({ ...folderConfig, ...config.events });
    /** Why they are not kept, or null. */
    const keepRefused = (events: readonly RefusedEvent[]): string | null => {
      try {
        if (store.keep(events)) return null;
        return `PROXY_REFUSED_MAX is reached; list them with "refused list", send them again with "refused send"`;
      } catch (error) {
        return messageOf(error);
      }
    };
    const publisher = createPublisher(config.events, {
      outbox,
      producer,
      topic: config.kafka.topic,
      onPublished(records, oldestMs) {
        published += records;
        agesMs.push(Math.max(0, Date.now() - oldestMs));
      },
      keepRefused(records, reason) {
        const { topic } = config.kafka;
        const events = records.map((each) => refusedEventOf(recordOf(each, format), topic, reason));
        const trouble = keepRefused(events);
        if (trouble !== null) {
          failingSinceMs ??= Date.now();
          failure = `refused events cannot be kept, so all events wait: ${trouble}`;
          logSometimes('error', { count: records.length, reason }, failure);
          return false;
        }
        refused += records.length;
        log(
          'error',
          { count: records.length, reason },
          'Kafka refuses events permanently; they are kept, see the command: refused list',
        );
        return true;
      },
      onBroken(count) {
        refused += count;
        log('error', { count }, 'the spool holds payloads that are no events; they are dropped');
      },
      onFailure(error) {
        throw error;
      },
    });
    const intake = createIntakeConsumer(
      { dir: folder.intakeDir },
      {
        shared,
        accept(chunks) {
          outbox.accept(framesOf(...chunks));
        },
        onTaken() {
          shared.isFull = outbox.isFull;
          publisher.wake();
        },
        onTrouble(message, fields) {
          log('error', fields, message);
        },
      },
    );
    parts = { folder, intake, outbox, publisher };
    let told = '';
    timers.push(
      setInterval(() => {
        const stats = statsOf(outbox, intake);
        const text = JSON.stringify(stats);
        // An idle process is not woken up to hear that nothing has changed.
        if (text === told) return;
        told = text;
        send({ kind: 'stats', stats });
      }, STATS_INTERVAL_MS),
      setInterval(() => {
        folder.touch();
        outbox.maintain();
        shared.isFull = outbox.isFull;
        publisher.wake();
      }, MAINTAIN_INTERVAL_MS),
    );
    adoptAfter(ADOPT_AFTER_MS, outbox);
    send({
      kind: 'ready',
      intakeDir: folder.intakeDir,
      crashedSessions: folder.crashedSessions,
      foundBytes: folder.foundBytes,
    });
    shared.isFull = outbox.isFull;
    if (!outbox.isEmpty) publisher.wake();
    intake.wake();
  }

  function adoptAfter(delayMs: number, outbox: Outbox): void {
    adoption = setTimeout(() => {
      adoptAfter(adopt(outbox) ? ADOPT_MORE_MS : ADOPT_INTERVAL_MS, outbox);
    }, delayMs);
  }

  /** Whether there is more that can be taken over soon. */
  function adopt(outbox: Outbox): boolean {
    try {
      const { emptied, bytes, leftBytes } = adoptDeadFolders(folderConfig, outbox);
      if (bytes > 0) parts?.publisher.wake();
      if (emptied.length > 0) {
        log('warn', { folders: emptied }, 'events of proxies that are gone were taken over');
      } else if (bytes > 0) {
        log(
          'info',
          { bytes, left_bytes: leftBytes },
          'taking over events of proxies that are gone',
        );
      }
      return bytes > 0 && leftBytes > 0;
    } catch (error) {
      log(
        'error',
        { err: messageOf(error) },
        'events of a proxy that is gone cannot be taken over',
      );
      return false;
    }
  }

  async function stop(timeoutMs: number): Promise<void> {
    if (parts === null) return;
    const { folder, intake, outbox, publisher } = parts;
    intake.take();
    await publisher.stop(timeoutMs);
    for (const timer of timers) clearTimeout(timer);
    if (adoption !== null) clearTimeout(adoption);
    intake.stop();
    outbox.close();
    // What could not be read now is left for the next start.
    if (shared.taken === shared.written) clearIntake(folder.intakeDir);
    const leftBytes = outbox.counts.spoolBytes;
    send({ kind: 'stats', stats: statsOf(outbox, intake) });
    folder.close();
    parts = null;
    send({ kind: 'stopped', leftBytes });
  }

  start().catch((error: unknown) => {
    send({ kind: 'failed', message: messageOf(error) });
  });

  return (message) => {
    switch (message.kind) {
      case 'chunk':
        if (parts === null) return;
        parts.intake.take();
        parts.outbox.accept(framesOf(message.chunk));
        shared.isFull = parts.outbox.isFull;
        send({ kind: 'taken', bytes: message.chunk.length });
        parts.publisher.wake();
        return;
      case 'wake':
        parts?.intake.wake();
        return;
      case 'stop':
        stop(message.timeoutMs).catch((error: unknown) => {
          log('error', { err: messageOf(error) }, 'the event spool was not closed in order');
          send({ kind: 'stopped', leftBytes: -1 });
        });
    }
  };
}
