/**
 * The memory that the main thread and a splice thread share: two rings and the live counters.
 * Each ring has one writer and one reader, and is larger than its largest content, so
 * that it never overflows: a session has at most two commands and one end under way.
 */

/** Sessions of one thread at once; beyond, a session takes the stream relay. */
export const MAX_SLOTS = 32_768;

export const COMMAND = {
  open: 1,
  /** The client, or the upstream, has ended its direction already, and the other end knows. */
  openAfterClient: 2,
  openAfterUpstream: 3,
  terminate: 4,
  stop: 5,
} as const;
const COMMAND_WORDS = 4;
const COMMANDS = MAX_SLOTS * 4;

export const OUTCOME = {
  client_eof: 0,
  upstream_eof: 1,
  client_reset: 2,
  upstream_reset: 3,
  terminated: 4,
} as const;
export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME];
const END_WORDS = 3;
const ENDS = MAX_SLOTS * 2;

const CONTROL = {
  commandsWritten: 0,
  commandsRead: 1,
  /** 1 while the thread sleeps, or is about to: a command must be followed by a wake-up. */
  sleeping: 2,
  endsWritten: 3,
  endsRead: 4,
  /** 1 from the thread's notification until the main thread has begun to read. */
  notified: 5,
  pipesOpen: 6,
  pipesBusy: 7,
  pipeShortages: 8,
  words: 16,
} as const;

/** Per session, each a float64: bytes sent, bytes received, packets sent, packets received. */
export const COUNTERS_PER_SLOT = 4;

export interface SharedMemory {
  readonly control: Int32Array;
  readonly commands: Int32Array;
  readonly ends: Int32Array;
  /**
   * Written by the thread alone while a session is open. A float64 at its natural alignment is
   * stored and loaded at once on every 64-bit machine, so that a sweep never reads half of one.
   */
  readonly counters: Float64Array;
  /** Per session: 1 once one side has ended its direction. */
  readonly halfClosed: Uint8Array;
}

export function createSharedMemory(): SharedMemory {
  const bytes = (count: number): SharedArrayBuffer => new SharedArrayBuffer(count);
  return {
    control: new Int32Array(bytes(CONTROL.words * 4)),
    commands: new Int32Array(bytes(COMMANDS * COMMAND_WORDS * 4)),
    ends: new Int32Array(bytes(ENDS * END_WORDS * 4)),
    counters: new Float64Array(bytes(MAX_SLOTS * COUNTERS_PER_SLOT * 8)),
    halfClosed: new Uint8Array(bytes(MAX_SLOTS)),
  };
}

export interface SessionFds {
  readonly client: number;
  readonly upstream: number;
}

const NO_FDS: SessionFds = { client: -1, upstream: -1 };

/** Main thread: adds a command. True if the thread must be woken for it. */
export function putCommand(
  memory: SharedMemory,
  command: number,
  slot: number,
  fds: SessionFds = NO_FDS,
): boolean {
  const { control, commands } = memory;
  const written = Atomics.load(control, CONTROL.commandsWritten);
  const at = ((written >>> 0) % COMMANDS) * COMMAND_WORDS;
  commands[at] = command;
  commands[at + 1] = slot;
  commands[at + 2] = fds.client;
  commands[at + 3] = fds.upstream;
  Atomics.store(control, CONTROL.commandsWritten, (written + 1) | 0);
  return Atomics.exchange(control, CONTROL.sleeping, 0) === 1;
}

/** Thread: takes every command that is there. */
export function takeCommands(
  memory: SharedMemory,
  take: (command: number, slot: number, clientFd: number, upstreamFd: number) => void,
): void {
  const { control, commands } = memory;
  let read = Atomics.load(control, CONTROL.commandsRead);
  while (read !== Atomics.load(control, CONTROL.commandsWritten)) {
    const at = ((read >>> 0) % COMMANDS) * COMMAND_WORDS;
    take(commands[at] ?? 0, commands[at + 1] ?? 0, commands[at + 2] ?? -1, commands[at + 3] ?? -1);
    read = (read + 1) | 0;
    Atomics.store(control, CONTROL.commandsRead, read);
  }
}

/** Thread: announces that it will sleep. False if a command came meanwhile and it must not. */
export function prepareToSleep({ control }: SharedMemory): boolean {
  Atomics.store(control, CONTROL.sleeping, 1);
  if (
    Atomics.load(control, CONTROL.commandsRead) === Atomics.load(control, CONTROL.commandsWritten)
  ) {
    return true;
  }
  Atomics.store(control, CONTROL.sleeping, 0);
  return false;
}

/** Thread: it does not sleep any more, so that commands need no wake-up. */
export function awake({ control }: SharedMemory): void {
  Atomics.store(control, CONTROL.sleeping, 0);
}

/** Thread: adds the end of a session, after its counters are final. */
export function putEnd(memory: SharedMemory, slot: number, outcome: Outcome, errno: number): void {
  const { control, ends } = memory;
  const written = Atomics.load(control, CONTROL.endsWritten);
  const at = ((written >>> 0) % ENDS) * END_WORDS;
  ends[at] = slot;
  ends[at + 1] = outcome;
  ends[at + 2] = errno;
  Atomics.store(control, CONTROL.endsWritten, (written + 1) | 0);
}

/** Thread: whether there are ends that the main thread does not know yet. */
export function mustNotify({ control }: SharedMemory): boolean {
  return (
    Atomics.load(control, CONTROL.endsRead) !== Atomics.load(control, CONTROL.endsWritten) &&
    Atomics.exchange(control, CONTROL.notified, 1) === 0
  );
}

/** Main thread: takes every end that is there. */
export function takeEnds(
  memory: SharedMemory,
  take: (slot: number, outcome: number, errno: number) => void,
): void {
  const { control, ends } = memory;
  Atomics.store(control, CONTROL.notified, 0);
  let read = Atomics.load(control, CONTROL.endsRead);
  while (read !== Atomics.load(control, CONTROL.endsWritten)) {
    const at = ((read >>> 0) % ENDS) * END_WORDS;
    const slot = ends[at] ?? 0;
    const outcome = ends[at + 1] ?? 0;
    const errno = ends[at + 2] ?? 0;
    read = (read + 1) | 0;
    Atomics.store(control, CONTROL.endsRead, read);
    take(slot, outcome, errno);
  }
}

export interface PipeCounts {
  readonly open: number;
  readonly busy: number;
  /** How often a direction found no free pipe and copied through memory instead. */
  readonly shortages: number;
}

/** Thread: publishes the size of the pool, for metrics. */
export function putPipeCounts({ control }: SharedMemory, counts: PipeCounts): void {
  Atomics.store(control, CONTROL.pipesOpen, counts.open);
  Atomics.store(control, CONTROL.pipesBusy, counts.busy);
  Atomics.store(control, CONTROL.pipeShortages, counts.shortages | 0);
}

export function pipeCounts({ control }: SharedMemory): PipeCounts {
  return {
    open: Atomics.load(control, CONTROL.pipesOpen),
    busy: Atomics.load(control, CONTROL.pipesBusy),
    shortages: Atomics.load(control, CONTROL.pipeShortages) >>> 0,
  };
}
