/**
 * The publishing side: the log and the table of open sessions in, acknowledged events out. It runs in a
 * thread of its own (worker.ts), so that neither Kafka nor compression nor a slow disk ever delays traffic.
 *
 * Guarantee: a file of the log is deleted only when all of it is acknowledged, and its open
 * sessions are in the table on disk.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, signalWithin } from '@sockscope/runtime';
import type { KafkaProducer } from '@sockscope/runtime/kafka';
import { Delivery } from './delivery.js';
import type { CreateProducer, Log } from './delivery.js';
import type { Frame } from './frame.js';
import type { BackendConfig, FromBackend, ToBackend } from './messages.js';
import { Publisher } from './publisher.js';
import { ReportQueue } from './reports.js';
import { SharedState } from './shared.js';
import { publishDeadFolders } from './spool/dead-folders.js';
import { SpoolError } from './spool/files.js';
import { logDir, openFolder, releaseFolder } from './spool/folder.js';
import type { OpenFolder } from './spool/folder.js';
import { LogReader, segmentBytes } from './spool/log.js';
import type { ReadLimits } from './spool/log.js';
import { fillReserve } from './spool/reserve.js';
import { TableMemory } from './spool/table.js';

/**
 * Bytes of a batch's frames. Records are four times as large, and compression makes them ten times smaller: brokers
 * take 1 MiB as one record batch, and a topic may have one partition only.
 */
const BATCH_MAX_BYTES = 1.5 * 1024 ** 2;
const STATS_INTERVAL_MS = 500;
const MAINTAIN_INTERVAL_MS = 1_000;
/** Time of counters of open sessions that a crash of the machine may destroy. */
const TABLE_SYNC_MS = 5_000;
/** Delay after which every worker of this machine has taken its folder. */
const DEAD_FOLDERS_AFTER_MS = 30_000;
const DEAD_FOLDERS_INTERVAL_MS = 60_000;
/** Delay if there is more than one turn published. */
const DEAD_FOLDERS_MORE_MS = 1_000;
/** Enough to connect to a distant Kafka. With the length of a turn, less than a returning owner waits for its folder. */
const DEAD_SEND_TIMEOUT_MS = 4_000;
/** So little that it can be sent in this time over a slow link too: a request that is not acknowledged is repeated. */
const DEAD_LIMITS: ReadLimits = { maxFrames: 500, maxBytes: 96 * 1024 };

export interface BackendDeps {
  readonly send: (message: FromBackend) => void;
  readonly createProducer?: CreateProducer;
  /** Delay before the first search for folders of dead proxies; for tests. */
  readonly deadFoldersAfterMs?: number;
}

/** Starts at once and sends `ready` or `failed`. The returned function takes messages after `ready`. */
export function startBackend(
  config: BackendConfig,
  deps: BackendDeps,
): (message: ToBackend) => void {
  let receive: ((message: ToBackend) => void) | null = null;
  openFolder({ ...config.events, proxy_id: config.proxy_id })
    .then((folder) => {
      receive = run(config, folder, deps);
    })
    .catch((error: unknown) => {
      deps.send({ kind: 'failed', message: messageOf(error) });
    });
  return (message) => receive?.(message);
}

