/**
 * Follows the log by a cursor and gives its events to Kafka, one batch at a time, until all are acknowledged.
 *
 * Guarantees: nothing is published that is not in the log, or in the table of open sessions; events of one
 * session leave in the order of their `seq`. TrafficDeltas of the table ride along once the log is published,
 * so they give way to later ones while Kafka is away.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { NothingAcceptedError, RecordsRefusedError } from '@sockscope/runtime/kafka';
import type { KafkaProducer } from '@sockscope/runtime/kafka';
import { scanFrames } from './frame.js';
import type { Frame } from './frame.js';
import type { ReportQueue } from './reports.js';
import type { SharedState } from './shared.js';
import { SpoolError } from './spool/files.js';
import type { LogReader, ReadLimits } from './spool/log.js';

export interface Publisher {
  /** How far the log is acknowledged. */
  readonly cursor: number;
  /** Whether all that is known of is published. */
  readonly isDone: boolean;
  /** Whether the waiting events fill a batch. */
  readonly isBehind: boolean;
  /** Something may be there to publish. */
  wake(): void;
  /** Runs a task between two batches, which may send. */
  between(task: () => Promise<void>): Promise<void>;
  /** Sends frames that are in no way of this log; false if that took too long. For tasks only. */
  sendWithin(frames: readonly Frame[], timeoutMs: number): Promise<boolean>;
  /** Publishes until nothing is left or the time is over, then ends the connection. */
  stop(timeoutMs: number): Promise<void>;
}

export interface PublisherConfig {
  readonly proxy_id: string;
  readonly linger_ms: number;
  readonly limits: ReadLimits;
}

export interface PublisherDeps {
  readonly shared: SharedState;
  readonly log: LogReader;
  readonly reports: ReportQueue;
  readonly producer: KafkaProducer<Frame>;
  readonly topic: string;
  /**
   * Whole frames that the disk did not take, from the memory of the proxy's thread; empty if there
   * are none.
   */
  readonly borrow: () => Promise<Uint8Array>;
  /** The borrowed events are acknowledged. */
  readonly repay: () => void;
  /** A batch was acknowledged; `oldestMs` is the `occurred_at` of its first event. */
  readonly onPublished: (records: number, oldestMs: number) => void;
  /** Kafka refuses these permanently. False when they cannot be kept elsewhere now: they wait. */
  readonly keepRefused: (frames: readonly Frame[], reason: string) => boolean;
  readonly onTrouble: (trouble: SpoolError | null) => void;
  /** A fault that must not happen. */
  readonly onFailure: (error: unknown) => void;
}

const READ_RETRY_MS = 500;
const NOTHING_READY_MS = 25;
/** Pause after Kafka has accepted nothing, or while refused events cannot be kept. */
const REFUSED_RETRY_MS = 2_000;
/** How long a failed read from disk is repeated; then the rest of the file counts as lost. */
const READ_PATIENCE_MS = 5_000;

/** @param acknowledged where the log goes on. */
export function createPublisher(
  config: PublisherConfig,
  acknowledged: number,
  deps: PublisherDeps,
): Publisher {
  const { shared, log, reports, producer } = deps;
  const abort = new AbortController();
  const hurry = new AbortController();
  const tasks: (() => Promise<void>)[] = [];
  let cursor = acknowledged;
  let running: Promise<void> | null = null;
  let failingSinceMs: number | null = null;

  function isDone(): boolean {
    return cursor >= shared.written && reports.size === 0 && !shared.isLending;
  }

  function isBehind(): boolean {
    return shared.written - cursor >= config.limits.maxBytes;
  }

  /** False if Kafka accepts nothing: nothing is done with the frames then. */
  async function send(frames: readonly Frame[], signal: AbortSignal): Promise<boolean> {
    const [first] = frames;
    if (first === undefined) return true;
    let refused = 0;
    try {
      await producer.send(deps.topic, frames, signal);
    } catch (error) {
      if (error instanceof NothingAcceptedError) return false;
      if (!(error instanceof RecordsRefusedError)) throw error;
      const { refused: kept, message } = error as RecordsRefusedError<Frame>;
      while (!deps.keepRefused(kept, message)) {
        await pause(REFUSED_RETRY_MS, signal);
        if (signal.aborted) return false;
      }
      refused = kept.length;
    }
    deps.onPublished(frames.length - refused, first.occurredAtMs);
    return true;
  }

  /** Reads on in the log; null while the disk cannot be read. */
  function read(): { frames: Frame[]; next: number } | null {
    const end = shared.written;
    try {
      const found = log.read(cursor, end, config.limits);
      if (failingSinceMs !== null) deps.onTrouble(null);
      failingSinceMs = null;
      return found;
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      failingSinceMs ??= performance.now();
      deps.onTrouble(error);
      if (performance.now() - failingSinceMs < READ_PATIENCE_MS) return null;
      failingSinceMs = null;
      return { frames: [], next: log.skip(cursor, end) };
    }
  }

  async function publishSome(): Promise<void> {
    const found = read();
    if (found === null) {
      await pause(READ_RETRY_MS, abort.signal);
      return;
    }
    const { frames, next } = found;
    const room = config.limits.maxFrames - frames.length;
    if (room > 0 && next >= shared.written) {
      for (const frame of reports.take(room, next)) frames.push(frame);
    }
    if (!(await send(frames, abort.signal))) {
      // With more events beside it, a single bad one can be distinguished from a faulty topic.
      await pause(REFUSED_RETRY_MS, abort.signal);
      return;
    }
    cursor = next;
    shared.acknowledged = next;
    if (frames.length > 0 || cursor < shared.written) return;
    if (shared.isLending) await publishBorrowed();
    // The waiting slot of the table is being overwritten.
    else await pause(NOTHING_READY_MS, abort.signal);
  }

  async function publishBorrowed(): Promise<void> {
    const chunk = await deps.borrow();
    const { frames } = scanFrames(Buffer.from(chunk), config.proxy_id);
    if (await send(frames, abort.signal)) deps.repay();
    else await pause(REFUSED_RETRY_MS, abort.signal);
  }

  async function publish(): Promise<void> {
    while (!abort.signal.aborted) {
      const task = tasks.shift();
      if (task !== undefined) {
        await task();
        continue;
      }
      if (isDone()) return;
      // Others come along in one request: it costs about the same for one as for a hundred.
      if (!isBehind()) await pause(config.linger_ms, hurry.signal);
      await publishSome();
    }
  }

  function wake(): void {
    if (running !== null || abort.signal.aborted) return;
    running = publish()
      .catch((error: unknown) => {
        if (!abort.signal.aborted) deps.onFailure(error);
      })
      .finally(() => {
        running = null;
        shared.fallAsleep();
        // Something may have come before the other side could know.
        if ((tasks.length > 0 || !isDone()) && shared.wake()) wake();
      });
  }

  return {
    get cursor() {
      return cursor;
    },
    get isDone() {
      return isDone();
    },
    get isBehind() {
      return isBehind();
    },
    wake,
    between(task) {
      return new Promise<void>((resolve, reject) => {
        tasks.push(() => task().then(resolve, reject));
        wake();
      });
    },
    async sendWithin(frames, timeoutMs) {
      const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(timeoutMs)]);
      try {
        return await send(frames, signal);
      } catch (error) {
        if (signal.aborted) return false;
        throw error;
      }
    },
    async stop(timeoutMs) {
      hurry.abort();
      const timer = setTimeout(() => {
        abort.abort();
      }, timeoutMs);
      while (!isDone() && !abort.signal.aborted) {
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
