import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { releaseOwnership, takeOwnership } from '@sockscope/runtime';
import { z } from 'zod';
import { LocalError } from '../errors.js';

/** The guards of a run that was killed need at most about 16 s to end its processes. */
const LEFTOVER_TIMEOUT_MS = 25_000;
const POLL_INTERVAL_MS = 100;

const runContent = z.object({ pid: z.int().positive(), children: z.array(z.int().positive()) });

export interface DataDirLock {
  /** Records the processes of this run, for the next run. */
  recordChildren(pids: readonly number[]): Promise<void>;
  release(): Promise<void>;
}

/**
 * Makes sure that one run at a time uses a data folder. After a run that was killed, waits until
 * its processes have ended.
 *
 * @param onWait called once if it has to wait.
 * @throws {LocalError} ALREADY_RUNNING
 */
export async function lockDataDir(dataDir: string, onWait: () => void): Promise<DataDirLock> {
  const owner = join(dataDir, 'owner');
  const file = join(dataDir, 'running.json');
  await mkdir(dataDir, { recursive: true });
  const before = await readRun(file);
  if (!takeOwnership(owner)) {
    throw new LocalError(
      'ALREADY_RUNNING',
      `Another copy runs on ${dataDir} already${before === null ? '' : ` (pid ${String(before.pid)})`}. Stop it, or give this one a folder and ports of its own: LOCAL_DATA_DIR and the ports that README.md lists.`,
    );
  }
  if (before !== null) await waitForEnd(before.children, onWait);
  // One after the other, and renamed into place: a reader never sees half of it.
  let last = Promise.resolve();
  function inTurn(work: () => Promise<void>): Promise<void> {
    last = last.catch(() => undefined).then(work);
    return last;
  }
  const lock: DataDirLock = {
    recordChildren: (children) =>
      inTurn(async () => {
        const next = `${file}.next`;
        await writeFile(next, JSON.stringify({ pid: process.pid, children: [...children] }));
        await rename(next, file);
      }),
    release: () =>
      inTurn(async () => {
        await rm(file, { force: true });
        releaseOwnership(owner);
      }),
  };
  await lock.recordChildren([]);
  return lock;
}

async function readRun(file: string): Promise<z.infer<typeof runContent> | null> {
  try {
    return runContent.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

async function waitForEnd(pids: readonly number[], onWait: () => void): Promise<void> {
  if (!pids.some(isAlive)) return;
  onWait();
  const deadline = Date.now() + LEFTOVER_TIMEOUT_MS;
  // A process that is still there afterwards is somebody else's, with the same number; were it not,
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