function run(
  { events, kafka, proxy_id, shared: memory, table: tableMemory }: BackendConfig,
  { dir, table: tableFile, acknowledged, end, crashedSessions, lostBytes }: OpenFolder,
  { send, createProducer, deadFoldersAfterMs = DEAD_FOLDERS_AFTER_MS }: BackendDeps,
): (message: ToBackend) => void {
  const limits = { maxFrames: events.batch_max_records, maxBytes: BATCH_MAX_BYTES };
  const stopping = new AbortController();
  let maintaining: Promise<void> | null = null;
  /** Open sessions that began before this position of the log are in the table. */
  let covered = end;
  let crashed = crashedSessions;
  let tableSyncedMs = 0;
  let spoolErrors = 0;
  let isTroubled = false;

  const log: Log = (level, fields, message) => {
    send({ kind: 'log', level, fields, message });
  };
  const shared = new SharedState(memory);
  const reader = new LogReader(logDir(dir));
  shared.set('written', end);
  shared.set('acknowledged', acknowledged);
  shared.set('freed', reader.free(acknowledged));
  const table = new TableMemory(tableMemory);
  const reports = new ReportQueue(table);
  const delivery = new Delivery({ events, kafka, proxy_id }, log, createProducer);
  const own = delivery.connect(proxy_id);
  const publisher = new Publisher(events.linger_ms, limits, {
    shared,
    log: reader,
    reports,
    send: (frames, signal) => delivery.send(own, frames, signal),
    onRepaid: () => {
      send({ kind: 'repaid' });
    },
    onTrouble: troubled,
  });
  const timers = [
    setInterval(tell, STATS_INTERVAL_MS),
    setInterval(() => {
      maintaining ??= tolerate(maintain).finally(() => {
        maintaining = null;
      });
    }, MAINTAIN_INTERVAL_MS),
  ];

  function troubled(trouble: SpoolError | null): void {
    const now = trouble !== null;
    if (now) spoolErrors += 1;
    if (now === isTroubled) return;
    isTroubled = now;
    if (!now) log('info', {}, 'the event spool works again');
    else log('error', { err: trouble.message }, 'the disk refuses writes to the event spool');
  }

  /** Does something that the disk may refuse. */
  async function tolerate(step: () => Promise<void> | void): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      troubled(error);
    }
  }

  function tell(): void {
    send({
      kind: 'stats',
      stats: {
        ...delivery.takeStats(),
        publishedReports: reports.published,
        waitingReports: reports.size,
        lostBytes: lostBytes + reader.lostBytes,
        spoolErrors,
        tableBytes: tableFile.bytes,
        crashedSessions: crashed,
      },
    });
  }

  /** Brings changes of the table to disk. */
  function save(isClean = false): void {
    const status = { acknowledged: publisher.cursor, aliveMs: Date.now(), isClean };
    tableFile.save(status, table, (place, slot, version) => {
      reports.note(place, slot, version);
    });
  }

  async function maintain(): Promise<void> {
    const done = Math.min(publisher.cursor, covered);
    reader.look();
    const canFree = reader.canFree(done);
    try {
      save();
    } catch (error) {
      // A disk that our own log has filled has no room for the table before a part of it goes.
      if (canFree) shared.set('freed', reader.free(done, 1));
      throw error;
    }
    await reader.syncLeft(publisher.cursor);
    const nowMs = performance.now();
    if (canFree || nowMs - tableSyncedMs >= TABLE_SYNC_MS) {
      tableSyncedMs = nowMs;
      await tableFile.sync();
      if (canFree) shared.set('freed', reader.free(done));
    }
    // After a start on a full disk, as soon as there is room again.
    fillReserve(dir, segmentBytes(events.spool_max_bytes));
    troubled(null);
  }

  /** Publishes the events of dead proxies until the stop, over a connection of its own. */
  async function followDead(): Promise<void> {
    const { signal } = stopping;
    for (let waitMs = deadFoldersAfterMs; ;) {
      await delay(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      waitMs = DEAD_FOLDERS_INTERVAL_MS;
      const apart = new Map<string, KafkaProducer<Frame>>();
      try {
        const done = await publishDeadFolders(
          { ...events, proxy_id },
          DEAD_LIMITS,
          async (frames, proxyId) => {
            const producer = apart.get(proxyId) ?? delivery.connect(proxyId);
            apart.set(proxyId, producer);
            return delivery.send(producer, frames, signalWithin(signal, DEAD_SEND_TIMEOUT_MS));
          },
        );
        crashed += done.crashedSessions;
        const { emptied: folders, bytes, leftBytes: left_bytes } = done;
        if (folders.length > 0) {
          log('warn', { folders }, 'events of proxies that are gone were published');
        } else if (bytes > 0) {
          log('info', { bytes, left_bytes }, 'publishing events of proxies that are gone');
        }
        if (bytes > 0 && left_bytes > 0) waitMs = DEAD_FOLDERS_MORE_MS;
        if (done.trouble !== null) throw done.trouble;
      } catch (error) {
        const err = messageOf(error);
        log('error', { err }, 'events of a proxy that is gone cannot be published');
      } finally {
        for (const producer of apart.values()) producer.stop();
      }
    }
  }

  async function stop(timeoutMs: number, isClean: boolean): Promise<void> {
    stopping.abort();
    for (const timer of timers) clearInterval(timer);
    await Promise.all([maintaining, dead]);
    // An ended session has no report any more.
    await tolerate(save);
    await publisher.stop(timeoutMs);
    own.stop();
    await tolerate(() => {
      save(isClean);
    });
    await tolerate(async () => {
      reader.end();
      await reader.syncLeft(publisher.cursor);
      await tableFile.sync();
    });
    const done = isClean ? publisher.cursor : Math.min(publisher.cursor, covered);
    await tolerate(() => {
      shared.set('freed', reader.free(done));
    });
    tell();
    reader.close();
    tableFile.close();
    releaseFolder(dir);
  }

  const unpublished_bytes = end - acknowledged;
  if (crashed > 0 || unpublished_bytes > 0) {
    const fields = { crashed_sessions: crashed, unpublished_bytes };
    log('warn', fields, 'recovered the events and open sessions of the previous run');
  }
  send({ kind: 'ready', dir: logDir(dir), position: end });
  const dead = followDead();
  publisher.start();

  return (message) => {
    switch (message.kind) {
      case 'swept':
        if (stopping.signal.aborted) return;
        ({ covered } = message);
        void tolerate(save);
        return;
      case 'lent':
        publisher.lend(message.chunk);
        return;
      case 'stop':
        stop(message.timeoutMs, message.isClean)
          .catch((error: unknown) => {
            log('error', { err: messageOf(error) }, 'the event spool was not closed in order');
          })
          .finally(() => {
            send({ kind: 'stopped' });
          });
    }
  };
}
