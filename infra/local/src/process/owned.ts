import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { LocalError } from '../errors.js';
import { createBoundedLog } from './bounded-log.js';
import { guardProcess } from './guard.js';

/** Time to wait for the last output of a child that has ended. */
const OUTPUT_DRAIN_MS = 500;

export interface OwnedProcessOptions {
  /** Its name in messages, such as `Kafka`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** A descriptor that becomes its standard input; none by default. */
  readonly stdin?: number;
  /** The file of its output; null keeps only the last lines, in memory. */
  readonly logFile: string | null;
  /** How many seconds it may continue when this process has died. */
  readonly orphanGraceSeconds: number;
  /** How far others go first, from 0 to 19; 0 by default. It counts for all of its threads. */
  readonly niceness?: number | undefined;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface OwnedProcess {
  readonly name: string;
  readonly pid: number;
  /** Settles once the process has ended and its output has been read. */
  readonly exited: Promise<ProcessExit>;
  /** Null while it runs. */
  exit(): ProcessExit | null;
  tail(lines: number): readonly string[];
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, or `ask` instead, then SIGKILL after `timeoutMs`; resolves when it has ended. */
  stop(timeoutMs: number, ask?: () => void): Promise<ProcessExit>;
  /** SIGKILL; resolves when it has ended. */
  kill(): Promise<ProcessExit>;
}

/**
 * Starts a child process that cannot outlive this one. It gets a session of its own, so that a
 * Ctrl-C in the terminal reaches only this process, which then stops its children in order.
 *
 * @throws {LocalError} COMMAND_MISSING if the command cannot be run.
 */
export async function startOwnedProcess(options: OwnedProcessOptions): Promise<OwnedProcess> {
  const { command, args } = withNiceness(options);
  const child = spawn(command, args, {
    stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'],
    detached: true,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
  });
  const { pid } = child;
  if (pid === undefined) throw await spawnError(child, options);
  rankSession(pid, options.niceness ?? 0);
  const guard = guardProcess(pid, options.orphanGraceSeconds);
  const log = createBoundedLog(options.logFile);
  child.stdout?.on('data', (chunk: Buffer) => {
    log.write(chunk);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    log.write(chunk);
  });
  // After a successful spawn 'error' means at most that a signal could not be sent.
  child.on('error', () => undefined);

  let exit: ProcessExit | null = null;
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = { code, signal };
      guard.release();
      // 'close' may never come while a grandchild holds the pipe.
      const timer = setTimeout(done, OUTPUT_DRAIN_MS);
      child.once('close', done);
      function done(): void {
        clearTimeout(timer);
        log.close();
        resolve({ code, signal });
      }
    });
  });

  return {
    name: options.name,
    pid,
    exited,
    exit: () => exit,
    tail: (lines) => log.tail(lines),
    signal: (signal) => {
      child.kill(signal);
    },
    async stop(timeoutMs, ask) {
      if (exit === null) {
        if (ask === undefined) child.kill('SIGTERM');
        else ask();
      }
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      const result = await exited;
      clearTimeout(timer);
      return result;
    },
    kill() {
      child.kill('SIGKILL');
      return exited;
    },
  };
}

/** Sets the niceness by a command, because setpriority reaches only one thread of a running process. */
function withNiceness({ command, args, niceness = 0 }: OwnedProcessOptions): {
  command: string;
  args: string[];
} {
  if (niceness === 0) return { command, args: [...args] };
  return { command: 'nice', args: ['-n', String(niceness), command, ...args] };
}

/** Linux lets an unprivileged user change one session in a tenth of a second. */
const RANK_RETRY_MS = 150;
const RANK_TRIES = 20;

/**
 * Lets the sessions of others go first. Where the kernel groups processes by session
 * (`sched_autogroup_enabled`, sched(7)), `nice` counts only within a session, and each child has its own.
 */
function rankSession(pid: number, niceness: number, tries = RANK_TRIES): void {
  if (niceness === 0 || process.platform !== 'linux') return;
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(niceness));
  } catch (error) {
    // ENOENT: the process has ended, or the kernel has no such groups.
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || tries <= 1) return;
    setTimeout(() => {
      rankSession(pid, niceness, tries - 1);
    }, RANK_RETRY_MS).unref();
  }
}

async function spawnError(child: ChildProcess, options: OwnedProcessOptions): Promise<LocalError> {
  const cause = await new Promise<Error>((resolve) => child.once('error', resolve));
  return new LocalError(
    'COMMAND_MISSING',
    `${options.name} could not be started: ${options.command} cannot be run (${cause.message}).`,
    { cause },
  );
}

/** How a process ended, in words. */
export function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `exit code ${String(exit.code)}` : `signal ${exit.signal}`;
}
