import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { PAUSE_ENV, PAUSED_LINE } from './steps.js';
import type { Step } from './steps.js';

const SCRIPT = fileURLToPath(new URL('../../dist/testing/child-main.js', import.meta.url));
/** Printed once the service is up; it has handled signals for a while then. */
const READY_LINE = 'ingest ready';
const LOG_MAX_CHARS = 200_000;
const WAIT_MS = 180_000;

/** An ingest process of its own. */
export interface IngestChild {
  readonly process: ChildProcess;
  /** Resolves when its past or future output contains this text. */
  output(text: string | RegExp): Promise<void>;
  /** Resolves when it stands at the step that it was started with. */
  paused(): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** Sends SIGTERM once it handles signals (before that they just kill it). Resolves with its exit code. */
  stop(): Promise<number | null>;
  /** kill -9. */
  end(): Promise<void>;
  log(): string;
}

export function startIngestChild(
  env: Readonly<Record<string, string>>,
  pauseAt?: Step,
): IngestChild {
  if (!existsSync(SCRIPT)) throw new Error(`${SCRIPT} is missing: npx tsc -b services/ingest`);
  const child = spawn(process.execPath, [SCRIPT], {
    env: { ...process.env, ...env, [PAUSE_ENV]: pauseAt ?? '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  let listeners: (() => void)[] = [];
  const heard = (chunk: Buffer) => {
    log = (log + chunk.toString('utf8')).slice(-LOG_MAX_CHARS);
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', heard);
  child.stderr.on('data', heard);
  const exited = once(child, 'exit').then(() => {
    for (const listener of listeners) listener();
  });

  function output(text: string | RegExp): Promise<void> {
    const isThere = () => (typeof text === 'string' ? log.includes(text) : text.test(log));
    return new Promise((resolve, reject) => {
      const settle = (error?: Error) => {
        clearTimeout(timer);
        listeners = listeners.filter((each) => each !== look);
        if (error === undefined) resolve();
        else reject(error);
      };
      const look = () => {
        if (isThere()) settle();
        else if (child.exitCode !== null || child.signalCode !== null) {
          settle(new Error(`ingest ended before it wrote ${text}:\n${log.slice(-3_000)}`));
        }
      };
      const timer = setTimeout(() => {
        settle(
          new Error(`ingest did not write ${text} within ${WAIT_MS} ms:\n${log.slice(-3_000)}`),
        );
      }, WAIT_MS);
      listeners.push(look);
      look();
    });
  }

  const ready = output(READY_LINE).catch(() => undefined);

  return {
    process: child,
    output,
    paused: () => output(PAUSED_LINE),
    kill(signal) {
      child.kill(signal);
    },
    async stop() {
      await ready;
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
    async end() {
      child.kill('SIGKILL');
      await exited;
    },
    log: () => log,
  };
}
