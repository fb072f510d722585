/**
 * Events that Kafka refuses permanently, kept on disk with the reason.
 *
 * Guarantee: when `keep` returns true, the events survive a crash of the machine. Each call makes a
 * file of its own under a name that nobody else uses, so that the command `refused send` may read and
 * delete files while proxies write others.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '@sockscope/runtime';
import type { OutgoingRecord } from '@sockscope/runtime/kafka';
import { z } from 'zod';

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
/** What the smallest file takes on disk. */
const FILE_BYTES = 4_096;

export function refusedFolder(spoolDir: string): string {
  return join(spoolDir, FOLDER);
}

export class RefusedStore {
  readonly #dir: string;
  readonly #proxyId: string;
  readonly #maxBytes: number;
  #count = 0;

  /** @param config `max_bytes` bounds the folder, whichever proxy of the machine has filled it. */
  constructor(config: { spool_dir: string; proxy_id: string; refused_max_bytes: number }) {
    this.#dir = refusedFolder(config.spool_dir);
    this.#proxyId = config.proxy_id;
    this.#maxBytes = config.refused_max_bytes;
  }

  /** Keeps events. Returns why they are not kept; null if they are. */
  tryKeep(events: readonly RefusedEvent[]): string | null {
    try {
      if (this.keep(events)) return null;
      return 'PROXY_REFUSED_MAX is reached; list them with "refused list", send them again with "refused send"';
    } catch (error) {
      return messageOf(error);
    }
  }

  /**
   * Keeps events. False when they have no room: then none of them is kept.
   *
   * @throws Error when the disk refuses.
   */
  keep(events: readonly RefusedEvent[]): boolean {
    if (events.length === 0) return true;
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    mkdirSync(this.#dir, { recursive: true });
    if (usedBytes(this.#dir) + Math.max(bytes.length, FILE_BYTES) > this.#maxBytes) return false;
    this.#count += 1;
    const name = `${Date.now()}-${this.#proxyId}-${process.pid}-${this.#count}`;
    writeWhole(join(this.#dir, `${name}${SUFFIX}`), bytes);
    syncFolder(this.#dir);
    return true;
  }
}

/** The kept events, oldest first, file by file. */
export function* refusedFiles(dir: string): Generator<RefusedFile, void, undefined> {
  for (const name of namesIn(dir)) {
    const path = join(dir, name);
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
  else writeWhole(path, Buffer.from(events.map((each) => `${JSON.stringify(each)}\n`).join('')));
}

/** The stored part of a refused record. Events are text throughout. */
export function refusedEventOf(
  record: {
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers: readonly (readonly [string, Buffer | null])[];
  },
  topic: string,
  reason: string,
): RefusedEvent {
  return {
    refused_at: new Date().toISOString(),
    topic,
    reason,
    key: record.key?.toString('utf8') ?? null,
    value: record.value?.toString('utf8') ?? null,
    headers: Object.fromEntries(
      record.headers.map(([name, value]) => [name, value?.toString('utf8') ?? '']),
    ),
  };
}

export function outgoingOf({ key, value, headers }: RefusedEvent): OutgoingRecord {
  return { key, value, headers };
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith(SUFFIX))
      .toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function usedBytes(dir: string): number {
  let bytes = 0;
  for (const name of namesIn(dir)) {
    const size = statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0;
    bytes += Math.max(size, FILE_BYTES);
  }
  return bytes;
}

function parse(line: string): RefusedEvent | null {
  try {
    return refusedEvent.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

/** Under its name only when it is whole and on disk. */
function writeWhole(path: string, bytes: Buffer): void {
  const temporary = `${path}.tmp`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

function syncFolder(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
