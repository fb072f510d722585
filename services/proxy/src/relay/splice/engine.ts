/** Longer than 400 lines: one loop moves the states of all sessions, in private arrays that no call may copy. */
import { EPOLL_EVENT, LINUX } from './libc.js';
import type { Libc } from './libc.js';
import { PipePool } from './pipe-pool.js';
import type { Pipe, PipePoolConfig } from './pipe-pool.js';
import {
  awake,
  COMMAND,
  COUNTERS_PER_SLOT,
  MAX_SLOTS,
  mustNotify,
  OUTCOME,
  prepareToSleep,
  putEnd,
  putPipeCounts,
  takeCommands,
} from './shared.js';
import type { Outcome, SharedMemory } from './shared.js';

/** Events taken from the kernel at once. */
const MAX_EVENTS = 512;
/** The thread looks at its own state at least this often, also if a wake-up was missed. */
const MAX_SLEEP_MS = 1_000;
/**
 * Bytes that a direction may move before others have their turn: a multiple of a pipe, so that
 * one fast pair does not delay the rest by more than a few hundred microseconds.
 */
const TURN_BYTES = 1024 * 1024;
/** Reads up to this size are copied: two calls, while splicing needs three to know that nothing is left. */
const COPY_BYTES = 16 * 1024;
/** A direction that splices goes back to copying after a read smaller than this. */
const SMALL_SPLICE_BYTES = 4 * 1024;
/** Dropped at once from a sender whose receiver is gone. */
const DISCARD_BYTES = 1024 * 1024;

/** The event's data for the wake-up descriptor; any other is an end's index. */
const WAKE = -1;

const CLIENT = 0;

/** The state of one end of a session. */
const END_FLAG = {
  /** There may be something to read. Cleared when the kernel has nothing. */
  readable: 1,
  /** The same for writing. */
  writable: 2,
  /** An end, an error or an urgent mark waits behind readable bytes: a short read is not the last one. */
  barrier: 4,
  /** It has ended its direction in order. */
  eof: 8,
  /** The other end knows it, or is gone. */
  finished: 16,
  /** Its bytes are dropped, because the other end is gone. */
  discarding: 32,
  /** Its direction splices instead of copying. */
  bulk: 64,
  /** It waits for its next turn. */
  queued: 128,
} as const;

/**
 * Events that a read stops before. An urgent mark (RFC 6093) is reported together with the byte that it points
 * at; from then on its end counts as one that may have another.
 */
const BARRIER = LINUX.EPOLLPRI | LINUX.EPOLLRDHUP | LINUX.EPOLLHUP | LINUX.EPOLLERR;

const NO_ERROR = 0;

export interface EngineDeps {
  readonly libc: Libc;
  readonly memory: SharedMemory;
  /** An eventfd that the main thread writes to. */
  readonly wakeFd: number;
  /** Tells the main thread that there are ends. */
  notify(): void;
  readonly pipes: PipePoolConfig;
}

/**
 * The relay inside the kernel: one epoll loop over both ends of every session. Index `2 * slot` is a
 * session's client, `2 * slot + 1` its upstream; the direction that reads from an end has the
 * end's index, and `index ^ 1` is the other end.
 *
 * Registered once, edge-triggered: an end's flags remember the kernel's last answer. A pipe
 * holds bytes only between two calls, unless the receiver is full; a direction reads again only
 * when its pipe is empty and the receiver is known to take more, so that a slow receiver holds
 * one pipe and no more.
 */
