import type { Socket } from 'node:net';
import { TapSocket } from '../../tcp/socket.js';
import type { SocketReader } from '../../tcp/socket.js';
import { handleOf } from '../handle.js';
import type { ReadBudget, BudgetWaiter } from './read-budget.js';

/** A read of more than this makes a direction busy. */
const BUSY_READ_BYTES = 8 * 1024;

const NOTHING = Buffer.alloc(0);

/** Payload that a TCP segment carries on any path (RFC 9293, section 3.7.1). */
const SEGMENT_BYTES = 536;

/** Reports of a direction to its session. */
export interface DirectionOwner {
  /** One read from the source. */
  packet(direction: Direction): void;
  /** The kernel has taken this much more for the sink. */
  delivered(direction: Direction, bytes: number): void;
  /** A large read: a buffer of its own would save copying. */
  busy(direction: Direction): void;
  sourceEnded(direction: Direction): void;
  /** Whether the other direction is over, so that nothing more comes from this one's sink. */
  isLast(direction: Direction): boolean;
  /** `sourceEnded` or `finished` is another now. */
  changed(): void;
}

/**
 * One way of a session, from `source` to `sink`. Reading stops while the sink has not taken
 * the last read, so that at most one read waits.
 */
export class Direction implements SocketReader, BudgetWaiter {
  readonly #owner: DirectionOwner;
  readonly #budget: ReadBudget;
  readonly #onWritten: (error?: Error | null) => void;
  #source: Socket;
  #sink: Socket;
  /** Bytes of the chunk that waits in the sink, and how many of them were counted. */
  #waiting = 0;
  #waitingCounted = 0;
  #callbacks = 0;
  #hasForwarded = false;
  #isSinkPrompt = false;
  #discarding = false;
  #sourceEnded = false;
  #finished = false;

