/**
 * Folders of proxies that are gone: fewer workers than before, another proxy_id. Their events are published
 * where they lie, in turns; between two turns a folder is free for its owner.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Frame } from '../frame.js';
import { isMissing, SpoolError, syncDir } from './files.js';
import { lockFolder, logDir, recover, releaseFolder } from './folder.js';
import type { FolderConfig } from './folder.js';
import { LogReader } from './log.js';
import { hasOldFormat } from './old-format.js';
import { TableFile } from './table-file.js';

/** No proxy_id begins with a dot. */
const EMPTIED_PREFIX = '.emptied-';
/** Less than a returning owner waits for its folder. */
const TURN_MS = 1_500;

export interface DeadFolders {
  /** Names of the folders that were emptied; they are gone. */
  readonly emptied: string[];
  /** Bytes of events that were published. */
  bytes: number;
  /** Bytes of events that stay for later. */
  leftBytes: number;
  crashedSessions: number;
}

export interface DeadFoldersDeps {
  readonly limits: { readonly maxFrames: number; readonly maxBytes: number };
  /** Publishes frames. False if Kafka has not acknowledged them in time. */
  publish(frames: readonly Frame[]): Promise<boolean>;
  /** Whether the living wait. */
  isBusy(): boolean;
}

/**
 * Publishes what dead proxies left, for one turn each.
 *
 * @throws SpoolError if the disk refuses; unpublished events are still there then.
 */
export async function publishDeadFolders(
  config: FolderConfig,
  deps: DeadFoldersDeps,
): Promise<DeadFolders> {
  const result: DeadFolders = { emptied: [], bytes: 0, leftBytes: 0, crashedSessions: 0 };
  removeEmptied(config);
  for (const name of otherFolders(config)) {
    const dir = join(config.spool_dir, name);
    if (!lockFolder(dir)) continue;
    try {
      const left = await publishOne(dir, { ...config, proxy_id: name }, deps, result);
      result.leftBytes += left;
      if (left > 0) {
        releaseFolder(dir);
        continue;
      }
      // At once and with our owner's mark in it: its owner, should it come back meanwhile, begins
      // a new folder, and never has one that is being deleted.
      renameSync(dir, join(config.spool_dir, `${EMPTIED_PREFIX}${name}`));
      syncDir(config.spool_dir);
      result.emptied.push(name);
    } catch (error) {
      releaseFolder(dir);
      throw error instanceof SpoolError ? error : new SpoolError(`cannot empty ${dir}`, error);
    }
  }
  removeEmptied(config);
  return result;
}

/** Returns how many bytes stay. */
async function publishOne(
  dir: string,
  config: FolderConfig,
  deps: DeadFoldersDeps,
  result: DeadFolders,
): Promise<number> {
  const { acknowledged, end, aliveMs, crashedSessions } = recover(dir, config);
  result.crashedSessions += crashedSessions;
  const reader = new LogReader(logDir(dir), config.proxy_id);
  const untilMs = performance.now() + TURN_MS;
  let at = acknowledged;
  while (at < end && performance.now() < untilMs && !deps.isBusy()) {
    const { frames, next } = reader.read(at, end, deps.limits);
    if (frames.length > 0 && !(await deps.publish(frames))) break;
    at = next;
  }
  result.bytes += at - acknowledged;
  // It has no open sessions any more, and the next turn goes on here.
  new TableFile(dir, { acknowledged: at, aliveMs, isClean: true }).close();
  reader.free(at);
  reader.close();
  return end - at;
}

/** Deletes folders that were emptied; of some the one who emptied them may have died over it. */
function removeEmptied(config: FolderConfig): void {
  for (const name of readdirSync(config.spool_dir)) {
    if (!name.startsWith(EMPTIED_PREFIX)) continue;
    const dir = join(config.spool_dir, name);
    try {
      rmSync(dir, { recursive: true, force: true });
    } catch (error) {
      // Somebody else is deleting it too.
      if (isMissing(error)) continue;
      throw new SpoolError(`cannot delete ${dir}`, error);
    }
  }
}

function otherFolders(config: FolderConfig): string[] {
  return readdirSync(config.spool_dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== config.proxy_id)
    .filter((entry) => !entry.name.startsWith(EMPTIED_PREFIX))
    .map((entry) => entry.name)
    .filter((name) => {
      const dir = join(config.spool_dir, name);
      return existsSync(logDir(dir)) || hasOldFormat(dir);
    });
}