export class SpliceEngine {
  readonly #libc: Libc;
  readonly #deps: EngineDeps;
  readonly #memory: SharedMemory;
  readonly #counters: Float64Array;
  readonly #pool: PipePool;
  readonly #epoll: number;
  readonly #events = new Int32Array(MAX_EVENTS * EPOLL_EVENT.words);
  readonly #eventsAddress: number;
  readonly #oneEvent = new Int32Array(EPOLL_EVENT.words);
  readonly #oneEventAddress: number;
  readonly #scratch = Buffer.allocUnsafeSlow(COPY_BYTES);
  readonly #scratchAddress: number;
  /** `struct linger { on, seconds }`: closing then sends RST. */
  readonly #linger = new Int32Array([1, 0]);
  readonly #lingerAddress: number;
  /** An int and its socklen_t. */
  readonly #option = new Int32Array([0, 4]);
  readonly #optionAddress: number;

  /** Per end. */
  readonly #fds = new Int32Array(MAX_SLOTS * 2).fill(-1);
  readonly #flags = new Uint8Array(MAX_SLOTS * 2);
  readonly #pipeBytes = new Int32Array(MAX_SLOTS * 2);
  readonly #pipes: (Pipe | undefined)[] = [];
  /** Per session: the end that ended first (0 none, 1 client, 2 upstream), and a later error. */
  readonly #firstEnded = new Uint8Array(MAX_SLOTS);
  readonly #lateErrno = new Int32Array(MAX_SLOTS);

  /** Ends that have used up their turn. */
  #ready: number[] = [];
  #nextReady: number[] = [];
  #stopping = false;

  constructor(deps: EngineDeps) {
    const { libc, memory } = deps;
    this.#deps = deps;
    this.#libc = libc;
    this.#memory = memory;
    this.#counters = memory.counters;
    this.#pool = new PipePool(libc, deps.pipes);
    this.#eventsAddress = libc.addressOf(this.#events);
    this.#oneEventAddress = libc.addressOf(this.#oneEvent);
    this.#scratchAddress = libc.addressOf(this.#scratch);
    this.#lingerAddress = libc.addressOf(this.#linger);
    this.#optionAddress = libc.addressOf(this.#option);
    this.#epoll = libc.epoll_create1(LINUX.EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw new Error(`epoll_create1 failed with errno ${libc.errno()}`);
    if (!this.#watch(deps.wakeFd, WAKE, LINUX.EPOLLIN | LINUX.EPOLLET)) {
      throw new Error(`epoll_ctl failed with errno ${libc.errno()}`);
    }
  }

