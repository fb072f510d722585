import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { RunningPeer } from './peer.js';

const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 15_000;
const MAX_OUTPUT_BYTES = 8_192;

/** Whether a command can be found. */
export function hasCommand(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v "$0"`, command]).status === 0;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}

/** Starts a proxy and waits until its port answers. Otherwise its last output is in the error. */
export async function startProxyProcess(
  command: string,
  args: readonly string[],
  port: number,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningPeer> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-MAX_OUTPUT_BYTES);
    });
  }
  const exited = once(child, 'exit');
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', kill);
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      kill();
      throw new Error(`${command} does not answer on port ${port}:\n${output}`);
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
  return {
    via: { host: '127.0.0.1', port },
    pids: child.pid === undefined ? [] : [child.pid],
    async stop() {
      process.off('exit', kill);
      child.kill('SIGTERM');
      const timer = setTimeout(kill, STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    },
  };
}
