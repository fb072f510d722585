import { once } from 'node:events';
import { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { CloseReason } from '@sockscope/schemas';
import type { Session } from '../../sessions/session.js';
import type { RelayEnd, Side } from '../relay.js';
import type { Watched } from '../sweep.js';
import { LINUX } from './libc.js';
import type { Libc } from './libc.js';
import type { PipePoolConfig } from './pipe-pool.js';
import {
  COMMAND,
  COUNTERS_PER_SLOT,
  createSharedMemory,
  MAX_SLOTS,
  OUTCOME,
  pipeCounts,
  putCommand,
  takeEnds,
} from './shared.js';
import type { PipeCounts, SessionFds, SharedMemory } from './shared.js';
import type { SpliceWorkerData } from './worker.js';

/** Sources run from TypeScript in tests, and a thread cannot: it takes the built file then. */
export const WORKER_URL = new URL(
  import.meta.url.endsWith('.ts') ? '../../../dist/relay/splice/worker.js' : './worker.js',
  import.meta.url,
);

const OPEN_COMMAND = {
  none: COMMAND.open,
  client: COMMAND.openAfterClient,
  upstream: COMMAND.openAfterUpstream,
} as const;

/** The handles of a session in this thread while the kernel moves its bytes. */
class SplicedSession implements Watched {
  setIndex = 0;
  sweptProgress = 0;
  sweptHalfClosed = false;
  movedAtMs = 0;
  readonly session: Session;
  readonly slot: number;
  readonly fds: SessionFds;
  readonly resolve: (end: RelayEnd) => void;
  readonly #thread: SpliceThread;
  /** Why it was terminated; an earlier end keeps its own reason. */
  #terminated: RelayEnd | null = null;

  constructor(
    thread: SpliceThread,
    { session, slot, fds, resolve }: Pick<SplicedSession, 'session' | 'slot' | 'fds' | 'resolve'>,
  ) {
    this.#thread = thread;
    this.session = session;
    this.slot = slot;
    this.fds = fds;
    this.resolve = resolve;
    session.refreshCounters = () => {
      this.refresh();
    };
    session.terminate = (reason, errorCode) => {
      this.terminate(reason, errorCode);
    };
  }

  get terminated(): RelayEnd | null {
    return this.#terminated;
  }

  refresh(): void {
    const { counters } = this.#thread.memory;
    const at = this.slot * COUNTERS_PER_SLOT;
    const { session } = this;
    session.bytesSent = counters[at] ?? 0;
    session.bytesReceived = counters[at + 1] ?? 0;
    session.packetsSent = counters[at + 2] ?? 0;
    session.packetsReceived = counters[at + 3] ?? 0;
  }

  terminate(reason: CloseReason, errorCode: string | null): void {
    if (this.#terminated !== null) return;
    this.#terminated = { reason, errorCode };
    this.#thread.terminate(this.slot);
  }

  progress(): number {
    const { counters } = this.#thread.memory;
    const at = this.slot * COUNTERS_PER_SLOT;
    return (counters[at] ?? 0) + (counters[at + 1] ?? 0);
  }

  get halfClosed(): boolean {
    return this.#thread.memory.halfClosed[this.slot] === 1;
  }

  quiet(): void {
    // An idle session holds no pipe.
  }

  expire(reason: 'idle_timeout' | 'half_close_timeout'): void {
    this.terminate(reason, null);
  }
}

export interface SpliceThreadDeps {
  readonly libc: Libc;
  readonly pipes: PipePoolConfig;
  readonly workerUrl: URL;
  readonly onOpen: (watched: Watched) => void;
  readonly onEnd: (watched: Watched) => void;
  /** The thread ended by itself; its sessions were ended as internal errors. */
  readonly onDeath: (error: Error) => void;
}

/** One splice thread as the main thread sees it. */
export class SpliceThread {
  readonly memory: SharedMemory = createSharedMemory();
  readonly #deps: SpliceThreadDeps;
  readonly #sessions: (SplicedSession | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #one = new BigUint64Array([1n]);
  readonly #oneAddress: number;
  readonly #takeEnd = (slot: number, outcome: number, errno: number): void => {
    this.#finish(slot, outcome, errno);
  };
  readonly #wakeAtExit = (): void => {
    this.#tellStop();
  };
  #exited: Promise<unknown> = Promise.resolve();
  #notifications: Socket | null = null;
  #wakeFd = -1;
  #notifyFd = -1;
  #count = 0;
  #running = false;

  constructor(deps: SpliceThreadDeps) {
    this.#deps = deps;
    this.#oneAddress = deps.libc.addressOf(this.#one);
  }

  get running(): boolean {
    return this.#running;
  }

  get count(): number {
    return this.#count;
  }

  get pipes(): PipeCounts {
    return pipeCounts(this.memory);
  }

  async start(): Promise<void> {
    const { libc, pipes, workerUrl } = this.#deps;
    this.#wakeFd = libc.eventfd(0, LINUX.EFD_CLOEXEC | LINUX.EFD_NONBLOCK);
    const pair = new Int32Array(2);
    const piped = libc.pipe2(libc.addressOf(pair), LINUX.O_CLOEXEC | LINUX.O_NONBLOCK);
    if (this.#wakeFd < 0 || piped < 0) throw new Error('no descriptors for the splice thread');
    const [readFd = -1, writeFd = -1] = pair;
    this.#notifyFd = writeFd;
    const options = {
      fd: readFd,
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.alloc(64),
        callback: () => {
          takeEnds(this.memory, this.#takeEnd);
          return true;
        },
      },
    };
    this.#notifications = new Socket(options);
    const workerData: SpliceWorkerData = {
      memory: this.memory,
      wakeFd: this.#wakeFd,
      notifyFd: writeFd,
      pipes,
    };
    const worker = new Worker(workerUrl, { workerData, name: 'splice' });
    this.#exited = new Promise((resolve) => {
      worker.once('exit', resolve);
    });
    let failure = new Error('the splice thread ended unexpectedly');
    worker.on('error', (error) => {
      failure = error instanceof Error ? error : new Error(String(error));
    });
    await Promise.race([
      once(worker, 'message'),
      this.#exited.then(() => {
        throw failure;
      }),
    ]);
    this.#running = true;
    // Node waits for its threads at exit, and this one sleeps in the kernel.
    process.on('exit', this.#wakeAtExit);
    void this.#exited.then(() => {
      if (this.#running) this.#died(failure);
    });
  }

  /**
   * Hands two connections over, with the counts so far and which side has ended its direction
   * already. Null if all slots are taken.
   */
  open(session: Session, fds: SessionFds, firstEnded: Side | null): Promise<RelayEnd> | null {
    const slot = this.#freeSlots.pop() ?? this.#sessions.length;
    if (slot >= MAX_SLOTS) return null;
    const { counters } = this.memory;
    const at = slot * COUNTERS_PER_SLOT;
    counters[at] = session.bytesSent;
    counters[at + 1] = session.bytesReceived;
    counters[at + 2] = session.packetsSent;
    counters[at + 3] = session.packetsReceived;
    this.memory.halfClosed[slot] = firstEnded === null ? 0 : 1;
    return new Promise((resolve) => {
      const spliced = new SplicedSession(this, { session, slot, fds, resolve });
      this.#sessions[slot] = spliced;
      this.#count += 1;
      this.#deps.onOpen(spliced);
      this.#command(OPEN_COMMAND[firstEnded ?? 'none'], slot, fds);
    });
  }

  terminate(slot: number): void {
    this.#command(COMMAND.terminate, slot);
  }

  /** Ends the thread; sessions that are still open are reset and end as internal errors. */
  async stop(): Promise<void> {
    if (this.#running) {
      this.#running = false;
      process.off('exit', this.#wakeAtExit);
      this.#tellStop();
    }
    await this.#exited;
    takeEnds(this.memory, this.#takeEnd);
    this.#release();
  }

  #tellStop(): void {
    putCommand(this.memory, COMMAND.stop, -1);
    this.#wake();
  }

  #command(command: number, slot: number, fds?: SessionFds): void {
    if (putCommand(this.memory, command, slot, fds)) this.#wake();
  }

  #wake(): void {
    this.#deps.libc.write(this.#wakeFd, this.#oneAddress, 8);
  }

  #finish(slot: number, outcome: number, errno: number): void {
    const spliced = this.#sessions[slot];
    if (spliced === undefined) return;
    const errorCode = errno === 0 ? null : getSystemErrorName(-errno);
    this.#close(spliced, endOf(outcome, errorCode, spliced.terminated));
  }

  #close(spliced: SplicedSession, end: RelayEnd): void {
    spliced.refresh();
    spliced.session.refreshCounters = null;
    spliced.session.terminate = null;
    this.#sessions[spliced.slot] = undefined;
    this.#freeSlots.push(spliced.slot);
    this.#count -= 1;
    this.#deps.onEnd(spliced);
    spliced.resolve(end);
  }

  /** The thread is gone and its sessions' descriptors are nobody's: closes them here. */
  #died(error: Error): void {
    this.#running = false;
    process.off('exit', this.#wakeAtExit);
    takeEnds(this.memory, this.#takeEnd);
    for (const spliced of this.#sessions) {
      if (spliced === undefined) continue;
      this.#deps.libc.close(spliced.fds.client);
      this.#deps.libc.close(spliced.fds.upstream);
      this.#close(spliced, { reason: 'internal_error', errorCode: null });
    }
    this.#release();
    this.#deps.onDeath(error);
  }

  #release(): void {
    this.#notifications?.destroy();
    this.#notifications = null;
    for (const fd of [this.#wakeFd, this.#notifyFd]) if (fd >= 0) this.#deps.libc.close(fd);
    this.#wakeFd = -1;
    this.#notifyFd = -1;
  }
}

function endOf(outcome: number, errorCode: string | null, terminated: RelayEnd | null): RelayEnd {
  switch (outcome) {
    case OUTCOME.client_eof:
      return { reason: 'client_eof', errorCode };
    case OUTCOME.upstream_eof:
      return { reason: 'upstream_eof', errorCode };
    case OUTCOME.client_reset:
      return { reason: 'client_reset', errorCode };
    case OUTCOME.upstream_reset:
      return { reason: 'upstream_reset', errorCode };
    default:
      return terminated ?? { reason: 'internal_error', errorCode };
  }
}
