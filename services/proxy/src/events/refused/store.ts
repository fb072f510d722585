/**
 * Events that Kafka refuses permanently, kept on disk with the reason.
 *
 * Guarantee: when `keep` returns null, the events survive a crash of the machine. Each call makes a
 * file of its own under a name that nobody else uses, so that the command `refused send` may read and
 * delete files while proxies write others.
 */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf } from '@sockscope/runtime';
import { z } from 'zod';
import { isMissing, syncPath } from '../spool/files.js';

const refusedEvent = z.object({
  refused_at: z.iso.datetime(),
  topic: z.string(),
  reason: z.string(),
  key: z.string().nullable(),
  value: z.string().nullable(),
  headers: z.record(z.string(), z.string()),
});
export type RefusedEvent = z.infer<typeof refusedEvent>;

export interface RefusedFile {
  readonly path: string;
  readonly events: readonly RefusedEvent[];
  /** Lines that hold no event: the file was changed by somebody. */
  readonly broken: number;
}

/** Inside the spool's folder, beside the proxies' folders. */
const FOLDER = 'refused-events';
const SUFFIX = '.jsonl';
/** The size of the smallest file on disk. */
const FILE_BYTES = 4_096;

export function refusedFolder(spoolDir: string): string {
  return join(spoolDir, FOLDER);
}

export class RefusedStore {
  readonly #dir: string;
  readonly #proxyId: string;
  readonly #maxBytes: number;
  #count = 0;

  /** @param config `refused_max_bytes` bounds the folder, whichever proxy of the machine has filled it. */
  constructor(config: { spool_dir: string; proxy_id: string; refused_max_bytes: number }) {
    this.#dir = refusedFolder(config.spool_dir);
    this.#proxyId = config.proxy_id;
    this.#maxBytes = config.refused_max_bytes;
  }

  /** Keeps events, all or none. Returns why they are not kept; null if they are. */
  keep(events: readonly RefusedEvent[]): string | null {
    try {
      mkdirSync(this.#dir, { recursive: true });
      const bytes = bytesOf(events);
      if (usedBytes(this.#dir) + Math.max(bytes.length, FILE_BYTES) > this.#maxBytes) {
        return 'PROXY_REFUSED_MAX is reached; list them with "refused list", send them again with "refused send"';
      }
      this.#count += 1;
      const name = `${Date.now()}-${this.#proxyId}-${process.pid}-${this.#count}`;
      writeWhole(join(this.#dir, `${name}${SUFFIX}`), bytes);
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }
}

/** The kept events, oldest first, file by file. */
export function* refusedFiles(dir: string): Generator<RefusedFile, void, undefined> {
  for (const path of filesIn(dir)) {
    const lines = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
    const events = lines.map(parse).filter((event) => event !== null);
    yield { path, events, broken: lines.length - events.length };
  }
}

/** Leaves only these events in a file; without any it is deleted. */
export function leaveRefused(path: string, events: readonly RefusedEvent[]): void {
  if (events.length === 0) rmSync(path);
  else writeWhole(path, bytesOf(events));
}

function filesIn(dir: string): string[] {
  try {
    const names = readdirSync(dir).filter((name) => name.endsWith(SUFFIX));
    return names.toSorted().map((name) => join(dir, name));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function usedBytes(dir: string): number {
  const sizes = filesIn(dir).map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  return sizes.reduce((sum, size) => sum + Math.max(size, FILE_BYTES), 0);
}

function bytesOf(events: readonly RefusedEvent[]): Buffer {
  return Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

function parse(line: string): RefusedEvent | null {
  try {
    return refusedEvent.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

/** Writes a file that gets its name only when it is whole and on disk. */
function writeWhole(path: string, bytes: Buffer): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, bytes, { mode: 0o600, flush: true });
  renameSync(temporary, path);
  syncPath(dirname(path));
}
