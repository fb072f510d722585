/**
 * The traffic thread's part of events: it encodes them, gathers them for some milliseconds, and appends them to the
 * log. If the disk refuses them, they wait in memory, in their order, until it takes them or the publishing
 * thread has brought them to Kafka.
 *
 * The log keeps room for the ends of all open sessions. When only that room is left, other events are dropped and
 * counted: then minutes lack traffic, and the sessions' totals and ends are whole. Memory has a bound too.
 */
import type { Logger } from '@sockscope/runtime';
import type { EventsConfig } from './config.js';
import type { EventParts } from './event-parts.js';
import { FrameWriter, scanChunks } from './frame.js';
import type { SharedState } from './shared.js';
import type { LogWriter } from './spool/log.js';

export interface IntakeDeps {
  readonly log: LogWriter;
  readonly shared: SharedState;
  readonly logger: Logger;
  /** Gives the oldest events that the disk did not take to the publishing thread, until they are repaid. */
  readonly lend: (chunk: Uint8Array) => void;
}

/** Share of the room beside the ends of open sessions. Beyond it, new sessions should be refused. */
const FULL_FRACTION = 0.9;
/** Room that is kept for the end of an open session: an event with long names. */
const END_BYTES = 2 * 1024;
/** The largest part of the spool that is reserved for ends; otherwise reservations would fill a small one. */
const ENDS_FRACTION = 0.5;
/** Bytes lent at once, and more if one chunk is larger. */
const LEND_BYTES = 1024 ** 2;
const RETRY_MS = 100;

export class Intake {
  readonly counts = {
    /** Sessions that began and have not ended. */
    openSessions: 0,
    /** Events lost because disk and memory were full. */
    dropped: 0,
    /** Times that the disk began to refuse events, and the bytes that it has not taken yet. */
    diskRefusals: 0,
    memoryBytes: 0,
  };
  readonly #config: EventsConfig;
  readonly #deps: IntakeDeps;
  readonly #writer = new FrameWriter();
  /** Events that the disk refused, the oldest first. */
  #waiting: Buffer[] = [];
  /** How many of the first ones are lent; null if nothing is. */
  #lent: number | null = null;
  #nextTryMs = 0;
  /** How far the log was deleted at the last look. */
  #freed = 0;
  #wasFull = false;

  constructor(config: EventsConfig, deps: IntakeDeps) {
    this.#config = config;
    this.#deps = deps;
  }

  /** The position in the log after everything that was given. */
  get end(): number {
    return this.#deps.log.position + this.counts.memoryBytes + this.#writer.bytes;
  }

  /** Nothing more can be promised: new sessions should be refused. */
  get isFull(): boolean {
    const { queue_max_bytes, full_policy: policy } = this.#config;
    const isFull =
      this.#fills(this.#roomBesideEnds * FULL_FRACTION) ||
      this.counts.memoryBytes >= queue_max_bytes * FULL_FRACTION;
    if (isFull !== this.#wasFull) {
      this.#wasFull = isFull;
      if (isFull) this.#deps.logger.error({ policy }, 'the event spool is full');
      else this.#deps.logger.info({ policy }, 'the event spool has room again');
    }
    return isFull;
  }

  /** Takes an event. Never throws: an event that cannot be kept is dropped and counted. */
  take(event: EventParts): void {
    const isEnd = event.type === 'SessionClosed';
    if (event.type === 'SessionStarted') this.counts.openSessions += 1;
    const room = isEnd ? this.#config.spool_max_bytes : this.#roomBesideEnds;
    // A session of a dead process may end here too.
    if (isEnd) this.counts.openSessions = Math.max(0, this.counts.openSessions - 1);
    const hasRoom =
      this.#waiting.length > 0
        ? this.counts.memoryBytes + this.#writer.bytes < this.#config.queue_max_bytes
        : !this.#fills(room - this.#writer.bytes);
    if (!hasRoom) {
      this.counts.dropped += 1;
      return;
    }
    this.#writer.add(event);
    if (this.#writer.isFull) this.flush();
  }

  /**
   * Brings the gathered events to the log.
   *
   * @param isLast tries the disk once more, however short ago it refused.
   */
  flush(isLast = false): void {
    if (this.#waiting.length > 0) {
      if (this.#writer.bytes > 0) this.#keep(this.#writer.take());
      const nowMs = performance.now();
      if (nowMs < this.#nextTryMs && !isLast) return;
      this.#nextTryMs = nowMs + RETRY_MS;
      this.#writeWaiting();
      return;
    }
    if (this.#writer.bytes === 0) return;
    const chunk = this.#writer.take();
    try {
      this.#append(chunk);
    } catch (err) {
      this.counts.diskRefusals += 1;
      this.#nextTryMs = performance.now() + RETRY_MS;
      this.#deps.logger.error(
        { err },
        'the event spool cannot be written; events are kept in memory',
      );
      this.#keep(chunk);
    }
  }

  /** The lent events are published. */
  repaid(): void {
    for (const chunk of this.#waiting.splice(0, this.#lent ?? 0)) {
      this.counts.memoryBytes -= chunk.length;
    }
    this.#lent = null;
    this.#settle();
  }

  /** Events that still wait in memory are lost. */
  close(): void {
    for (const chunk of this.#waiting) this.counts.dropped += scanChunks(chunk).frames.length;
  }

  /** Whether the log takes as much of the disk. What was freed meanwhile is looked up only if it matters. */
  #fills(bytes: number): boolean {
    const { log, shared } = this.#deps;
    if (log.position - this.#freed < bytes) return false;
    this.#freed = shared.freed;
    return log.position - this.#freed >= bytes;
  }

  /** Bytes of the spool that everything but the ends of open sessions may take. */
  get #roomBesideEnds(): number {
    const { spool_max_bytes } = this.#config;
    return (
      spool_max_bytes -
      Math.min(this.counts.openSessions * END_BYTES, spool_max_bytes * ENDS_FRACTION)
    );
  }

  #append(chunk: Buffer): void {
    this.#deps.log.append(chunk);
    this.#deps.shared.written = this.#deps.log.position;
  }

  #keep(chunk: Buffer): void {
    this.#waiting.push(Buffer.from(chunk));
    this.counts.memoryBytes += chunk.length;
    this.#deps.shared.hasEventsInMemory = true;
    this.#lend();
  }

  /** Lends the oldest events, unless some are lent; they wait on here until they are published. */
  #lend(): void {
    if (this.#lent !== null) return;
    let bytes = 0;
    const chunks: Buffer[] = [];
    for (const chunk of this.#waiting) {
      if (bytes > LEND_BYTES) break;
      bytes += chunk.length;
      chunks.push(chunk);
    }
    this.#lent = chunks.length;
    this.#deps.lend(Buffer.concat(chunks));
  }

  /** Lent events go to the disk too: Kafka may be away for long. They are published twice at worst. */
  #writeWaiting(): void {
    try {
      for (let chunk = this.#waiting[0]; chunk !== undefined; chunk = this.#waiting[0]) {
        this.#append(chunk);
        this.#waiting.shift();
        this.counts.memoryBytes -= chunk.length;
        if (this.#lent !== null) this.#lent = Math.max(0, this.#lent - 1);
      }
    } catch {
      // It was reported already, and the next attempt is soon.
    }
    this.#settle();
  }

  #settle(): void {
    const { shared, logger } = this.#deps;
    if (this.#waiting.length > 0) this.#lend();
    else if (shared.hasEventsInMemory) {
      shared.hasEventsInMemory = false;
      logger.info('the event spool can be written again');
    }
  }
}
