/**
 * The queue between the proxy and Kafka: everything goes through the log on disk, and what was
 * written last is also kept in memory, so that nothing is read back while Kafka keeps up.
 *
 * Guarantees: a record is in the log before it can be published; records of one session leave in
 * the order of their `seq`; nothing is dropped while the disk has room. TrafficDeltas wait outside
 * of the log until there is room in a batch, and one that waits is superseded by the next one of
 * its session in the same minute. The last one of a minute is always published, because it alone
 * holds that minute's traffic.
 *
 * The log keeps room for the ends of all open sessions. What else comes when only that is left is
 * dropped and counted: then minutes lack traffic, and the sessions' totals and ends are whole.
 */
import { sessionIdOf } from './envelope.js';
import type { Frame } from './frames.js';
import { JournalNotes } from './notes.js';
import type { SessionJournal } from './spool/journal.js';
import { readingSessionId } from './reading.js';
import { SpoolError } from './spool/log.js';
import type { SpoolLog } from './spool/log.js';
import { RECORD_HEADER_BYTES } from './spool/records.js';

export interface OutboxConfig {
  readonly queue_max_bytes: number;
  readonly spool_max_bytes: number;
  readonly batch_max_records: number;
  readonly batch_max_bytes: number;
}

export interface Batch {
  readonly payloads: readonly Buffer[];
  /** Where the log goes on behind the batch; null for records that the disk did not take. */
  readonly next: number | null;
}

export interface OutboxCounts {
  /** What waits in the log, on disk or on disk and in memory. */
  readonly spoolBytes: number;
  readonly heldDeltas: number;
  /** Bytes in memory: cached, held and those that the disk did not take, notes among them. */
  readonly memoryBytes: number;
  readonly superseded: number;
  readonly dropped: number;
  readonly lostBytes: number;
  readonly spoolErrors: number;
  readonly journalBytes: number;
  readonly isFull: boolean;
}

export interface Outbox {
  /** Takes frames in their order. Never throws: what cannot be kept is dropped and counted. */
  accept(frames: Iterable<Frame>): void;
  /** The next records to publish, null where there are none. The same ones until acknowledged or released. */
  next(): Batch | null;
  /** Lets the next batch begin with the same records and take up those that have come since. */
  release(): void;
  acknowledge(batch: Batch): void;
  /** Bytes that dead proxies' events may still take: they must not shut out the living. */
  readonly roomBytes: number;
  /**
   * Takes encoded events of a dead proxy, behind all others. Never drops one.
   *
   * @throws SpoolError where the disk refuses: not all have been taken then.
   */
  adopt(payloads: readonly Buffer[]): void;
  /** Forces what was adopted to disk. @throws SpoolError where the disk refuses. */
  syncAdopted(): void;
  /** What happens now and then: forces to disk what waits, remembers what is done. */
  maintain(): void;
  /** Puts everything that is only in memory on disk, as far as it goes. */
  close(): void;
  readonly counts: OutboxCounts;
  readonly isEmpty: boolean;
  /** Nothing more can be promised: new sessions should be refused. */
  readonly isFull: boolean;
  /** Whether what waits in the log fills a batch, so that waiting for more is of no use. */
  readonly hasFullBatch: boolean;
}

interface Held {
  readonly minute: number;
  readonly payload: Buffer;
}

/** Of the room beside the ends of open sessions: beyond it new sessions should be refused. */
const FULL_FRACTION = 0.9;
/** Room that is kept for the end of an open session: an event with long names. */
const END_BYTES = 2 * 1024;
/** Of the spool, what ends may have kept at most; a small one would be full of promises otherwise. */
const ENDS_FRACTION = 0.5;
/** Of the spool, what may be taken when a dead proxy's events are added. */
const ADOPT_FRACTION = 0.5;

export interface OutboxDeps {
  readonly log: SpoolLog;
  readonly journal: SessionJournal;
  /** Told once per kind of trouble and again when it is over. */
  readonly onTrouble: (trouble: SpoolError | null) => void;
}

