import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pickFreePort } from '@sockscope/local';
import { PROXY, startService } from './service-process.js';
import type { ServiceProcess } from './service-process.js';

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

/** A subcommand of the proxy, such as `users add`; resolves with its output. */
export async function runProxyCommand(args: readonly string[], input = ''): Promise<string> {
  const child = spawn(process.execPath, [PROXY, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
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

/**
 * Runs the real proxy until it is ready.
 *
 * @param descriptors that it may have open, if not as many as this process.
 */
export function startProxy(
  site: ProxySite,
  env: Readonly<Record<string, string>> = {},
  descriptors?: number,
): Promise<ServiceProcess> {
  return startService({ main: PROXY, env: { ...site.env, ...env }, ops: site.ops, descriptors });
}
