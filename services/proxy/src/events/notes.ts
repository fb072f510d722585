/**
 * What the journal is to be told of sessions, until it has taken it.
 *
 * Guarantee: what the disk refuses is kept and written the next time, before anything newer of the
 * same session. What is kept is bounded by the sessions that are open: a first event and the last
 * reading of each, and the ids of those that have ended since and stand in the journal as open.
 */
import type { SessionJournal } from './spool/journal.js';

/** Written at once while the disk refuses: all of it would be made into records in vain each time. */
const RETRY_RECORDS = 256;

export class JournalNotes {
  readonly #opened = new Map<string, Buffer>();
  readonly #readings = new Map<string, Buffer>();
  readonly #closed = new Set<string>();
  #isRefused = false;
  #bytes = 0;

  /** Whether the disk has refused something that has not been written yet. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Bytes of all that waits to be written. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param started an encoded SessionStarted. */
  opened(id: string, started: Buffer): void {
    this.#put(this.#opened, id, started);
  }

  /** @param reading an encoded reading; it takes the place of an earlier one. */
  reading(id: string, reading: Buffer): void {
    this.#put(this.#readings, id, reading);
  }

  closed(id: string): void {
    this.#remove(this.#readings, id);
    // One that the journal never heard of need not be noted at all.
    if (this.#remove(this.#opened, id) || this.#closed.has(id)) return;
    this.#closed.add(id);
    this.#bytes += id.length;
  }

  /** @throws SpoolError where the disk refuses: what is not written by then is kept. */
  writeTo(journal: SessionJournal): void {
    while (this.#closed.size + this.#opened.size + this.#readings.size > 0) {
      let room = this.#isRefused ? RETRY_RECORDS : Number.POSITIVE_INFINITY;
      // Ends first: nothing else is noted of their sessions, they are small, and one that is missing
      // makes a session that was closed a crashed one.
      const closed = first(this.#closed, room);
      room -= closed.length;
      const opened = first(this.#opened, room);
      room -= opened.length;
      const readings = first(this.#readings, room);
      try {
        journal.note({ closed, opened: opened.map(payloadOf), readings: readings.map(payloadOf) });
      } catch (error) {
        if (!this.#isRefused) this.#keep();
        throw error;
      }
      for (const id of closed) if (this.#closed.delete(id)) this.#bytes -= id.length;
      for (const [id] of opened) this.#remove(this.#opened, id);
      for (const [id] of readings) this.#remove(this.#readings, id);
    }
    this.#isRefused = false;
  }

  #put(notes: Map<string, Buffer>, id: string, payload: Buffer): void {
    this.#bytes += payload.length - (notes.get(id)?.length ?? 0);
    notes.set(id, this.#isRefused ? Buffer.from(payload) : payload);
  }

  #remove(notes: Map<string, Buffer>, id: string): boolean {
    const payload = notes.get(id);
    if (payload === undefined) return false;
    this.#bytes -= payload.length;
    return notes.delete(id);
  }

  /** Copies, because views would keep their whole chunks in memory. */
  #keep(): void {
    this.#isRefused = true;
    for (const notes of [this.#opened, this.#readings]) {
      for (const [id, payload] of notes) notes.set(id, Buffer.from(payload));
    }
  }
}

function payloadOf([, payload]: readonly [string, Buffer]): Buffer {
  return payload;
}

/** So many of them at most. */
function first<T>(all: Iterable<T>, count: number): T[] {
  const some: T[] = [];
  for (const each of all) {
    if (some.length >= count) break;
    some.push(each);
  }
  return some;
}
