/**
 * Folders of dead proxies, for example after a change of proxy_id or of the number of workers. Their events
 * are published in place, in turns. Between two turns the owner may take its folder back.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Frame } from '../frame.js';
import { isMissing, SpoolError, syncPath } from './files.js';
import { lockFolder, logDir, recover, releaseFolder } from './folder.js';
import type { FolderConfig } from './folder.js';
import { LogReader } from './log.js';
import type { ReadLimits } from './log.js';
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

/**
 * Publishes the events of dead proxies, for one turn each.
 *
 * @param publish gets frames of a proxy. False if Kafka has not acknowledged them in time.
 * @throws SpoolError if the disk refuses; unpublished events are still there then.
 */
export async function publishDeadFolders(
  config: FolderConfig,
  limits: ReadLimits,
  publish: (frames: readonly Frame[], proxyId: string) => Promise<boolean>,
): Promise<DeadFolders> {
  const result: DeadFolders = { emptied: [], bytes: 0, leftBytes: 0, crashedSessions: 0 };
  const { spool_dir, spool_max_bytes } = config;
  removeEmptied(spool_dir);
  for (const name of readdirSync(spool_dir)) {
    const dir = join(spool_dir, name);
    const isFolder = existsSync(logDir(dir)) || hasOldFormat(dir);
    if (!isFolder || name === config.proxy_id || name.startsWith(EMPTIED_PREFIX)) continue;
    if (!lockFolder(dir)) continue;
    try {
      const { acknowledged, end, aliveMs, crashedSessions } = recover(dir, spool_max_bytes);
      const reader = new LogReader(logDir(dir));
      const untilMs = performance.now() + TURN_MS;
      let at = acknowledged;
      while (at < end && performance.now() < untilMs) {
        const { frames, next } = reader.read(at, end, limits);
        if (frames.length > 0 && !(await publish(frames, name))) break;
        at = next;
      }
      // It has no open sessions any more, and the next turn continues here.
      new TableFile(dir, { acknowledged: at, aliveMs, isClean: true }).close();
      reader.free(at);
      reader.close();
      result.crashedSessions += crashedSessions;
      result.bytes += at - acknowledged;
      result.leftBytes += end - at;
      if (at < end) {
        releaseFolder(dir);
        continue;
      }
      // Renamed in one step, with our owner's mark in it: an owner that returns now begins a new
      // folder, and never gets one that is being deleted.
      renameSync(dir, join(spool_dir, `${EMPTIED_PREFIX}${name}`));
      syncPath(spool_dir);
      result.emptied.push(name);
    } catch (error) {
      releaseFolder(dir);
      throw error instanceof SpoolError ? error : new SpoolError(`cannot empty ${dir}`, error);
    }
  }
  removeEmptied(spool_dir);
  return result;
}

/** Deletes emptied folders, also those whose process died before it deleted them. */
function removeEmptied(spoolDir: string): void {
  for (const name of readdirSync(spoolDir)) {
    if (!name.startsWith(EMPTIED_PREFIX)) continue;
    const dir = join(spoolDir, name);
    try {
      rmSync(dir, { recursive: true, force: true });
    } catch (error) {
      // Somebody else is deleting it too.
      if (isMissing(error)) continue;
      throw new SpoolError(`cannot delete ${dir}`, error);
    }
  }
}