  constructor(owner: DirectionOwner, budget: ReadBudget, source: Socket, sink: Socket) {
    this.#owner = owner;
    this.#budget = budget;
    this.#source = source;
    this.#sink = sink;
    this.#onWritten = (error) => {
      this.#written(error);
    };
  }

  get source(): Socket {
    return this.#source;
  }

  /** The source has ended in order. */
  get sourceEnded(): boolean {
    return this.#sourceEnded;
  }

  /** Everything was delivered and the sink got the end, or the sink is gone. */
  get finished(): boolean {
    return this.#finished;
  }

  /** Nothing is between the two kernels' buffers: the direction can change hands. */
  get resting(): boolean {
    return (
      this.#waiting === 0 &&
      this.#sourceEnded === this.#finished &&
      this.#source.readableLength === 0
    );
  }

  /** Sends the bytes that were read before, and begins to read. */
  start(head: Buffer | null): void {
    // A client may have ended while its destination was being reached: no event repeats that.
    const hasEnded = this.#source.readableEnded;
    this.#listen();
    const goesOn = head === null || this.#forward(head);
    if (hasEnded) this.#ended();
    else if (goesOn) this.#source.resume();
  }

  /** A read into the buffer that all sockets share: the next read of any socket overwrites it. */
  onBytes(bytes: Buffer): boolean {
    if (this.#discarding) return true;
    if (bytes.length > BUSY_READ_BYTES) this.#owner.busy(this);
    return this.#forward(Buffer.from(bytes)) && this.#budget.spend(bytes.length, this);
  }

  /** A read into a buffer of our own. */
  readonly onOwnRead = (length: number, buffer: Uint8Array): boolean =>
    this.#discarding ||
    (this.#forward(Buffer.from(buffer.buffer, buffer.byteOffset, length)) &&
      this.#budget.spend(length, this));

  /** Reads on, unless it waits for its sink or is over meanwhile. */
  budgetRenewed(): void {
    if (this.#waiting === 0 && !this.#sourceEnded && !this.#source.destroyed) this.#source.resume();
  }

  /**
   * Finds out whether a source is broken that is not read because the sink is full: an empty write
   * shows it, and the socket's `error` event follows.
   */
  probeSource(): void {
    const source = this.#source;
    const isHeld = this.#waiting > 0 && !this.#sourceEnded;
    if (isHeld && !source.writableEnded && source.writableLength === 0) source.write(NOTHING);
  }

  /** Continues to read from another object of the same connection. */
  replaceSource(source: Socket): void {
    this.#source = source;
    this.#listen();
    if (this.#waiting === 0) source.resume();
  }

  replaceSink(sink: Socket): void {
    this.#sink = sink;
  }

  /** Adds to the counts the bytes of a waiting chunk that the kernel has taken. */
  settle(): void {
    if (this.#waiting === 0) return;
    const left = handleOf(this.#sink)?.writeQueueSize;
    if (left !== undefined && left <= this.#waiting) this.#count(this.#waiting - left);
  }

  /** The sink takes nothing more: bytes are dropped until the source ends. */
  discard(): void {
    this.settle();
    this.#discarding = true;
    this.#waiting = 0;
    this.#finished = true;
    this.#owner.changed();
    if (!this.#sourceEnded) this.#source.resume();
  }

  #listen(): void {
    const source = this.#source;
    if (source instanceof TapSocket) source.reader = this;
    else {
      // A socket that was made elsewhere, read in the public way. Its chunks are nobody else's.
      source.setNoDelay(true);
      source.on('data', (chunk: Buffer) => {
        if (this.#discarding) return;
        if (!this.#forward(chunk) || !this.#budget.spend(chunk.length, this)) source.pause();
      });
      source.pause();
    }
    source.once('end', () => {
      this.#ended();
    });
  }

  #ended(): void {
    this.#sourceEnded = true;
    this.#owner.sourceEnded(this);
    if (this.#discarding || this.#sink.destroyed) {
      this.#finished = true;
      this.#owner.changed();
      return;
    }
    if (this.#sink.writableLength === 0 && this.#owner.isLast(this)) {
      // Closing sends the end too, and cannot cause a reset: nothing is left unread there.
      this.#finished = true;
      this.#owner.changed();
      return;
    }
    // Node shuts down the writing side only after all waiting data is written.
    this.#sink.end(() => {
      this.#finished = true;
      this.#owner.changed();
    });
  }

  /** True if the kernel took all of it at once, so that the chunk's memory is free again. */
  #forward(chunk: Buffer): boolean {
    this.#owner.packet(this);
    if (!this.#isSinkPrompt) this.#makePrompt(chunk.length);
    this.#waiting = chunk.length;
    this.#waitingCounted = 0;
    this.#callbacks += 1;
    this.#sink.write(chunk, this.#onWritten);
    if (this.#sink.writableLength > 0 || this.#sink.destroyed) return false;
    this.#waiting = 0;
    this.#waitingCounted = 0;
    this.#owner.delivered(this, chunk.length);
    return true;
  }

  /**
   * The kernel delays no first write that fits into a segment, and many a connection has no second
   * one. Of a longer one it would keep the last piece back until the others are acknowledged.
   */
  #makePrompt(bytes: number): void {
    if (this.#hasForwarded || bytes > SEGMENT_BYTES) {
      this.#sink.setNoDelay(true);
      this.#isSinkPrompt = true;
    }
    this.#hasForwarded = true;
  }

  #written(error: Error | null | undefined): void {
    // For a chunk that was taken at once the callback comes late, and may find another chunk waiting.
    this.#callbacks -= 1;
    if (this.#callbacks > 0 || this.#waiting === 0 || error instanceof Error) return;
    const rest = this.#waiting - this.#waitingCounted;
    this.#waiting = 0;
    this.#waitingCounted = 0;
    this.#owner.delivered(this, rest);
    if (!this.#sourceEnded) this.#source.resume();
  }

  /** Counts up to `taken` bytes of the waiting chunk. */
  #count(taken: number): void {
    if (taken <= this.#waitingCounted) return;
    const more = taken - this.#waitingCounted;
    this.#waitingCounted = taken;
    this.#owner.delivered(this, more);
  }
}
