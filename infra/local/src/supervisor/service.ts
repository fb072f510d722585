import { setTimeout as delay } from 'node:timers/promises';
import { LocalError } from '../errors.js';
import { describeExit, type OwnedProcess, startOwnedProcess } from '../process/owned.js';
import { lastLines, waitUntilReady } from '../process/readiness.js';
import type { RunningPart } from './keeper.js';

const READY_TIMEOUT_MS = 60_000;
const PROBE_TIMEOUT_MS = 3_000;
/** A service ends itself at its shutdown deadline; it is killed this much later. */
const STOP_GRACE_MS = 15_000;
const COMMAND_TIMEOUT_MS = 120_000;
/** Longer than a busy service needs to hand over its data when the supervisor was killed. */
const ORPHAN_GRACE_SECONDS = 0;

export interface ServiceSpec {
  readonly name: string;
  /** Absolute path of its main.js. */
  readonly script: string;
  readonly env: NodeJS.ProcessEnv;
  readonly readyUrl: string;
  readonly logFile: string;
  /** The service's own shutdown deadline. */
  readonly deadlineMs: number;
  /** How far others on the machine go first, from 0 (default) to 19. */
  readonly niceness?: number;
}

type CommandSpec = Omit<ServiceSpec, 'readyUrl' | 'deadlineMs'>;

/** Starts a service and resolves when its /readyz succeeds. */
export async function launchService(spec: ServiceSpec, signal: AbortSignal): Promise<RunningPart> {
  const child = await startNode(spec, []);
  try {
    await waitUntilReady(
      child,
      async () => {
        const problem = await readyProblem(spec.readyUrl);
        if (problem !== null) throw new Error(problem);
      },
      READY_TIMEOUT_MS,
      signal,
    );
  } catch (error) {
    await child.kill();
    throw error;
  }
  return {
    pid: child.pid,
    exited: child.exited,
    tail: (lines) => child.tail(lines),
    stop: () => child.stop(spec.deadlineMs + STOP_GRACE_MS),
    kill: () => child.kill(),
  };
}

/**
 * Runs a command of a service to its end.
 *
 * @throws {LocalError} STEP_FAILED with its last lines.
 */
export async function runServiceCommand(
  spec: CommandSpec,
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const child = await startNode(spec, args);
  const timer = new AbortController();
  const outcome = await Promise.race([
    child.exited,
    delay(COMMAND_TIMEOUT_MS, 'timeout' as const, { signal: timer.signal }),
    new Promise<'aborted'>((resolve) => {
      signal.addEventListener('abort', () => {
        resolve('aborted');
      });
    }),
  ]);
  timer.abort();
  if (typeof outcome === 'object' && outcome.code === 0) return;
  await child.kill();
  signal.throwIfAborted();
  const how =
    typeof outcome === 'object'
      ? describeExit(outcome)
      : `no end within ${String(COMMAND_TIMEOUT_MS / 1000)} s`;
  throw new LocalError(
    'STEP_FAILED',
    `${spec.name} ${args.join(' ')} failed (${how}).${lastLines(child)}`,
  );
}

/** Null if the address answers 200, else its answer, or why it has none. */
export async function readyProblem(readyUrl: string): Promise<string | null> {
  try {
    const response = await fetch(readyUrl, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    const text = (await response.text()).trim();
    return response.ok ? null : `HTTP ${String(response.status)}: ${text.slice(0, 500)}`;
  } catch (error) {
    if (!(error instanceof Error)) return String(error);
    return error.cause instanceof Error ? error.cause.message : error.message;
  }
}

function startNode(spec: CommandSpec, args: readonly string[]): Promise<OwnedProcess> {
  return startOwnedProcess({
    name: spec.name,
    command: process.execPath,
    args: [spec.script, ...args],
    env: spec.env,
    logFile: spec.logFile,
    orphanGraceSeconds: ORPHAN_GRACE_SECONDS,
    niceness: spec.niceness,
  });
}