  /** Runs until it is stopped; sessions that are open then are reset. */
  run(): void {
    const take = (command: number, slot: number, clientFd: number, upstreamFd: number): void => {
      if (command === COMMAND.stop) this.#stopping = true;
      else if (command === COMMAND.terminate) this.#terminate(slot);
      else {
        this.#open(slot, clientFd, upstreamFd);
        if (command === COMMAND.openAfterClient) this.#openEnded(slot * 2);
        if (command === COMMAND.openAfterUpstream) this.#openEnded(slot * 2 + 1);
      }
    };
    for (;;) {
      takeCommands(this.#memory, take);
      if (this.#stopping) break;
      if (mustNotify(this.#memory)) this.#deps.notify();
      const mayBlock = this.#nextReady.length === 0 && prepareToSleep(this.#memory);
      const count = this.#libc.epoll_wait(
        this.#epoll,
        this.#eventsAddress,
        MAX_EVENTS,
        mayBlock ? MAX_SLEEP_MS : 0,
      );
      awake(this.#memory);
      this.#handleEvents(count);
      this.#runReady();
      putPipeCounts(this.#memory, this.#pool);
    }
    for (let slot = 0; slot < MAX_SLOTS; slot++) this.#terminate(slot);
    this.#pool.closeAll();
    this.#libc.close(this.#epoll);
    this.#deps.notify();
  }

  #handleEvents(count: number): void {
    const events = this.#events;
    for (let n = 0; n < count; n++) {
      const at = n * EPOLL_EVENT.words;
      const index = events[at + EPOLL_EVENT.dataWord] ?? WAKE;
      if (index === WAKE || this.#fds[index] === -1) continue;
      const bits = events[at] ?? 0;
      let flags = 0;
      if ((bits & (LINUX.EPOLLIN | BARRIER)) !== 0) flags |= END_FLAG.readable;
      if ((bits & BARRIER) !== 0) flags |= END_FLAG.barrier;
      if ((bits & (LINUX.EPOLLOUT | LINUX.EPOLLHUP | LINUX.EPOLLERR)) !== 0) {
        flags |= END_FLAG.writable;
      }
      this.#flags[index] = (this.#flags[index] ?? 0) | flags;
      if ((flags & END_FLAG.readable) !== 0) this.#move(index);
      if ((flags & END_FLAG.writable) !== 0 && this.#fds[index] !== -1) this.#move(index ^ 1);
      if ((bits & LINUX.EPOLLERR) !== 0 && this.#fds[index] !== -1) this.#checkError(index);
    }
  }

  #runReady(): void {
    const ready = this.#nextReady;
    this.#nextReady = this.#ready;
    this.#ready = ready;
    for (const index of ready) {
      if (this.#fds[index] === -1) continue;
      this.#clear(index, END_FLAG.queued);
      this.#move(index);
    }
    ready.length = 0;
  }

  #open(slot: number, clientFd: number, upstreamFd: number): void {
    const client = slot * 2;
    const upstream = client + 1;
    this.#firstEnded[slot] = 0;
    this.#lateErrno[slot] = NO_ERROR;
    this.#memory.halfClosed[slot] = 0;
    for (const [index, fd] of [
      [client, clientFd],
      [upstream, upstreamFd],
    ] as const) {
      this.#fds[index] = fd;
      this.#flags[index] = END_FLAG.writable;
      this.#pipes[index] = undefined;
      this.#pipeBytes[index] = 0;
    }
    const bits = LINUX.EPOLLIN | LINUX.EPOLLPRI | LINUX.EPOLLOUT | LINUX.EPOLLRDHUP | LINUX.EPOLLET;
    // The system limits the number of watched descriptors: this session ends, and no other.
    if (!this.#watch(clientFd, client, bits) || !this.#watch(upstreamFd, upstream, bits)) {
      this.#end(slot, OUTCOME.terminated, this.#libc.errno());
    }
  }

  /** Opens a session that arrived half-closed. */
  #openEnded(index: number): void {
    if (this.#fds[index] === -1) return;
    this.#set(index, END_FLAG.eof | END_FLAG.finished);
    this.#firstEnded[index >> 1] = 1 + (index & 1);
    this.#memory.halfClosed[index >> 1] = 1;
  }

  #terminate(slot: number): void {
    if (this.#fds[slot * 2] === -1) return;
    this.#end(slot, OUTCOME.terminated, NO_ERROR);
  }

  /** Moves the readable bytes from one end to the other. */
  #move(index: number): void {
    const sink = index ^ 1;
    let left = TURN_BYTES;
    while (this.#fds[index] !== -1) {
      const flags = this.#flags[index] ?? 0;
      if (this.#pipes[index] !== undefined) {
        if ((this.#flagsOf(sink) & END_FLAG.writable) === 0) return;
        const moved = this.#drain(index);
        if (moved < 0) return;
        left -= moved;
        continue;
      }
      if ((flags & END_FLAG.eof) !== 0 || (flags & END_FLAG.readable) === 0) return;
      if ((flags & END_FLAG.discarding) === 0 && (this.#flagsOf(sink) & END_FLAG.writable) === 0) {
        return;
      }
      if (left <= 0) {
        this.#queue(index);
        return;
      }
      if ((flags & END_FLAG.discarding) !== 0) left -= this.#drop(index);
      else if ((flags & END_FLAG.bulk) !== 0) this.#fill(index);
      else left -= this.#copy(index);
    }
  }

  /** Source → pipe. */
  #fill(index: number): void {
    const pipe = this.#pool.take();
    if (pipe === null) {
      this.#peek(index);
      return;
    }
    const bytes = this.#libc.splice(
      this.#fd(index),
      0,
      pipe.writeFd,
      0,
      pipe.capacityBytes,
      LINUX.SPLICE_F_MOVE | LINUX.SPLICE_F_NONBLOCK,
    );
    if (bytes > 0) {
      this.#countPacket(index);
      this.#pipes[index] = pipe;
      this.#pipeBytes[index] = bytes;
      if (bytes < SMALL_SPLICE_BYTES) this.#clear(index, END_FLAG.bulk);
      return;
    }
    const errno = bytes < 0 ? this.#libc.errno() : NO_ERROR;
    this.#pool.give(pipe);
    const isBarred = (this.#flagsOf(index) & END_FLAG.barrier) !== 0;
    // Only recv passes an urgent mark: here it looks like the end, or as if nothing were there. A
    // mark that was not reported yet will be, so only the end must be checked always.
    if (bytes === 0 || (errno === LINUX.EAGAIN && isBarred)) this.#clear(index, END_FLAG.bulk);
    else this.#readFailed(index, bytes, errno);
  }

  /** Pipe → sink. The bytes that went, or -1 if the direction must wait or the session is over. */
  #drain(index: number): number {
    const pipe = this.#pipes[index];
    if (pipe === undefined) return 0;
    const sink = index ^ 1;
    const waiting = this.#pipeBytes[index] ?? 0;
    const bytes = this.#libc.splice(
      pipe.readFd,
      0,
      this.#fd(sink),
      0,
      waiting,
      LINUX.SPLICE_F_MOVE | LINUX.SPLICE_F_NONBLOCK,
    );
    if (bytes > 0) {
      this.#countBytes(index, bytes);
      this.#pipeBytes[index] = waiting - bytes;
      if (bytes === waiting) {
        this.#pipes[index] = undefined;
        this.#pool.give(pipe);
      }
      return bytes;
    }
    const errno = bytes < 0 ? this.#libc.errno() : NO_ERROR;
    if (errno === LINUX.EAGAIN) {
      this.#clear(sink, END_FLAG.writable);
      return -1;
    }
    this.#broke(sink, errno);
    return -1;
  }

  /** Source → memory → sink, for little at once. Gives the bytes read. */
  #copy(index: number): number {
    const sink = index ^ 1;
    // Bytes that the sink does not take go into a pipe, so take one before reading.
    const pipe = this.#pool.take();
    if (pipe === null) {
      return this.#peek(index);
    }
    const bytes = this.#libc.recv(
      this.#fd(index),
      this.#scratchAddress,
      COPY_BYTES,
      LINUX.MSG_DONTWAIT,
    );
    if (bytes <= 0) {
      const errno = bytes < 0 ? this.#libc.errno() : NO_ERROR;
      this.#pool.give(pipe);
      this.#readFailed(index, bytes, errno);
      return 0;
    }
    this.#countPacket(index);
    this.#noteRead(index, bytes);
    const sent = this.#send(sink, bytes);
    if (sent > 0) this.#countBytes(index, sent);
    if (sent === bytes) {
      this.#pool.give(pipe);
      return bytes;
    }
    const errno = sent < 0 ? this.#libc.errno() : LINUX.EAGAIN;
    if (errno !== LINUX.EAGAIN) {
      this.#pool.give(pipe);
      this.#broke(sink, errno);
      return bytes;
    }
    const kept = Math.max(sent, 0);
    this.#libc.write(pipe.writeFd, this.#scratchAddress + kept, bytes - kept);
    this.#pipes[index] = pipe;
    this.#pipeBytes[index] = bytes - kept;
    this.#clear(sink, END_FLAG.writable);
    return bytes;
  }

  /**
   * The same without a pipe: looks at the bytes, sends them, and takes away as much as was
   * sent. So a shortage of pipes slows transfers down and never stops one. Gives the bytes moved.
   */
  #peek(index: number): number {
    const sink = index ^ 1;
    const fd = this.#fd(index);
    const bytes = this.#libc.recv(
      fd,
      this.#scratchAddress,
      COPY_BYTES,
      LINUX.MSG_DONTWAIT | LINUX.MSG_PEEK,
    );
    if (bytes <= 0) {
      this.#readFailed(index, bytes, bytes < 0 ? this.#libc.errno() : NO_ERROR);
      return 0;
    }
    const sent = this.#send(sink, bytes);
    if (sent <= 0) {
      const errno = sent < 0 ? this.#libc.errno() : LINUX.EAGAIN;
      if (errno === LINUX.EAGAIN) this.#clear(sink, END_FLAG.writable);
      else this.#broke(sink, errno);
      return 0;
    }
    this.#countPacket(index);
    this.#countBytes(index, sent);
    this.#libc.recv(fd, 0, sent, LINUX.MSG_DONTWAIT | LINUX.MSG_TRUNC);
    if (sent === bytes) this.#noteRead(index, bytes);
    return sent;
  }

  /** Drops bytes that an end sends to an end that is gone. Returns their number. */
  #drop(index: number): number {
    const bytes = this.#libc.recv(
      this.#fd(index),
      0,
      DISCARD_BYTES,
      LINUX.MSG_DONTWAIT | LINUX.MSG_TRUNC,
    );
    if (bytes > 0) return bytes;
    this.#readFailed(index, bytes, bytes < 0 ? this.#libc.errno() : NO_ERROR);
    return 0;
  }

  #send(sink: number, bytes: number): number {
    return this.#libc.send(
      this.#fd(sink),
      this.#scratchAddress,
      bytes,
      LINUX.MSG_DONTWAIT | LINUX.MSG_NOSIGNAL,
    );
  }

  /** After a copy: a full buffer means that there is more, a short one means that there is not. */
  #noteRead(index: number, bytes: number): void {
    if (bytes === COPY_BYTES) this.#set(index, END_FLAG.bulk);
    else if ((this.#flagsOf(index) & END_FLAG.barrier) === 0) this.#clear(index, END_FLAG.readable);
  }

  #readFailed(index: number, bytes: number, errno: number): void {
    if (bytes === 0) this.#ended(index);
    else if (errno === LINUX.EAGAIN) this.#clear(index, END_FLAG.readable);
    else this.#broke(index, errno);
  }

  /** An end has ended its direction in order, and everything of it was delivered. */
  #ended(index: number): void {
    const slot = index >> 1;
    this.#set(index, END_FLAG.eof);
    this.#memory.halfClosed[slot] = 1;
    if (this.#firstEnded[slot] === 0) this.#firstEnded[slot] = 1 + (index & 1);
    if ((this.#flagsOf(index) & END_FLAG.discarding) === 0) {
      if (this.#libc.shutdown(this.#fd(index ^ 1), LINUX.SHUT_WR) < 0) {
        this.#broke(index ^ 1, this.#libc.errno());
        return;
      }
    }
    this.#set(index, END_FLAG.finished);
    this.#checkDone(slot);
  }

  /** An end's connection does not work any more. */
  #broke(index: number, failedWith: number): void {
    const slot = index >> 1;
    // "Not connected" only means that it was connected once; its outcome is kept apart.
    const errno =
      failedWith === LINUX.ENOTCONN ? this.#pendingError(index) || LINUX.ECONNRESET : failedWith;
    if ((this.#flagsOf(index) & END_FLAG.eof) === 0) {
      const isClient = (index & 1) === CLIENT;
      this.#end(slot, isClient ? OUTCOME.client_reset : OUTCOME.upstream_reset, errno);
      return;
    }
    // It had ended in order before. Its bytes still reach the other end.
    const other = index ^ 1;
    if ((this.#flagsOf(other) & END_FLAG.finished) === 0) this.#lateErrno[slot] = errno;
    const pipe = this.#pipes[other];
    if (pipe !== undefined) {
      this.#pipes[other] = undefined;
      this.#pipeBytes[other] = 0;
      this.#pool.discard(pipe);
    }
    this.#set(other, END_FLAG.discarding);
    if ((this.#flagsOf(other) & END_FLAG.eof) !== 0) this.#set(other, END_FLAG.finished);
    else this.#queue(other);
    this.#checkDone(slot);
  }

  /**
   * An error shows on an end from which nothing can be read now, because its receiver is full.
   * Reading would show it too late, if ever.
   */
  #checkError(index: number): void {
    const flags = this.#flagsOf(index);
    if ((flags & END_FLAG.eof) !== 0 || (flags & END_FLAG.readable) === 0) return;
    if ((flags & END_FLAG.queued) !== 0) return;
    const errno = this.#pendingError(index);
    if (errno !== NO_ERROR) this.#broke(index, errno);
  }

  #pendingError(index: number): number {
    this.#option[1] = 4;
    this.#libc.getsockopt(
      this.#fd(index),
      LINUX.SOL_SOCKET,
      LINUX.SO_ERROR,
      this.#optionAddress,
      this.#optionAddress + 4,
    );
    return this.#option[0] ?? NO_ERROR;
  }

  #checkDone(slot: number): void {
    const client = slot * 2;
    const done = END_FLAG.eof | END_FLAG.finished;
    if ((this.#flagsOf(client) & this.#flagsOf(client + 1) & done) !== done) return;
    const outcome = this.#firstEnded[slot] === 2 ? OUTCOME.upstream_eof : OUTCOME.client_eof;
    this.#end(slot, outcome, this.#lateErrno[slot] ?? NO_ERROR);
  }

  #end(slot: number, outcome: Outcome, errno: number): void {
    const orderly = outcome === OUTCOME.client_eof || outcome === OUTCOME.upstream_eof;
    for (const index of [slot * 2, slot * 2 + 1]) {
      const fd = this.#fd(index);
      const pipe = this.#pipes[index];
      if (pipe !== undefined) this.#pool.discard(pipe);
      this.#pipes[index] = undefined;
      this.#fds[index] = -1;
      this.#flags[index] = 0;
      if (!orderly) {
        this.#libc.setsockopt(fd, LINUX.SOL_SOCKET, LINUX.SO_LINGER, this.#lingerAddress, 8);
      }
      // Ours is the last descriptor of the connection, so that epoll forgets it too.
      this.#libc.close(fd);
    }
    putEnd(this.#memory, slot, outcome, errno);
  }

  #watch(fd: number, index: number, bits: number): boolean {
    this.#oneEvent[0] = bits;
    this.#oneEvent[EPOLL_EVENT.dataWord] = index;
    return this.#libc.epoll_ctl(this.#epoll, LINUX.EPOLL_CTL_ADD, fd, this.#oneEventAddress) === 0;
  }

  #queue(index: number): void {
    if ((this.#flagsOf(index) & END_FLAG.queued) !== 0) return;
    this.#set(index, END_FLAG.queued);
    this.#nextReady.push(index);
  }

  #countBytes(index: number, bytes: number): void {
    const at = (index >> 1) * COUNTERS_PER_SLOT + (index & 1);
    this.#counters[at] = (this.#counters[at] ?? 0) + bytes;
  }

  #countPacket(index: number): void {
    const at = (index >> 1) * COUNTERS_PER_SLOT + 2 + (index & 1);
    this.#counters[at] = (this.#counters[at] ?? 0) + 1;
  }

  #fd(index: number): number {
    return this.#fds[index] ?? -1;
  }

  #flagsOf(index: number): number {
    return this.#flags[index] ?? 0;
  }

  #set(index: number, flag: number): void {
    this.#flags[index] = this.#flagsOf(index) | flag;
  }

  #clear(index: number, flag: number): void {
    this.#flags[index] = this.#flagsOf(index) & ~flag;
  }
}
