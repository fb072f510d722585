/**
 * Folders of dead proxies, for example after a change of proxy_id or of the number of workers. Their events
 * are published in place, in turns. Between two turns the owner may take its folder back.
 */
import { readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Frame } from '../frame.js';
import { SpoolError } from './files.js';
import { isFolderOfProxy, lockFolder, logDir, recover, releaseFolder } from './folder.js';
import type { FolderConfig } from './folder.js';
import { LogReader } from './log.js';
import type { ReadLimits } from './log.js';
import { removeTable, TableFile } from './table-file.js';

/** A turn and one request take less time than a returning owner waits for its folder. */
const TURN_MS = 1_500;

export interface DeadFolders {
  /** Names of the folders that were emptied; they are gone. */
  readonly emptied: string[];
  /** Bytes of events that were published. */
  bytes: number;
  /** Bytes of events that stay for later. */
  leftBytes: number;
  crashedSessions: number;
  /** The first refusal of the disk. The events of that folder are still there. */
  trouble: SpoolError | null;
}

/**
 * Publishes the events of dead proxies, for one turn each.
 *
 * @param publish gets frames of a proxy. False if Kafka has not acknowledged them in time.
 */
export async function publishDeadFolders(
  config: FolderConfig,
  limits: ReadLimits,
  publish: (frames: readonly Frame[], proxyId: string) => Promise<boolean>,
): Promise<DeadFolders> {
  const result: DeadFolders = {
    emptied: [],
    bytes: 0,
    leftBytes: 0,
    crashedSessions: 0,
    trouble: null,
  };
  const { spool_dir, spool_max_bytes } = config;
  for (const name of readdirSync(spool_dir)) {
    const dir = join(spool_dir, name);
    if (name === config.proxy_id || !isFolderOfProxy(dir)) continue;
    let isEmpty = false;
    let isLocked = false;
    let reader: LogReader | null = null;
    try {
      isLocked = lockFolder(dir);
      if (!isLocked) continue;
      const { acknowledged, end, crashedSessions } = recover(dir, spool_max_bytes);
      reader = new LogReader(logDir(dir));
      const untilMs = performance.now() + TURN_MS;
      let at = acknowledged;
      while (at < end && performance.now() < untilMs) {
        const { frames, next } = reader.read(at, end, limits);
        if (frames.length > 0 && !(await publish(frames, name))) break;
        at = next;
      }
      // It has no open sessions any more, and the next turn continues here.
      new TableFile(dir, { acknowledged: at, aliveMs: Date.now(), isClean: true }).close();
      if (at === end) reader.end();
      reader.free(at);
      result.crashedSessions += crashedSessions;
      result.bytes += at - acknowledged;
      result.leftBytes += end - at;
      if (at === end) {
        removeTable(dir);
        // Last: while it is there, an interrupted deletion is repeated.
        rmdirSync(logDir(dir));
        result.emptied.push(name);
        isEmpty = true;
      }
    } catch (error) {
      result.trouble ??= new SpoolError(`cannot empty ${dir}`, error);
    } finally {
      reader?.close();
      if (isLocked) releaseFolder(dir);
      if (isEmpty) removeEmpty(dir);
    }
  }
  return result;
}

/** Deletes a folder whose owner has not returned meanwhile. */
function removeEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Its owner's mark is in it again.
  }
}
