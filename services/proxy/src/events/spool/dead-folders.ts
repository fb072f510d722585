/**
 * Folders of dead proxies, for example after a change of proxy_id or of the number of workers. Their events
 * are published in place, in turns. Between two turns the owner may take its folder back.
 */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Frame } from '../frame.js';
import { SpoolError } from './files.js';
import { lockFolder, logDir, recover, releaseFolder } from './folder.js';
import type { FolderConfig } from './folder.js';
import { LogReader } from './log.js';
import type { ReadLimits } from './log.js';
import { TableFile } from './table-file.js';
import { TABLE_CLASSES } from './table.js';

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
  for (const name of readdirSync(spool_dir)) {
    const dir = join(spool_dir, name);
    if (name === config.proxy_id || !existsSync(logDir(dir)) || !lockFolder(dir)) continue;
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
      if (at === end) {
        // The log last: while it is there, an interrupted deletion is repeated.
        for (const table of TABLE_CLASSES) rmSync(join(dir, table.name));
        rmSync(logDir(dir), { recursive: true });
        result.emptied.push(name);
      }
    } catch (error) {
      throw error instanceof SpoolError ? error : new SpoolError(`cannot empty ${dir}`, error);
    } finally {
      releaseFolder(dir);
    }
    if (result.emptied.at(-1) === name) removeEmpty(dir);
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
