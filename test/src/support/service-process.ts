import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The built services. */
const mainOf = (service: string): string =>
  fileURLToPath(new URL(`../../../services/${service}/dist/main.js`, import.meta.url));
export const PROXY = mainOf('proxy');
export const INGEST = mainOf('ingest');
export const QUERY = mainOf('query');
const READY_TIMEOUT_MS = 240_000;
const CLOSED_AFTER_MS = 5_000;
const MAX_LOG_LINES = 1_000;

export interface ServiceProcess {
  readonly pid: number;
  /** Its log, oldest first. */
  readonly log: readonly string[];
  /** Clean: SIGTERM, and its exit code. */
  stop(): Promise<number | null>;
  /** kill -9. */
  kill(): Promise<void>;
}

async function isReady(ops: string, says: string | undefined): Promise<boolean> {
  try {
    const response = await fetch(`${ops}/readyz`);
    return says === undefined ? response.ok : (await response.text()).includes(says);
  } catch {
    return false;
  }
}

/** Runs a real service until it is ready, or until `/readyz` contains a text. */
export async function startService(options: {
  /** The built file. */
  readonly main: string;
  readonly env: Readonly<Record<string, string>>;
  /** URL of metrics and health. */
  readonly ops: string;
  /** The text that `/readyz` must contain, if the service is not expected to become ready. */
  readonly says?: string;
  /** Descriptors that it may open; default: as many as this process. */
  readonly descriptors?: number | undefined;
}): Promise<ServiceProcess> {
  const { main, ops, says, descriptors } = options;
  const [program = '', ...args] =
    descriptors === undefined
      ? [process.execPath, main]
      : ['sh', '-c', `ulimit -n ${descriptors} && exec "$0" "$1"`, process.execPath, main];
  const child: ChildProcess = spawn(program, args, {
    env: { PATH: process.env['PATH'], ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close');
  const log: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log.push(...text.split('\n').filter((line) => line !== ''));
      log.splice(0, log.length - MAX_LOG_LINES);
    });
  }
  // The rest of its log comes after its exit; a child of its own that hangs may hold the log open.
  const exited = once(child, 'exit').then(() =>
    Promise.race([closed, delay(CLOSED_AFTER_MS, undefined, { ref: false })]),
  );
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  while (!(await isReady(ops, says))) {
    if (child.exitCode !== null || Date.now() > deadlineMs) {
      child.kill('SIGKILL');
      throw new Error(`${main} did not get ready:\n${log.join('\n')}`);
    }
    await delay(50);
  }
  return {
    pid: child.pid ?? 0,
    log,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
