import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import { describeExit, type ProcessExit } from '../process/owned.js';
import type { Reporter } from './report.js';

/** A part that dies more often than this within the window is given up. */
const MAX_DEATHS = 5;
const DEATHS_WINDOW_MS = 60_000;
const FIRST_RESTART_DELAY_MS = 500;
const MAX_RESTART_DELAY_MS = 8_000;
const TAIL_LINES = 10;

/** A process that runs and answers. */
export interface RunningPart {
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  tail(lines: number): readonly string[];
  stop(): Promise<unknown>;
  kill(): Promise<unknown>;
}

export interface PartSpec {
  readonly name: string;
  /** Resolves when the part answers. Rejects at once when `signal` is aborted. */
  launch(signal: AbortSignal): Promise<RunningPart>;
}

export interface Keeper {
  readonly name: string;
  /** Null while it is down. */
  pid(): number | null;
  start(): Promise<void>;
  /** Stops it in order and starts it again. @throws if it does not become ready; it is down then. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/**
 * Keeps one part running. If it dies, prints its last log lines and starts it again after a pause
 * that doubles; gives up after five deaths within a minute.
 */
export function createKeeper(
  spec: PartSpec,
  deps: {
    readonly report: Reporter;
    /** Called whenever the part's process changes. */
    readonly onChange: () => void;
    readonly onGiveUp: (reason: string) => void;
    readonly firstRestartDelayMs?: number;
  },
): Keeper {
  const abort = new AbortController();
  const deaths: number[] = [];
  let running: RunningPart | null = null;
  let launching: Promise<void> | null = null;
  let restarting: Promise<void> | null = null;
  let stopping = false;

  function setRunning(part: RunningPart | null): void {
    running = part;
    deps.onChange();
  }

  function launch(): Promise<void> {
    launching = launchOnce().finally(() => {
      launching = null;
    });
    return launching;
  }

  async function launchOnce(): Promise<void> {
    const part = await spec.launch(abort.signal);
    if (stopping) {
      await part.kill();
      return;
    }
    setRunning(part);
    void part.exited.then((exit) => {
      if (running !== part) return;
      setRunning(null);
      if (!stopping) void recover(exit, part.tail(TAIL_LINES));
    });
  }

  async function recover(exit: ProcessExit, tail: readonly string[]): Promise<void> {
    deps.report.problem(
      `${spec.name} has ended unexpectedly (${describeExit(exit)}). Its last log lines:\n${tail.map((line) => `  ${line}`).join('\n')}`,
    );
    for (;;) {
      const now = Date.now();
      deaths.push(now);
      const recent = deaths.filter((at) => now - at < DEATHS_WINDOW_MS).length;
      if (recent >= MAX_DEATHS) {
        deps.onGiveUp(`${spec.name} died ${String(recent)} times within a minute`);
        return;
      }
      const first = deps.firstRestartDelayMs ?? FIRST_RESTART_DELAY_MS;
      const pauseMs = Math.min(first * 2 ** (recent - 1), MAX_RESTART_DELAY_MS);
      await delay(pauseMs, undefined, { signal: abort.signal }).catch(() => undefined);
      // It may have been started meanwhile.
      if (stopping || running !== null || launching !== null) return;
      try {
        await launch();
        if (!stopping) deps.report.line(`${spec.name} runs again`);
        return;
      } catch (error) {
        if (stopping) return;
        deps.report.problem(messageOf(error));
      }
    }
  }

  function restart(): Promise<void> {
    restarting = restartOnce().finally(() => {
      restarting = null;
    });
    return restarting;
  }

  async function restartOnce(): Promise<void> {
    await launching?.catch(() => undefined);
    const part = running;
    if (part !== null) {
      // First of all, so that its end is not taken for a death.
      setRunning(null);
      await part.stop();
    }
    if (!stopping && launching === null) await launch();
  }

  async function end(how: 'stop' | 'kill'): Promise<void> {
    stopping = true;
    abort.abort(new Error('stopping'));
    // A starting part ends because of the abort; its process must be gone before ours.
    await launching?.catch(() => undefined);
    await restarting?.catch(() => undefined);
    const part = running;
    if (part === null) return;
    await part[how]();
    setRunning(null);
  }

  return {
    name: spec.name,
    pid: () => running?.pid ?? null,
    start: launch,
    restart,
    stop: () => end('stop'),
    kill: () => end('kill'),
  };
}
