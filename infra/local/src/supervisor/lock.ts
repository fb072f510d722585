import { execFile } from 'node:child_process';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { LocalError } from '../errors.js';

/** The guards of a run that was killed need at most about 16 s to end its processes. */
const LEFTOVER_TIMEOUT_MS = 25_000;
const POLL_INTERVAL_MS = 100;

const lockContent = z.object({ pid: z.int().positive(), children: z.array(z.int().positive()) });

export interface DataDirLock {
  /** Writes down which processes belong to this run, for the one after it. */
  recordChildren(pids: readonly number[]): Promise<void>;
  release(): Promise<void>;
}

/**
 * Makes sure that one run at a time uses a data folder. After a run that was killed, waits until
 * its processes have ended.
 *
 * @param onWait called once where there is something to wait for.
 * @throws {LocalError} ALREADY_RUNNING
 */
export async function lockDataDir(dataDir: string, onWait: () => void): Promise<DataDirLock> {
  const file = join(dataDir, 'running.json');
  await mkdir(dataDir, { recursive: true });
  for (;;) {
    if (await tryLock(file)) break;
    const owner = await readLock(file);
    if (owner !== null && (await isSupervisor(owner.pid))) {
      throw new LocalError(
        'ALREADY_RUNNING',
        `Another copy runs on ${dataDir} already (pid ${String(owner.pid)}). Stop it, or give this one a folder and ports of its own: LOCAL_DATA_DIR and the ports that README.md lists.`,
      );
    }
    if (owner !== null) await waitForEnd(owner.children, onWait);
    await rm(file, { force: true });
  }
  // One after the other, and renamed into place: a reader never sees half of it.
  let last = Promise.resolve();
  function inTurn(work: () => Promise<void>): Promise<void> {
    last = last.catch(() => undefined).then(work);
    return last;
  }
  return {
    recordChildren: (children) =>
      inTurn(async () => {
        const next = `${file}.next`;
        await writeFile(next, JSON.stringify({ pid: process.pid, children: [...children] }));
        await rename(next, file);
      }),
    release: () => inTurn(() => rm(file, { force: true })),
  };
}

/** Written beside and linked into place, so that a lock is never seen without its content. */
async function tryLock(file: string): Promise<boolean> {
  const mine = `${file}.${String(process.pid)}`;
  try {
    await writeFile(mine, JSON.stringify({ pid: process.pid, children: [] }));
    await link(mine, file);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(mine, { force: true });
  }
}

async function readLock(file: string): Promise<z.infer<typeof lockContent> | null> {
  try {
    return lockContent.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

/** Looks at the command line too, because the number may belong to another process by now. */
async function isSupervisor(pid: number): Promise<boolean> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]);
    return stdout.includes('main.js');
  } catch (error) {
    // ps ends with 1 where there is no such process; without ps, the number has to do.
    const code: unknown = error instanceof Error && 'code' in error ? error.code : null;
    return code === 'ENOENT' && isAlive(pid);
  }
}

async function waitForEnd(pids: readonly number[], onWait: () => void): Promise<void> {
  if (!pids.some(isAlive)) return;
  onWait();
  const deadline = Date.now() + LEFTOVER_TIMEOUT_MS;
  // What is still there afterwards is somebody else's process with the same number; were it not,
  // its port would be found taken.
  while (pids.some(isAlive) && Date.now() < deadline) await delay(POLL_INTERVAL_MS);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
