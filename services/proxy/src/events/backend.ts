/**
 * The publishing side: the log and the table of open sessions in, acknowledged events out. It runs in a
 * thread of its own (worker.ts), so that neither Kafka nor compression nor a slow disk ever delays traffic.
 *
 * Guarantee: a file of the log is deleted only when all of it is acknowledged, and its open
 * sessions are in the table on disk.
 */
import { messageOf } from '@sockscope/runtime';
import { createFormatProducer, recordOf } from '@sockscope/runtime/kafka';
import type { KafkaProducer, ProducerHooks } from '@sockscope/runtime/kafka';
import type { Frame } from './frame.js';
import type { BackendConfig, BackendStats, FromBackend, ToBackend } from './messages.js';
import { createOutageLog } from './outage.js';
import { createPublisher } from './publisher.js';
import type { Publisher } from './publisher.js';
import { createEventRecordFormat } from './record.js';
import { refusedEventOf, RefusedStore } from './refused/store.js';
import { ReportQueue } from './reports.js';
import { SharedState } from './shared.js';
import { publishDeadFolders } from './spool/dead-folders.js';
import { SpoolError } from './spool/files.js';
import { logDir, openFolder, releaseFolder } from './spool/folder.js';
import type { FolderConfig } from './spool/folder.js';
import { LogReader } from './spool/log.js';
import type { TableFile, TableStatus } from './spool/table-file.js';
import { TableChunk } from './spool/table.js';

/**
 * Of events before compression, which makes them ten times smaller: brokers take 1 MiB as one record
 * batch, and a topic may have one partition only.
 */
const BATCH_MAX_BYTES = 2 * 1024 ** 2;
const STATS_INTERVAL_MS = 500;
const MAINTAIN_INTERVAL_MS = 1_000;
/** What a crash of the machine may take away of what open sessions had counted. */
const TABLE_SYNC_MS = 5_000;
/** By then every worker of this machine has taken its folder. */
const DEAD_FOLDERS_AFTER_MS = 30_000;
const DEAD_FOLDERS_INTERVAL_MS = 60_000;
/** When there is more than one turn published. */
const DEAD_FOLDERS_MORE_MS = 1_000;
/** Less than a returning owner waits for its folder. */
const DEAD_SEND_TIMEOUT_MS = 1_000;

export interface BackendDeps {
  readonly send: (message: FromBackend) => void;
  readonly createProducer?: (hooks: ProducerHooks) => KafkaProducer<Frame>;
}

interface Parts {
  readonly dir: string;
  readonly table: TableFile;
  readonly log: LogReader;
  readonly reports: ReportQueue;
  readonly publisher: Publisher;
}

