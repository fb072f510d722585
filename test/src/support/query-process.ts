import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { pickFreePort } from '@sockscope/local';

const MAIN = fileURLToPath(new URL('../../../services/query/dist/main.js', import.meta.url));
const READY_TIMEOUT_MS = 240_000;

export interface QueryProcess {
  /** URL without a path. */
  readonly api: string;
  stop(): Promise<void>;
}

/** Runs a command of the query service and returns its output. */
export async function queryCommand(
  clickhouse: string,
  ...args: readonly string[]
): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env['PATH'], CLICKHOUSE_URL: clickhouse },
  });
  return stdout.trim();
}

/** Starts a query service over a ClickHouse that runs, with settings of its own. */
export async function startQuery(
  clickhouse: string,
  env: Readonly<Record<string, string>>,
): Promise<QueryProcess> {
  const [port, ops] = [await pickFreePort(), await pickFreePort()];
  const child = spawn(process.execPath, [MAIN], {
    env: {
      ...process.env,
      CLICKHOUSE_URL: clickhouse,
      QUERY_LISTEN: `127.0.0.1:${port}`,
      QUERY_OPS_LISTEN: `127.0.0.1:${ops}`,
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log = `${log}${chunk.toString()}`.slice(-10_000);
  });
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await isReady(`http://127.0.0.1:${ops}/readyz`))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL');
      throw new Error(`the query service did not get ready: ${log}`);
    }
    await delay(100);
  }
  return {
    api: `http://127.0.0.1:${port}`,
    async stop() {
      if (child.exitCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}
