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
import type { MakeEvent } from './sink.js';
import type { LogWriter } from './spool/log.js';

export interface IntakeDeps {
  readonly log: LogWriter;
  readonly shared: SharedState;
  readonly logger: Logger;
  /** Gives the oldest events that the disk did not take to the publishing thread, until they are repaid. */
  readonly lend: (chunk: Uint8Array) => void;
  /** The events so far are in the log, or wait for it in memory; the publishing thread cannot see them yet. */
  readonly onGiven: () => void;
}

/** Share of the room beside the ends of open sessions. Beyond it, new sessions should be refused. */
const FULL_FRACTION = 0.9;
/** Room that is kept for the end of an open session: an event with long names. */
const END_BYTES = 2 * 1024;
/** The largest part of the spool that is reserved for ends; otherwise reservations would fill a small one. */
const ENDS_FRACTION = 0.5;
/** Bytes lent at once, and more if one chunk is larger. */
const LEND_BYTES = 384 * 1024;
const RETRY_MS = 100;
/** Events of this time are written together; a kill -9 can destroy them. */
const GATHER_MS = 5;
/** Events that are made one after the other: between two of them, other code would push the encoder out of the caches. */
const MADE_AT_ONCE = 32;
/** A file of the log is left for the next one after this time, so that it can be forced to disk. */
const LEAVE_FILE_MS = 1_000;

