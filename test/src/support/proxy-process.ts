import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pickFreePort } from '@sockscope/local';

const MAIN = fileURLToPath(new URL('../../../services/proxy/dist/main.js', import.meta.url));
const READY_TIMEOUT_MS = 30_000;
const MAX_LOG_LINES = 1_000;
/** Lets loopback through, as tests need it; own ports stay closed. */
const LOOPBACK_ACL = `default: allow
rules:
  - name: loopback
    action: allow
    destinations: [127.0.0.0/8, '::1']
`;

/** Ports and files of one proxy, kept over its restarts. */
export interface ProxySite {
  readonly dir: string;
  /** host:port */
  readonly socks: string;
  readonly port: number;
  /** URL of metrics and health. */
  readonly ops: string;
  readonly aclFile: string;
  readonly usersFile: string;
  readonly env: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

export async function createProxySite(
  kafka: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ProxySite> {
  const dir = await mkdtemp(join(tmpdir(), 'sockscope-proxy-'));
  const port = await pickFreePort();
  const ops = `127.0.0.1:${await pickFreePort()}`;
  const aclFile = join(dir, 'acl.yaml');
  await writeFile(aclFile, LOOPBACK_ACL);
  return {
    dir,
    socks: `127.0.0.1:${port}`,
    port,
    ops: `http://${ops}`,
    aclFile,
    usersFile: join(dir, 'users.yaml'),
    env: {
      PROXY_ID: 'test',
      PROXY_LISTEN: `127.0.0.1:${port}`,
      PROXY_OPS_LISTEN: ops,
      PROXY_ACL_FILE: aclFile,
      PROXY_SPOOL_DIR: join(dir, 'spool'),
      KAFKA_BROKERS: kafka,
      ...env,
    },
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

export interface ProxyProcess {
  readonly pid: number;
  /** What it logged, oldest first. */
  readonly log: readonly string[];
  /** Clean: SIGTERM, and its exit code. */
  stop(): Promise<number | null>;
  /** kill -9. */
  kill(): Promise<void>;
}

/** A subcommand of the proxy, such as `users add`; resolves with what it printed. */
export async function runProxyCommand(args: readonly string[], input = ''): Promise<string> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const printed: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => printed.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => printed.push(chunk));
  child.stdin.end(input);
  await once(child, 'close');
  const text = Buffer.concat(printed).toString('utf8');
  if (child.exitCode !== 0) {
    throw new Error(`${args.join(' ')} ended with ${String(child.exitCode)}: ${text}`);
  }
  return text;
}

async function isReady(site: ProxySite): Promise<boolean> {
  try {
    return (await fetch(`${site.ops}/readyz`)).ok;
  } catch {
    return false;
  }
}

/**
 * Runs the real proxy until it is ready.
 *
 * @param descriptors that it may have open, where not as many as this process.
 */
export async function startProxy(
  site: ProxySite,
  env: Readonly<Record<string, string>> = {},
  descriptors?: number,
): Promise<ProxyProcess> {
  const [program = '', ...args] =
    descriptors === undefined
      ? [process.execPath, MAIN]
      : ['sh', '-c', `ulimit -n ${descriptors} && exec "$0" "$1"`, process.execPath, MAIN];
  const child: ChildProcess = spawn(program, args, {
    env: { PATH: process.env['PATH'], ...site.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log.push(...text.split('\n').filter((line) => line !== ''));
      log.splice(0, log.length - MAX_LOG_LINES);
    });
  }
  const exited = once(child, 'exit');
  const deadlineMs = Date.now() + READY_TIMEOUT_MS;
  while (!(await isReady(site))) {
    if (child.exitCode !== null || Date.now() > deadlineMs) {
      child.kill('SIGKILL');
      throw new Error(`the proxy did not get ready:\n${log.join('\n')}`);
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