export function createOutbox(config: OutboxConfig, deps: OutboxDeps): Outbox {
  const { log, journal } = deps;
  const held = new Map<string, Held>();
  let heldBytes = 0;

  /** The log's records from `cacheStart` on, as far as memory goes. */
  let cache: Buffer[] = [];
  let cacheStart = log.end;
  let cacheEnd = log.end;
  /** Records that the disk did not take, behind all of the log. */
  let stranded: Buffer[] = [];
  let strandedBytes = 0;
  const notes = new JournalNotes();

  /** Sessions that began and have not ended. */
  let openSessions = 0;
  /** Where the log ended when it was last looked after. */
  let maintainedEnd = log.end;
  let pending: Batch | null = null;
  let superseded = 0;
  let dropped = 0;
  let spoolErrors = 0;
  let isTroubled = false;

  function memoryBytes(): number {
    return cacheEnd - cacheStart + heldBytes + refusedBytes();
  }

  /** In memory alone, because the disk did not take it. */
  function refusedBytes(): number {
    return strandedBytes + notes.bytes;
  }

  /** Bytes of the spool that everything but the ends of open sessions may take. */
  function roomBesideEnds(): number {
    const endsBytes = Math.min(openSessions * END_BYTES, config.spool_max_bytes * ENDS_FRACTION);
    return config.spool_max_bytes - endsBytes;
  }

  function isFull(): boolean {
    return (
      log.diskBytes >= roomBesideEnds() * FULL_FRACTION ||
      refusedBytes() + heldBytes >= config.queue_max_bytes * FULL_FRACTION
    );
  }

  function trouble(error: unknown): void {
    if (!(error instanceof SpoolError)) throw error;
    spoolErrors += 1;
    if (!isTroubled) deps.onTrouble(error);
    isTroubled = true;
  }

  /** To be called after a write; the trouble is over when nothing waits for the disk any more. */
  function written(): void {
    if (stranded.length > 0 || notes.isRefused) return;
    if (isTroubled) deps.onTrouble(null);
    isTroubled = false;
  }

  function writeNotes(): void {
    const wasRefused = notes.isRefused;
    try {
      notes.writeTo(journal);
      if (wasRefused) written();
    } catch (error) {
      trouble(error);
    }
  }

  /**
   * Puts records behind everything else: into the log, or where the disk refuses, into memory.
   *
   * @param mostBytes what the log may have on disk before; beyond it they are dropped.
   */
  function append(payloads: readonly Buffer[], mostBytes = config.spool_max_bytes): void {
    if (payloads.length === 0) return;
    if (stranded.length === 0) {
      if (log.diskBytes >= mostBytes) {
        dropped += payloads.length;
        return;
      }
      try {
        const before = log.end;
        const appended = log.append(payloads);
        written();
        cacheAppended(appended, before, log.end);
        return;
      } catch (error) {
        trouble(error);
      }
    }
    for (const payload of payloads) {
      if (strandedBytes + payload.length > config.queue_max_bytes) {
        dropped += 1;
        continue;
      }
      stranded.push(payload);
      strandedBytes += payload.length;
    }
  }

  function cacheAppended(payloads: readonly Buffer[], before: number, after: number): void {
    if (cache.length === 0) {
      cacheStart = before;
      cacheEnd = before;
    }
    // With a gap in between, the publisher reads the disk until it has caught up.
    if (cacheEnd !== before || after - cacheStart > config.queue_max_bytes) return;
    // One by one: as arguments of one call, some hundred thousand are more than a stack holds.
    for (const payload of payloads) cache.push(payload);
    cacheEnd = after;
  }

  /** Drops from memory what lies before a position. */
  function forgetCached(position: number): void {
    let count = 0;
    for (const payload of cache) {
      if (cacheStart >= position) break;
      cacheStart += RECORD_HEADER_BYTES + payload.length;
      count += 1;
    }
    cache = cache.slice(count);
  }

  function hold(sessionId: string, minute: number, payload: Buffer): void {
    held.set(sessionId, { minute, payload });
    heldBytes += payload.length;
  }

  function release(sessionId: string): Held | undefined {
    const entry = held.get(sessionId);
    if (entry === undefined) return undefined;
    held.delete(sessionId);
    heldBytes -= entry.payload.length;
    return entry;
  }

  /** Moves up to `count` held deltas to the end of the log, the oldest first. */
  function releaseHeld(count: number): void {
    const payloads: Buffer[] = [];
    for (const sessionId of held.keys()) {
      if (payloads.length >= count) break;
      const entry = release(sessionId);
      if (entry !== undefined) payloads.push(entry.payload);
    }
    append(payloads, roomBesideEnds());
  }

  function accept(frames: Iterable<Frame>): void {
    const records: Buffer[] = [];
    let ended = 0;
    // What the log may still take beside the ends. Memory, where the disk refuses, has its own bound.
    let roomBytes =
      stranded.length === 0 ? roomBesideEnds() - log.diskBytes : Number.POSITIVE_INFINITY;
    const add = (payload: Buffer): void => {
      if (roomBytes <= 0) {
        dropped += 1;
        return;
      }
      roomBytes -= RECORD_HEADER_BYTES + payload.length;
      records.push(payload);
    };
    for (const { kind, minute, payload } of frames) {
      switch (kind) {
        case 'reading': {
          const id = readingSessionId(payload);
          notes.reading(id, payload);
          // A reading of a later minute makes the held delta the last one of its minute.
          const entry = held.get(id);
          if (entry === undefined || entry.minute === minute) break;
          release(id);
          add(entry.payload);
          break;
        }
        case 'started':
          openSessions += 1;
          roomBytes -= END_BYTES;
          notes.opened(sessionIdOf(payload, 'SessionStarted'), payload);
          add(payload);
          break;
        case 'delta':
        case 'final_delta': {
          const id = sessionIdOf(payload, 'TrafficDelta');
          const before = release(id);
          if (before !== undefined) {
            if (before.minute === minute) superseded += 1;
            else add(before.payload);
          }
          // A copy, because a view would keep its whole chunk in memory.
          if (kind === 'delta') hold(id, minute, Buffer.from(payload));
          else add(payload);
          break;
        }
        case 'closed': {
          ended += 1;
          roomBytes += END_BYTES - payload.length;
          const id = sessionIdOf(payload, 'SessionClosed');
          const before = release(id);
          if (before !== undefined) {
            // The end says all of its own minute, so it can do without where room is short.
            if (roomBytes <= 0 && before.minute === minute) superseded += 1;
            else add(before.payload);
          }
          records.push(payload);
          notes.closed(id);
          break;
        }
      }
    }
    // Both before anything of it can be published. The log first, because it can stand in for the
    // journal when a process dies in between, and not the other way round.
    append(records);
    // A dead process's frames may hold ends of sessions that began before them.
    openSessions = Math.max(0, openSessions - ended);
    writeNotes();
    const spareBytes = config.queue_max_bytes - strandedBytes;
    while (heldBytes > spareBytes && held.size > 0) releaseHeld(config.batch_max_records);
  }

  function readNext(position: number): Batch | null {
    const limits = { maxRecords: config.batch_max_records, maxBytes: config.batch_max_bytes };
    if (cache.length > 0 && position === cacheStart) {
      const payloads: Buffer[] = [];
      let bytes = 0;
      let end = position;
      for (const payload of cache) {
        if (payloads.length >= limits.maxRecords) break;
        if (payloads.length > 0 && bytes + payload.length > limits.maxBytes) break;
        payloads.push(payload);
        bytes += payload.length;
        end += RECORD_HEADER_BYTES + payload.length;
      }
      return { payloads, next: end };
    }
    if (position < log.end) {
      try {
        const read = log.read(position, limits);
        if (read.payloads.length > 0) return read;
        // Nothing whole is left there: what was broken is counted by the log.
        log.acknowledge(read.next);
      } catch (error) {
        trouble(error);
        return null;
      }
    }
    if (stranded.length > 0) {
      return { payloads: stranded.slice(0, limits.maxRecords), next: null };
    }
    return null;
  }

  function next(): Batch | null {
    if (pending !== null) return pending;
    // Deltas ride along where a batch has room for them; with a backlog they wait and supersede.
    const isBehind = log.end - log.start >= config.batch_max_bytes || stranded.length > 0;
    if (held.size > 0 && !isBehind && log.diskBytes < roomBesideEnds()) {
      releaseHeld(config.batch_max_records);
    }
    pending = readNext(log.start);
    return pending;
  }

  function acknowledge(batch: Batch): void {
    pending = null;
    if (batch.next === null) {
      for (const payload of stranded.splice(0, batch.payloads.length)) {
        strandedBytes -= payload.length;
      }
      return;
    }
    try {
      log.acknowledge(batch.next);
    } catch (error) {
      trouble(error);
    }
    forgetCached(batch.next);
  }

  /** Tries the disk again for what it did not take. */
  function unstrand(): void {
    const rest = stranded;
    stranded = [];
    strandedBytes = 0;
    append(rest);
  }

  return {
    accept,
    get roomBytes() {
      return stranded.length > 0 ? 0 : config.spool_max_bytes * ADOPT_FRACTION - log.diskBytes;
    },
    adopt(payloads) {
      const before = log.end;
      const appended = log.append(payloads);
      cacheAppended(appended, before, log.end);
    },
    syncAdopted() {
      log.sync();
    },
    next,
    release() {
      pending = null;
    },
    acknowledge,
    maintain() {
      writeNotes();
      try {
        // What has waited since the last time; the rest is about to be acknowledged.
        if (log.start < maintainedEnd) log.sync();
        maintainedEnd = log.end;
        log.saveStart();
        journal.compact();
      } catch (error) {
        trouble(error);
      }
      // Not while they are being sent, because the acknowledgement would meet others.
      if (stranded.length > 0 && pending?.next !== null) unstrand();
    },
    close() {
      unstrand();
      releaseHeld(Number.POSITIVE_INFINITY);
      writeNotes();
      dropped += stranded.length;
    },
    get counts() {
      return {
        spoolBytes: log.end - log.start,
        heldDeltas: held.size,
        memoryBytes: memoryBytes(),
        superseded,
        dropped,
        lostBytes: log.lostBytes,
        spoolErrors,
        journalBytes: journal.bytes,
        isFull: isFull(),
      };
    },
    get isFull() {
      return isFull();
    },
    get hasFullBatch() {
      return (
        log.end - log.start >= config.batch_max_bytes || cache.length >= config.batch_max_records
      );
    },
    get isEmpty() {
      return log.start === log.end && held.size === 0 && stranded.length === 0;
    },
  };
}