/** Starts at once and sends `ready` or `failed`. The returned function takes messages after `ready`. */
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
  const limits = { maxFrames: config.events.batch_max_records, maxBytes: BATCH_MAX_BYTES };

  let parts: Parts | null = null;
  const timers: NodeJS.Timeout[] = [];
  let deadTimer: NodeJS.Timeout | null = null;
  let onLent: ((chunk: Uint8Array) => void) | null = null;
  let maintaining: Promise<void> | null = null;
  let tableSyncedMs = 0;

  let published = 0;
  let refused = 0;
  let lostBytes = 0;
  let spoolErrors = 0;
  let isTroubled = false;
  let requestsMs: number[] = [];
  let agesMs: number[] = [];

  const log = (
    level: 'debug' | 'info' | 'warn' | 'error',
    fields: Record<string, unknown>,
    message: string,
  ): void => {
    send({ kind: 'log', level, fields, message });
  };
  const outage = createOutageLog({ log, waitingBytes: () => shared.written - shared.acknowledged });

  function troubled(trouble: SpoolError | null): void {
    if (trouble !== null) spoolErrors += 1;
    const now = trouble !== null;
    if (now === isTroubled) return;
    isTroubled = now;
    if (trouble === null) log('info', {}, 'the event spool works again');
    else log('error', { err: trouble.message }, 'the disk refuses writes to the event spool');
  }

  function statsOf({ table, log: reader, reports }: Parts): BackendStats {
    const stats = {
      published,
      publishedReports: reports.published,
      waitingReports: reports.size,
      refused,
      lostBytes: lostBytes + reader.lostBytes,
      spoolErrors,
      tableBytes: table.bytes,
      failures: outage.failures,
      failingSinceMs: outage.sinceMs,
      failure: outage.reason,
      requestsMs,
      agesMs,
    };
    requestsMs = [];
    agesMs = [];
    return stats;
  }

  async function start(): Promise<void> {
    const folder = await openFolder(folderConfig);
    const { dir, table, acknowledged, end } = folder;
    lostBytes = folder.lostBytes;
    shared.written = end;
    shared.acknowledged = acknowledged;
    const reader = new LogReader(logDir(dir), config.proxy_id);
    shared.freed = reader.free(acknowledged);
    shared.covered = end;
    const reports = new ReportQueue(config.proxy_id);
    const hooks: ProducerHooks = {
      onAcknowledged(_records, durationMs) {
        requestsMs.push(durationMs);
        outage.ended();
      },
      onFailure(error, attempt, delayMs) {
        outage.failed(error, attempt, delayMs);
      },
    };
    const format = createEventRecordFormat();
    const store = new RefusedStore({ ...folderConfig, ...config.events });
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
    const publisher = createPublisher(
      { proxy_id: config.proxy_id, linger_ms: config.events.linger_ms, limits },
      acknowledged,
      {
        shared,
        log: reader,
        reports,
        producer,
        topic: config.kafka.topic,
        borrow: () =>
          new Promise((resolve) => {
            onLent = resolve;
            send({ kind: 'borrow' });
          }),
        repay() {
          send({ kind: 'repaid' });
        },
        onPublished(records, oldestMs) {
          published += records;
          agesMs.push(Math.max(0, Date.now() - oldestMs));
        },
        keepRefused(frames, reason) {
          const { topic } = config.kafka;
          const fields = { count: frames.length, reason };
          const trouble = store.tryKeep(
            frames.map((frame) => refusedEventOf(recordOf(frame, format), topic, reason)),
          );
          if (trouble !== null) {
            outage.waiting(
              fields,
              `refused events cannot be stored, so all events wait: ${trouble}`,
            );
            return false;
          }
          refused += frames.length;
          log(
            'error',
            fields,
            'Kafka refuses events permanently; they are kept, see the command: refused list',
          );
          return true;
        },
        onTrouble: troubled,
        onFailure(error) {
          throw error;
        },
      },
    );
    parts = { dir, table, log: reader, reports, publisher };
    let told = '';
    timers.push(
      setInterval(() => {
        if (parts === null) return;
        const stats = statsOf(parts);
        const text = JSON.stringify(stats);
        // An idle process is not woken up to hear that nothing has changed.
        if (text === told) return;
        told = text;
        send({ kind: 'stats', stats });
      }, STATS_INTERVAL_MS),
      setInterval(() => {
        if (parts !== null) maintain(parts);
      }, MAINTAIN_INTERVAL_MS),
    );
    publishDeadAfter(DEAD_FOLDERS_AFTER_MS);
    send({
      kind: 'ready',
      dir: logDir(dir),
      position: end,
      crashedSessions: folder.crashedSessions,
      foundBytes: end - acknowledged,
    });
    publisher.wake();
  }

  function statusOf({ publisher }: Parts, isClean = false): TableStatus {
    return { acknowledged: publisher.cursor, aliveMs: Date.now(), isClean };
  }

  /** Brings changes of the table to disk. */
  function save(its: Parts, isClean = false): void {
    try {
      its.table.save(statusOf(its, isClean), (chunk, index, slot, version) => {
        its.reports.note(chunk, index, slot, version);
      });
    } finally {
      if (its.reports.size > 0) its.publisher.wake();
    }
  }

  function maintain(its: Parts): void {
    maintaining ??= forceToDisk(its)
      .catch((error: unknown) => {
        if (!(error instanceof SpoolError)) throw error;
        troubled(error);
      })
      .finally(() => {
        maintaining = null;
      });
  }

  async function forceToDisk(its: Parts): Promise<void> {
    const done = Math.min(its.publisher.cursor, shared.covered);
    const canFree = its.log.canFree(done);
    try {
      save(its);
    } catch (error) {
      // A disk that our own log has filled has no room for the table before a part of it goes.
      if (canFree) shared.freed = its.log.free(done, 1);
      throw error;
    }
    await its.log.syncLeft(its.publisher.cursor);
    const nowMs = performance.now();
    if (canFree || nowMs - tableSyncedMs >= TABLE_SYNC_MS) {
      tableSyncedMs = nowMs;
      await its.table.sync();
      if (canFree) shared.freed = its.log.free(done);
    }
    troubled(null);
  }

  function publishDeadAfter(delayMs: number): void {
    deadTimer = setTimeout(() => {
      const { publisher } = parts ?? {};
      if (publisher === undefined) return;
      let nextMs = DEAD_FOLDERS_INTERVAL_MS;
      publisher
        .between(async () => {
          if (await publishDead(publisher)) nextMs = DEAD_FOLDERS_MORE_MS;
        })
        .catch((error: unknown) => {
          log(
            'error',
            { err: messageOf(error) },
            'events of a proxy that is gone cannot be published',
          );
        })
        .finally(() => {
          publishDeadAfter(nextMs);
        });
    }, delayMs);
  }

  /** Whether there is more that can be published soon. */
  async function publishDead(publisher: Publisher): Promise<boolean> {
    const done = await publishDeadFolders(folderConfig, {
      limits,
      publish: (frames) => publisher.sendWithin(frames, DEAD_SEND_TIMEOUT_MS),
      isBusy: () => publisher.isBehind,
    });
    if (done.crashedSessions > 0) send({ kind: 'crashed', sessions: done.crashedSessions });
    const { emptied, bytes, leftBytes } = done;
    if (emptied.length > 0) {
      log('warn', { folders: emptied }, 'events of proxies that are gone were published');
    } else if (bytes > 0) {
      log('info', { bytes, left_bytes: leftBytes }, 'publishing events of proxies that are gone');
    }
    return bytes > 0 && leftBytes > 0;
  }

  async function stop(timeoutMs: number, isClean: boolean): Promise<void> {
    if (parts === null) return;
    const its = parts;
    if (deadTimer !== null) clearTimeout(deadTimer);
    for (const timer of timers) clearInterval(timer);
    await maintaining;
    // What ended is no report any more.
    tolerate(() => {
      save(its);
    });
    await its.publisher.stop(timeoutMs);
    parts = null;
    const { table, log: reader, publisher, dir } = its;
    tolerate(() => {
      save(its, isClean);
    });
    await reader
      .syncLeft(publisher.cursor, true)
      .then(() => table.sync())
      .catch(troubled);
    tolerate(() => {
      const done = isClean ? publisher.cursor : Math.min(publisher.cursor, shared.covered);
      shared.freed = reader.free(done, Number.POSITIVE_INFINITY, isClean);
    });
    send({ kind: 'stats', stats: statsOf(its) });
    reader.close();
    table.close();
    releaseFolder(dir);
    send({ kind: 'stopped' });
  }

  function tolerate(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      troubled(error);
    }
  }

  start().catch((error: unknown) => {
    send({ kind: 'failed', message: messageOf(error) });
  });

  return (message) => {
    switch (message.kind) {
      case 'wake':
        parts?.publisher.wake();
        return;
      case 'slots':
        parts?.table.add(new TableChunk(message.tableClass, message.first, message.memory));
        return;
      case 'swept':
        if (parts === null) return;
        tolerate(() => {
          if (parts !== null) save(parts);
        });
        return;
      case 'lent':
        onLent?.(message.chunk);
        onLent = null;
        return;
      case 'stop':
        stop(message.timeoutMs, message.isClean).catch((error: unknown) => {
          log('error', { err: messageOf(error) }, 'the event spool was not closed in order');
          send({ kind: 'stopped' });
        });
    }
  };
}