export class Intake {
  readonly counts = {
    /** Events that were given, by type. */
    emitted: { SessionStarted: 0, TrafficDelta: 0, SessionClosed: 0 },
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
  /** Events that are not made yet. */
  readonly #pending: MakeEvent[] = [];
  /** Positions of the publishing thread when they last mattered. */
  readonly #seen = { acknowledged: 0, freed: 0 };
  /** Events that the disk refused, the oldest first. */
  readonly #waiting: Buffer[] = [];
  /** How many of the first ones are lent; null if nothing is. */
  #lent: number | null = null;
  #nextTryMs = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #leaveTimer: NodeJS.Timeout;
  #wasFull = false;

  constructor(config: EventsConfig, deps: IntakeDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#leaveTimer = setInterval(() => {
      deps.log.leave();
    }, LEAVE_FILE_MS).unref();
  }

  /** Bytes of everything that was given: in the log, published from memory, or still waiting. */
  get end(): number {
    this.#settle();
    const { log, shared } = this.#deps;
    return log.position + shared.get('repaid') + this.counts.memoryBytes + this.#writer.bytes;
  }

  /** Nothing more can be promised: new sessions should be refused. */
  get isFull(): boolean {
    const { queue_max_bytes, full_policy: policy } = this.#config;
    // Each event that waits may begin a session, which takes room for its end too.
    const soon = this.#writer.bytes + this.#pending.length * 2 * END_BYTES;
    const isFull =
      !this.holdsLess(this.#roomBesideEnds * FULL_FRACTION - soon, 'freed') ||
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
    this.#settle();
    this.#encode(event);
    this.#arm();
  }

  /** Takes an event that is not made yet. */
  later(make: MakeEvent): void {
    if (this.#pending.push(make) >= MADE_AT_ONCE) this.#settle();
    this.#arm();
  }

  #settle(): void {
    for (let make = this.#pending.shift(); make !== undefined; make = this.#pending.shift()) {
      this.#encode(make());
    }
  }

  #encode(event: EventParts): void {
    this.counts.emitted[event.type] += 1;
    if (!this.#hasRoomFor(event)) {
      this.counts.dropped += 1;
      return;
    }
    this.#writer.add(event);
    if (this.#writer.isFull) this.#write();
  }

  /** Whether an event may be kept. Counts the session that it begins or ends. */
  #hasRoomFor({ type }: EventParts): boolean {
    const { spool_max_bytes, queue_max_bytes } = this.#config;
    const isEnd = type === 'SessionClosed';
    if (type === 'SessionStarted') this.counts.openSessions += 1;
    const room = isEnd ? spool_max_bytes : this.#roomBesideEnds;
    // A session of a dead process may end here too.
    if (isEnd) this.counts.openSessions = Math.max(0, this.counts.openSessions - 1);
    return this.#waiting.length > 0
      ? this.counts.memoryBytes + this.#writer.bytes < queue_max_bytes
      : this.holdsLess(room - this.#writer.bytes, 'freed');
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, GATHER_MS);
  }

  /**
   * Brings the gathered events to the log.
   *
   * @param isLast tries the disk once more, however short ago it refused.
   */
  flush(isLast = false): void {
    this.#settle();
    this.#write();
    // Before the publishing thread sees an end: a report of its session would leave behind it.
    this.#deps.onGiven();
    if (this.#waiting.length > 0) this.#arm();
    if (performance.now() >= this.#nextTryMs || isLast) this.#writeWaiting();
    this.#show();
  }

  /** Brings events from memory to the log, as far as the disk takes them. */
  #writeWaiting(): void {
    // Lent events go to the disk too: Kafka may be away for long. They are published twice at worst.
    for (let [chunk] = this.#waiting; chunk !== undefined && this.#append(chunk);) {
      this.#release(1);
      [chunk] = this.#waiting;
    }
  }

  /** Brings what is encoded to the log, or keeps it in memory. */
  #write(): void {
    if (this.#writer.bytes === 0) return;
    const chunk = this.#writer.take();
    if (this.#waiting.length > 0 || !this.#append(chunk)) this.#keep(chunk);
  }

  /** The lent events are published. */
  repaid(): void {
    const { shared } = this.#deps;
    shared.set('repaid', shared.get('repaid') + this.#release(this.#lent ?? 0));
    this.#lent = null;
    this.flush();
  }

  /** Brings everything to the log, and leaves its last file. */
  finish(): void {
    this.flush(true);
    clearInterval(this.#leaveTimer);
    this.#deps.log.leave();
  }

  /** Events that still wait in memory are lost. */
  close(): void {
    clearTimeout(this.#timer);
    for (const chunk of this.#waiting) this.counts.dropped += scanChunks(chunk).frames.length;
  }

  /**
   * Whether the log has less than this behind a position of the publishing thread, which only grows. It is asked for
   * every event, so it looks at the position only if that may change the answer.
   */
  holdsLess(bytes: number, behind: 'acknowledged' | 'freed'): boolean {
    const { log, shared } = this.#deps;
    if (log.position - this.#seen[behind] < bytes) return true;
    this.#seen[behind] = shared.get(behind);
    return log.position - this.#seen[behind] < bytes;
  }

  /** Bytes of the spool that everything but the ends of open sessions may take. */
  get #roomBesideEnds(): number {
    const { spool_max_bytes } = this.#config;
    return (
      spool_max_bytes -
      Math.min(this.counts.openSessions * END_BYTES, spool_max_bytes * ENDS_FRACTION)
    );
  }

  /** Returns false if the disk refuses. The first refusal is reported, and the next attempt is soon. */
  #append(chunk: Buffer): boolean {
    const { log, logger } = this.#deps;
    try {
      log.append(chunk);
      return true;
    } catch (err) {
      this.#nextTryMs = performance.now() + RETRY_MS;
      if (this.#waiting.length > 0) return false;
      this.counts.diskRefusals += 1;
      logger.error({ err }, 'the event spool cannot be written; events are kept in memory');
      return false;
    }
  }

  /** Lets the publishing thread see all that was written, and lends it the oldest of the rest. */
  #show(): void {
    const { log, shared } = this.#deps;
    shared.set('written', log.position);
    this.#lend();
  }

  #keep(chunk: Buffer): void {
    this.#waiting.push(Buffer.from(chunk));
    this.#countMemory(chunk.length);
  }

  /** Forgets the oldest events that waited. Returns their bytes. */
  #release(count: number): number {
    const before = this.counts.memoryBytes;
    for (const chunk of this.#waiting.splice(0, count)) this.#countMemory(-chunk.length);
    if (this.#lent !== null) this.#lent = Math.max(0, this.#lent - count);
    if (count > 0 && this.#waiting.length === 0) {
      this.#deps.logger.info('the event spool can be written again');
    }
    return before - this.counts.memoryBytes;
  }

  #countMemory(bytes: number): void {
    this.counts.memoryBytes += bytes;
    this.#deps.shared.set('inMemory', this.counts.memoryBytes);
  }

  /** Lends the oldest events, unless some are lent; they wait on here until they are published. */
  #lend(): void {
    if (this.#lent !== null || this.#waiting.length === 0) return;
    let bytes = 0;
    const behind = this.#waiting.findIndex((chunk) => (bytes += chunk.length) > LEND_BYTES) + 1;
    const chunks = this.#waiting.slice(0, behind || this.#waiting.length);
    this.#lent = chunks.length;
    this.#deps.lend(Buffer.concat(chunks));
  }
}
