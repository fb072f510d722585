import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { messageOf, SockscopeError } from '@sockscope/runtime';
import { PolicyFileError } from './document.js';

export interface WatchedFileConfig {
  readonly path: string;
  /** Time between two looks; 0 looks only when `reload` is called. */
  readonly interval_ms: number;
  /** A change counts once size and times have stood still for this long. */
  readonly settle_ms: number;
  /** A larger file is refused unread. */
  readonly max_bytes: number;
  /** Whether a file that is missing, unreadable or too large counts as an empty one. */
  readonly is_optional?: boolean;
}

export type LoadResult =
  | { readonly ok: true; readonly changed: boolean }
  | { readonly ok: false; readonly error: Error };

/** A file whose content is taken in whole, again and again. */
export interface WatchedFile {
  /** Loads the content for the first time. @throws the error of reading, or of `onContent`. */
  start(): Promise<void>;
  /** Looks now, settled or not, and takes the content in even if it looks unchanged. */
  reload(): Promise<LoadResult>;
  stop(): Promise<void>;
}

interface Look {
  readonly signature: string;
}

async function lookAt(path: string): Promise<Look> {
  try {
    // stat follows links: Kubernetes swaps a link when it updates a mounted file.
    const s = await stat(path, { bigint: true });
    return { signature: `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}` };
  } catch (error) {
    return { signature: `unreadable: ${messageOf(error)}` };
  }
}

async function readWhole(path: string, maxBytes: number): Promise<string> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    if (size > maxBytes) {
      throw new SockscopeError('policy_file_too_large', `${path} is larger than ${maxBytes} bytes`);
    }
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/**
 * Watches by looking at the file's attributes at an interval rather than by inotify: this sees
 * in-place writes, editors that rename, swapped links and network file systems alike, and cannot
 * run out of watches. A file is read only once it has stood still, so that the first half of one
 * that is being written does not come into force.
 *
 * @param onContent takes the text in; if it throws, the content before stays in force.
 * @param onLoad called for every attempt except the first, and except repetitions of the same failure.
 */
export function createWatchedFile(
  config: WatchedFileConfig,
  deps: {
    readonly onContent: (text: string) => void | Promise<void>;
    readonly onLoad: (result: LoadResult) => void;
  },
): WatchedFile {
  let loaded: Look | null = null;
  let loadedHash = '';
  /** The failure that was reported last; null once the file has been taken in. */
  let reported: string | null = null;
  let candidate: { readonly look: Look; readonly sinceMs: number } | null = null;
  let timer: NodeJS.Timeout | null = null;
  let running: Promise<unknown> = Promise.resolve();
  let stopped = false;

  async function load(force: boolean): Promise<LoadResult> {
    loaded = await lookAt(config.path);
    candidate = null;
    try {
      const text = await readWhole(config.path, config.max_bytes).catch((error: unknown) => {
        if (config.is_optional === true) return '';
        throw error;
      });
      const hash = createHash('sha256').update(text).digest('hex');
      const changed = hash !== loadedHash;
      if (changed || force) await deps.onContent(text);
      loadedHash = hash;
      reported = null;
      return { ok: true, changed };
    } catch (error) {
      // A file that comes back as it was counts as new then: the failure has been reported.
      loadedHash = '';
      // An error in a file stays until the file changes. Any other cause, a disk or a lack
      // of descriptors or threads, may be over at the next look, with the same file.
      if (!(error instanceof PolicyFileError)) loaded = null;
      return { ok: false, error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  function report(result: LoadResult): void {
    reported = result.ok ? null : result.error.message;
    deps.onLoad(result);
  }

  /** One load at a time: two could finish in the wrong order. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = running.then(work);
    running = turn.catch(() => undefined);
    return turn;
  }

  async function look(): Promise<void> {
    const now = await lookAt(config.path);
    if (now.signature === loaded?.signature) {
      candidate = null;
      return;
    }
    if (now.signature !== candidate?.look.signature) {
      candidate = { look: now, sinceMs: performance.now() };
      return;
    }
    if (performance.now() - candidate.sinceMs < config.settle_ms) return;
    const result = await load(false);
    const isNews = result.ok ? result.changed : result.error.message !== reported;
    if (isNews) report(result);
  }

  function schedule(): void {
    if (config.interval_ms === 0 || stopped) return;
    const delay =
      candidate === null ? config.interval_ms : Math.min(config.interval_ms, config.settle_ms);
    timer = setTimeout(() => {
      void inTurn(look).finally(schedule);
    }, delay);
    timer.unref();
  }

  return {
    async start() {
      const result = await inTurn(() => load(true));
      if (!result.ok) throw result.error;
      schedule();
    },
    async reload() {
      const result = await inTurn(() => load(true));
      report(result);
      return result;
    },
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      await running;
    },
  };
}
