import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { CheckResult, Component } from '@sockscope/runtime';

/** Whether this process still gets round to what it has to do. */
export interface EventLoopWatch extends Component {
  start(): void;
  stop(): void;
  check(): CheckResult;
  /** Whether new questions should be sent away for now. */
  isOverloaded(): boolean;
}

const RESOLUTION_MS = 20;
const WINDOW_MS = 1_000;
/** Timers that come this late, one in two over a second: a queue that only grows. */
const OVERLOADED_MS = 500;
/** Healthy processes never come near: something holds the thread. */
const STUCK_MS = 5_000;

/** Measures how late timers fire, second by second. */
export function createEventLoopWatch(): EventLoopWatch {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  let timer: NodeJS.Timeout | null = null;
  let medianMs = 0;
  let longestMs = 0;
  return {
    start() {
      histogram.enable();
      timer = setInterval(() => {
        medianMs = histogram.percentile(50) / 1e6;
        longestMs = histogram.max / 1e6;
        histogram.reset();
      }, WINDOW_MS);
      timer.unref();
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      histogram.disable();
    },
    check: () => ({
      ok: longestMs < STUCK_MS,
      detail: `timers were at most ${Math.round(longestMs)} ms late in the last second`,
    }),
    isOverloaded: () => medianMs > OVERLOADED_MS,
  };
}
