import { existsSync, type FSWatcher, watch } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '@sockscope/runtime';
import { PARTS } from './parts.js';

/** Editors write a file in several steps, and git many files. */
const SETTLE_MS = 80;

/**
 * Calls `onChange` with the changed files, relative to `root`. While it runs, further changes are
 * collected for the next call.
 */
export function watchSources(
  root: string,
  deps: {
    readonly onChange: (files: readonly string[]) => Promise<void>;
    readonly onProblem: (text: string) => void;
  },
): { stop(): void } {
  const changed = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let running = false;
  let isStopped = false;

  function later(): void {
    clearTimeout(timer);
    if (isStopped || running || changed.size === 0) return;
    timer = setTimeout(() => void run(), SETTLE_MS);
  }

  async function run(): Promise<void> {
    const files = [...changed];
    changed.clear();
    running = true;
    try {
      await deps.onChange(files);
    } catch (error) {
      deps.onProblem(messageOf(error));
    } finally {
      running = false;
      later();
    }
  }

  const watchers = PARTS.flatMap(({ folder, watched }) => watched.map((each) => join(folder, each)))
    .filter((path) => existsSync(join(root, path)))
    .map((path): FSWatcher => {
      const watcher = watch(join(root, path), { recursive: true }, (_event, name) => {
        changed.add(name === null ? path : join(path, name));
        later();
      });
      watcher.on('error', (error) => {
        deps.onProblem(`${path} is no longer watched: ${messageOf(error)}`);
      });
      return watcher;
    });
  return {
    stop() {
      isStopped = true;
      clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}
