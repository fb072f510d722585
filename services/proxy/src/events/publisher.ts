/**
 * Follows the log by a cursor and gives its events to Kafka, one batch at a time, until all are acknowledged.
 *
 * Guarantees: nothing is published that is not in the log, in the table of open sessions, or refused by the
 * disk; events of one session leave in the order of their `seq`. TrafficDeltas of the table ride along once
 * the log is published, so they give way to later ones while Kafka is away.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { scanChunks } from './frame.js';
import type { Frame } from './frame.js';
import type { ReportQueue } from './reports.js';
import type { SharedState } from './shared.js';
import { SpoolError } from './spool/files.js';
import type { LogReader, ReadLimits } from './spool/log.js';

export interface PublisherDeps {
  readonly shared: SharedState;
  readonly log: LogReader;
  readonly reports: ReportQueue;
  /** False if Kafka takes nothing now. */
  readonly send: (frames: readonly Frame[], signal: AbortSignal) => Promise<boolean>;
  /** The lent events are acknowledged. */
  readonly onRepaid: () => void;
  /** The disk cannot be read; null when it can be again. */
  readonly onTrouble: (trouble: SpoolError | null) => void;
}

/** Bytes that make the publisher wait WAITS_MAX times: fewer, larger requests disturb traffic less. */
const MANY_BYTES = 24 * 1024;
const WAITS_MAX = 4;
const READ_RETRY_MS = 500;
/** Least pause while nothing can be published. */
const IDLE_MS = 25;
/** Pause after Kafka has accepted nothing. */
const NOT_ACCEPTED_MS = 2_000;
/** How long a failed read from disk is repeated; then the rest of the file counts as lost. */
const READ_PATIENCE_MS = 5_000;

export class Publisher {
  readonly #lingerMs: number;
  readonly #limits: ReadLimits;
  readonly #deps: PublisherDeps;
  readonly #abort = new AbortController();
  readonly #hurry = new AbortController();
  #cursor: number;
  #running: Promise<void> | null = null;
  #failingSinceMs: number | null = null;
  /** Events that the disk did not take. */
  #lent: readonly Frame[] = [];

  constructor(lingerMs: number, limits: ReadLimits, deps: PublisherDeps) {
    this.#lingerMs = lingerMs;
    this.#limits = limits;
    this.#deps = deps;
    this.#cursor = deps.shared.get('acknowledged');
  }

  /** How far the log is acknowledged. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Takes whole chunks from the memory of the proxy's thread. The next ones come when these are repaid. */
  lend(chunk: Uint8Array): void {
    this.#lent = scanChunks(Buffer.from(chunk)).frames;
  }

  /** Follows the log until the stop. */
  start(): void {
    this.#running = this.#run();
  }

  /** Publishes until nothing is left or the time is over. */
  async stop(timeoutMs: number): Promise<void> {
    this.#hurry.abort();
    const timer = setTimeout(() => {
      this.#abort.abort();
    }, timeoutMs);
    await this.#running;
    clearTimeout(timer);
    this.#abort.abort();
  }

  get #waitingBytes(): number {
    return this.#deps.shared.get('written') - this.#cursor;
  }

  get #isDone(): boolean {
    const { shared, reports } = this.#deps;
    return this.#waitingBytes <= 0 && reports.size === 0 && shared.get('inMemory') === 0;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { signal: hurry } = this.#hurry;
    let hasMore = false;
    while (!signal.aborted && !(hurry.aborted && this.#isDone)) {
      if (!hasMore) await this.#linger(hurry);
      hasMore = this.#isDone ? false : await this.#publishSome(signal);
    }
  }

  /** Waits for others: a request costs about the same for one event as for a hundred. */
  async #linger(signal: AbortSignal): Promise<void> {
    for (let waits = 1; this.#waitingBytes < this.#limits.maxBytes; waits += 1) {
      await pause(Math.max(this.#lingerMs, this.#isDone ? IDLE_MS : 0), signal);
      if (waits === WAITS_MAX || this.#waitingBytes < MANY_BYTES) return;
    }
  }

  /** @returns whether a request was full, so that more events wait than it took. */
  async #publishSome(signal: AbortSignal): Promise<boolean> {
    const { shared, reports, send, onRepaid } = this.#deps;
    const found = this.#read();
    if (found === null) {
      await pause(READ_RETRY_MS, signal);
      return false;
    }
    const { frames, next } = found;
    const isAtEnd = next >= shared.get('written');
    if (isAtEnd) {
      const published = next + shared.get('repaid');
      frames.push(...reports.take(this.#limits.maxFrames - frames.length, published));
    }
    const lent = isAtEnd && frames.length === 0 ? this.#lent : [];
    // With more events beside it, a single bad one can be distinguished from a faulty topic.
    if (!(await send(lent.length > 0 ? lent : frames, signal))) {
      await pause(NOT_ACCEPTED_MS, signal);
      return false;
    }
    this.#cursor = next;
    shared.set('acknowledged', next);
    if (lent.length > 0) {
      this.#lent = [];
      onRepaid();
    } else if (isAtEnd && frames.length === 0) {
      // A slot of the table is being overwritten, or lent events are on their way here.
      await pause(IDLE_MS, signal);
    }
    return !isAtEnd;
  }

  /** Reads on in the log; null while the disk cannot be read. */
  #read(): { frames: Frame[]; next: number } | null {
    const { shared, log, onTrouble } = this.#deps;
    const end = shared.get('written');
    const failingMs = performance.now() - (this.#failingSinceMs ?? Number.POSITIVE_INFINITY);
    try {
      const found =
        failingMs < READ_PATIENCE_MS
          ? log.read(this.#cursor, end, this.#limits)
          : { frames: [], next: log.skip(this.#cursor, end) };
      if (this.#failingSinceMs !== null) onTrouble(null);
      this.#failingSinceMs = null;
      return found;
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      // A machine that lacks descriptors or memory has lost nothing.
      if (!error.isShortage) this.#failingSinceMs ??= performance.now();
      onTrouble(error);
      return null;
    }
  }
}

/** Waits, or until the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
