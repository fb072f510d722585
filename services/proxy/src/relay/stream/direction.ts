import type { Socket } from 'node:net';
import { handleOf, rewrap } from '../handle.js';
import type { BufferPool } from './buffers.js';

/** A first read of more than this makes a direction busy: it gets a buffer of its own. */
const BUSY_READ_BYTES = 8 * 1024;
/**
 * How often a direction may go from busy to quiet and give its buffer back. Each time leaves some
 * bytes in Node's handle until the session ends; after the last time it keeps its buffer.
 */
const MAX_QUIETINGS = 256;

/** What a direction tells its session. */
export interface DirectionEvents {
  /** The kernel has taken this much more for the receiver. */
  delivered(bytes: number): void;
  /** One read from the source. */
  packet(): void;
  /** The source has ended in order. */
  sourceEnded(): void;
  /** `sourceEnded` or `finished` is another now. */
  changed(): void;
}

/**
 * One way of a session, from `source` to `sink`. Reads stop while the sink has not taken what
 * it was given, so that at most one buffer waits.
 */
export class Direction {
  readonly #pool: BufferPool;
  readonly #events: DirectionEvents;
  readonly #onWritten: (error?: Error | null) => void;
  #source: Socket;
  #sink: Socket;
  #buffer: Buffer;
  #quietings = 0;
  /** Of the chunk that waits in the sink: its bytes, and how many of them were counted. */
  #waiting = 0;
  #waitingCounted = 0;
  #callbacks = 0;
  #discarding = false;
  #sourceEnded = false;
  #finished = false;

  constructor(source: Socket, sink: Socket, pool: BufferPool, events: DirectionEvents) {
    this.#source = source;
    this.#sink = sink;
    this.#pool = pool;
    this.#events = events;
    this.#buffer = pool.landing;
    this.#onWritten = (error) => {
      this.#callbacks -= 1;
      if (this.#callbacks > 0 || this.#waiting === 0 || error instanceof Error) return;
      this.#count(this.#waiting);
      this.#waiting = 0;
      if (!this.#sourceEnded) this.#source.resume();
    };
  }

  get sourceEnded(): boolean {
    return this.#sourceEnded;
  }

  /** Everything was delivered and the receiver was told of the end, or the receiver is gone. */
  get finished(): boolean {
    return this.#finished;
  }

  /** Where the next read goes; given to `rewrap`. */
  readonly nextBuffer = (): Buffer => this.#buffer;

  /** A read into one of our buffers; given to `rewrap`. */
  readonly onRead = (length: number, buffer: Uint8Array): boolean => {
    if (this.#discarding) return true;
    if (buffer !== this.#pool.landing) {
      return this.#forward(Buffer.from(buffer.buffer, buffer.byteOffset, length));
    }
    const chunk = Buffer.from(buffer.subarray(0, length));
    if (length > BUSY_READ_BYTES && this.#quietings < MAX_QUIETINGS) {
      this.#buffer = this.#pool.take();
    }
    return this.#forward(chunk);
  };

  /** Sends what was read before, and begins to read. The sockets are final from here on. */
  start(source: Socket, sink: Socket, head: Buffer | null): void {
    this.#sink = sink;
    this.#attach(source);
    if (head === null || this.#forward(head)) source.resume();
  }

  /** For a socket that could not be wrapped: it is read in the public way. */
  readByEvents(source: Socket): void {
    source.on('data', (chunk: Buffer) => {
      if (!this.#discarding && !this.#forward(chunk)) source.pause();
    });
    source.pause();
  }

  /** Brings what was counted up to date with what the kernel has taken of a waiting chunk. */
  settle(): void {
    if (this.#waiting === 0) return;
    const left = handleOf(this.#sink)?.writeQueueSize;
    if (left !== undefined && left <= this.#waiting) this.#count(this.#waiting - left);
  }

  /** The sink takes nothing more: what comes is dropped until the source ends. */
  discard(): void {
    this.settle();
    this.#discarding = true;
    this.#waiting = 0;
    this.#finished = true;
    this.#events.changed();
    if (!this.#sourceEnded) this.#source.resume();
  }

  /** Gives the buffer back where nothing waits in it; the next large read takes one again. */
  quiet(): Socket | null {
    if (
      this.#buffer === this.#pool.landing ||
      this.#waiting > 0 ||
      this.#sourceEnded ||
      this.#quietings >= MAX_QUIETINGS ||
      this.#source.writableLength > 0 ||
      this.#source.writableEnded
    ) {
      return null;
    }
    const own = this.#buffer;
    this.#buffer = this.#pool.landing;
    const socket = rewrap(this.#source, this.nextBuffer, this.onRead);
    if (socket === null) {
      this.#buffer = own;
      return null;
    }
    this.#quietings += 1;
    this.#pool.give(own);
    return socket;
  }

  /** Reads from another object of the same connection from now on. */
  replaceSource(source: Socket): void {
    this.#attach(source);
    source.resume();
  }

  replaceSink(sink: Socket): void {
    this.#sink = sink;
  }

  /** At the session's end, when its sockets are closed. */
  release(): void {
    this.settle();
    if (this.#buffer !== this.#pool.landing && this.#waiting === 0) this.#pool.give(this.#buffer);
    this.#buffer = this.#pool.landing;
    this.#waiting = 0;
  }

  #attach(source: Socket): void {
    this.#source = source;
    source.once('end', () => {
      this.#sourceEnded = true;
      this.#events.sourceEnded();
      if (this.#discarding || this.#sink.destroyed) {
        this.#finished = true;
        this.#events.changed();
        return;
      }
      // Node shuts the writing side down only after what waits has been written.
      this.#sink.end(() => {
        this.#finished = true;
        this.#events.changed();
      });
    });
  }

  #forward(chunk: Buffer): boolean {
    this.#events.packet();
    this.#waiting = chunk.length;
    this.#waitingCounted = 0;
    this.#callbacks += 1;
    this.#sink.write(chunk, this.#onWritten);
    if (this.#sink.writableLength > 0 || this.#sink.destroyed) return false;
    // The kernel took all of it at once: the buffer is free, though the callback is still to come.
    this.#count(chunk.length);
    this.#waiting = 0;
    return true;
  }

  /** Counts up to `taken` bytes of the waiting chunk. */
  #count(taken: number): void {
    if (taken <= this.#waitingCounted) return;
    this.#events.delivered(taken - this.#waitingCounted);
    this.#waitingCounted = taken;
  }
}
