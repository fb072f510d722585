import { messageOf } from '@sockscope/runtime';
import type { Reporter } from './report.js';

const INTERVAL_MS = 5_000;
/** One missed probe is no news on a busy machine. */
const FAILURES_BEFORE_REPORT = 2;

export interface WatchedPart {
  readonly name: string;
  /** Null if it answers as it should, else why not. Ends by itself within seconds. */
  readonly problem: () => Promise<string | null>;
  /** A part that is down is the keeper's to report. */
  readonly isUp: () => boolean;
}

/**
 * Checks periodically whether every part is ready and the disk has room; reports changes. One that
 * hangs is named, and not ended: it may be busy.
 */
export function createHealthWatch(
  parts: readonly WatchedPart[],
  deps: {
    readonly report: Reporter;
    /** Rejects with a sentence if the disk is nearly full. */
    readonly checkDisk: () => Promise<void>;
    readonly intervalMs?: number;
  },
): { start(): void; stop(): void } {
  const failures = new Map<string, number>();
  let timer: NodeJS.Timeout | null = null;

  async function check(part: WatchedPart): Promise<void> {
    const before = failures.get(part.name) ?? 0;
    const problem = part.isUp() ? await part.problem() : null;
    if (timer === null) return;
    if (problem === null) {
      failures.delete(part.name);
      if (before >= FAILURES_BEFORE_REPORT && part.isUp()) {
        deps.report.line(`${part.name} is ready again`);
      }
      return;
    }
    failures.set(part.name, before + 1);
    if (before + 1 === FAILURES_BEFORE_REPORT) {
      deps.report.problem(`${part.name} is not ready: ${problem}`);
    }
  }

  let diskIsFull = false;
  async function checkDisk(): Promise<void> {
    try {
      await deps.checkDisk();
      diskIsFull = false;
    } catch (error) {
      if (!diskIsFull) deps.report.problem(messageOf(error));
      diskIsFull = true;
    }
  }

  return {
    start() {
      timer ??= setInterval(() => {
        for (const part of parts) void check(part);
        void checkDisk();
      }, deps.intervalMs ?? INTERVAL_MS);
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}
