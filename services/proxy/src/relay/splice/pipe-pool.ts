import { LINUX } from './libc.js';
import type { Libc } from './libc.js';

/** Pipes below this carry so little that copying through memory is faster. */
const MIN_PIPE_BYTES = 64 * 1024;
/** Free pipes that are kept; an empty one costs two descriptors and a few kilobytes of the kernel's. */
const MAX_FREE_PIPES = 64;

/** When no pipe is available, the next attempt is after this time, not at every read. */
const RETRY_MS = 1_000;

/** A pipe that a direction holds while bytes are in it, and only then. */
export interface Pipe {
  readonly readFd: number;
  readonly writeFd: number;
  readonly capacityBytes: number;
}

export interface PipePoolConfig {
  readonly pipe_bytes: number;
  readonly max_pipes: number;
}

/** Lends pipes, up to a number; Linux also bounds the pipe memory of an unprivileged user. */
export class PipePool {
  readonly #libc: Pick<Libc, 'addressOf' | 'pipe2' | 'fcntl' | 'close'>;
  readonly #config: PipePoolConfig;
  readonly #free: Pipe[] = [];
  readonly #pair = new Int32Array(2);
  readonly #pairAddress: number;
  readonly #now: () => number;
  /** Below `max_pipes` until `#retryMs`, if the system gave no more. */
  #limit: number;
  #retryMs = 0;
  #open = 0;
  #shortages = 0;

  constructor(
    libc: Pick<Libc, 'addressOf' | 'pipe2' | 'fcntl' | 'close'>,
    config: PipePoolConfig,
    now: () => number = () => performance.now(),
  ) {
    this.#libc = libc;
    this.#config = config;
    this.#now = now;
    this.#limit = config.max_pipes;
    this.#pairAddress = libc.addressOf(this.#pair);
  }

  get open(): number {
    return this.#open;
  }

  get busy(): number {
    return this.#open - this.#free.length;
  }

  get shortages(): number {
    return this.#shortages;
  }

  /** An empty pipe, or null if no more can be had. */
  take(): Pipe | null {
    const pipe = this.#free.pop() ?? this.#create();
    if (pipe === null) this.#shortages += 1;
    return pipe;
  }

  /** Takes an empty pipe back. */
  give(pipe: Pipe): void {
    if (this.#free.length < MAX_FREE_PIPES) this.#free.push(pipe);
    else this.#close(pipe);
  }

  /** Takes a pipe back that may still hold bytes. */
  discard(pipe: Pipe): void {
    this.#close(pipe);
  }

  closeAll(): void {
    for (const pipe of this.#free.splice(0)) this.#close(pipe);
  }

  #create(): Pipe | null {
    if (this.#limit < this.#config.max_pipes && this.#now() >= this.#retryMs) {
      this.#limit = this.#config.max_pipes;
    }
    if (this.#open >= this.#limit) return null;
    if (this.#libc.pipe2(this.#pairAddress, LINUX.O_CLOEXEC | LINUX.O_NONBLOCK) < 0) {
      // Out of descriptors, most likely.
      this.#stayAtThis();
      return null;
    }
    const [readFd = -1, writeFd = -1] = this.#pair;
    this.#libc.fcntl(writeFd, LINUX.F_SETPIPE_SZ, this.#config.pipe_bytes);
    const capacityBytes = this.#libc.fcntl(writeFd, LINUX.F_GETPIPE_SZ, 0);
    const pipe = { readFd, writeFd, capacityBytes };
    this.#open += 1;
    if (capacityBytes < MIN_PIPE_BYTES) {
      // /proc/sys/fs/pipe-user-pages-soft is used up: further pipes would be as small.
      this.#close(pipe);
      this.#stayAtThis();
      return null;
    }
    return pipe;
  }

  /** The system gives no more now; others may return theirs. */
  #stayAtThis(): void {
    this.#limit = this.#open;
    this.#retryMs = this.#now() + RETRY_MS;
  }

  #close(pipe: Pipe): void {
    this.#libc.close(pipe.readFd);
    this.#libc.close(pipe.writeFd);
    this.#open -= 1;
  }
}
