import { spawnSync } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { type ListenAddress, formatListenAddress } from '@sockscope/runtime';
import { LocalError } from '../errors.js';
import { listenProblem } from '../net/ports.js';

/** Kafka and ClickHouse both stop working on a full disk; below this a start is refused. */
const MIN_FREE_BYTES = 512 * 1024 * 1024;

/** Kafka and ClickHouse hold a few hundred files open, the proxy two for each session. */
const COMFORTABLE_OPEN_FILES = 4_096;

/** An address that something of ours is going to listen on. */
export interface PlannedListener {
  readonly what: string;
  readonly env: string;
  readonly address: ListenAddress;
}

/** @throws {LocalError} DISK_FULL */
export async function checkFreeSpace(
  dataDir: string,
  minFreeBytes = MIN_FREE_BYTES,
): Promise<void> {
  const { bavail, bsize } = await statfs(dataDir);
  const freeBytes = bavail * bsize;
  if (freeBytes >= minFreeBytes) return;
  const mib = (bytes: number): string => String(Math.floor(bytes / 1024 ** 2));
  throw new LocalError(
    'DISK_FULL',
    `The disk of ${dataDir} has ${mib(freeBytes)} MiB left; at least ${mib(minFreeBytes)} are needed. Make room, or set LOCAL_DATA_DIR to a folder on another disk.`,
  );
}

/** A sentence if few files may be open at once; null if there are enough, or it is unknown. */
export function openFilesWarning(limit = openFilesLimit()): string | null {
  if (limit === null || limit >= COMFORTABLE_OPEN_FILES) return null;
  return `A process may open only ${String(limit)} files here, so that the proxy can hold about ${String(Math.floor(limit / 2))} sessions. Raise the limit (ulimit -n ${String(COMFORTABLE_OPEN_FILES)}) before npm start for more.`;
}

/** The hard limit, which Node raises its own to and hands on to its children. */
function openFilesLimit(): number | null {
  const { stdout } = spawnSync('/bin/sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' });
  const limit = Number.parseInt(stdout, 10);
  return Number.isNaN(limit) ? null : limit;
}

/**
 * Looks whether every address can be listened on, and at once names all that cannot.
 *
 * @throws {LocalError} PORT_TAKEN
 */
export async function checkListeners(listeners: readonly PlannedListener[]): Promise<void> {
  const problems: string[] = [];
  const seen = new Map<string, string>();
  for (const { what, env, address } of listeners) {
    const text = formatListenAddress(address);
    const other = seen.get(text);
    if (other !== undefined) {
      problems.push(`${env}: ${text} is also the address of ${other}. Choose another one.`);
      continue;
    }
    seen.set(text, what);
    const problem = await listenProblem(address.host, address.port);
    if (problem !== null) problems.push(sentence(what, env, text, problem));
  }
  if (problems.length > 0) throw new LocalError('PORT_TAKEN', problems.join('\n'));
}

function sentence(what: string, env: string, address: string, problem: string): string {
  switch (problem) {
    case 'EADDRINUSE':
      return `${what} cannot listen on ${address}: another program uses it. End that program, or set ${env} to another port.`;
    case 'EACCES':
      return `${what} may not listen on ${address}: ports below 1024 need privileges. Set ${env} to a port above 1023.`;
    case 'EADDRNOTAVAIL':
      return `${what} cannot listen on ${address}: this machine has no such address. Set ${env} to one that it has.`;
    default:
      return `${what} cannot listen on ${address} (${problem}): set ${env} to another address.`;
  }
}
