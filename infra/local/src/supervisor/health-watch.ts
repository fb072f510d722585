import { messageOf } from '../errors.js';
import type { Reporter } from './report.js';
import { readyProblem } from './service.js';

const INTERVAL_MS = 5_000;
/** One missed probe is no news on a busy machine. */
const FAILURES_BEFORE_REPORT = 2;

export interface WatchedService {
  readonly name: string;
  readonly readyUrl: string;
  /** A service that is down is the keeper's to report. */
  readonly isUp: () => boolean;
}

/**
 * Asks every service now and then whether it is ready, and looks at the disk; says when that
 * changes.
 */
export function createHealthWatch(
  services: readonly WatchedService[],
  deps: {
    readonly report: Reporter;
    /** Rejects with a sentence where the disk is nearly full. */
    readonly checkDisk: () => Promise<void>;
  },
): { start(): void; stop(): void } {
  const failures = new Map<string, number>();
  let timer: NodeJS.Timeout | null = null;

  async function check(service: WatchedService): Promise<void> {
    const before = failures.get(service.name) ?? 0;
    const problem = service.isUp() ? await readyProblem(service.readyUrl) : null;
    if (timer === null) return;
    if (problem === null) {
      failures.delete(service.name);
      if (before >= FAILURES_BEFORE_REPORT && service.isUp()) {
        deps.report.line(`${service.name} is ready again`);
      }
      return;
    }
    failures.set(service.name, before + 1);
    if (before + 1 === FAILURES_BEFORE_REPORT) {
      deps.report.problem(`${service.name} is not ready: ${problem}`);
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
        for (const service of services) void check(service);
        void checkDisk();
      }, INTERVAL_MS);
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}
