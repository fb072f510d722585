import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { CheckResult, Component } from '@sockscope/runtime';

/** Whether the event loop of this process keeps up. */
export interface EventLoopWatch extends Component {
  start(): void;
  stop(): void;
  check(): CheckResult;
  /** Whether new questions should be sent away for now. */
  isOverloaded(): boolean;
  /** Longest possible wait for this thread of a request that it takes now, in milliseconds. */
  lateMs(): number;
}

export interface EventLoopLimits {
  readonly window_ms: number;
  /** Timers that come this late, one in two over a window: a queue that only grows. */
  readonly overloaded_ms: number;
  /** Healthy processes never come near: something holds the thread. */
  readonly stuck_ms: number;
}

const RESOLUTION_MS = 20;
const TICK_MS = 50;
const LIMITS: EventLoopLimits = { window_ms: 1_000, overloaded_ms: 500, stuck_ms: 5_000 };

/** Measures how late timers fire, window by window. */
export function createEventLoopWatch(limits: EventLoopLimits = LIMITS): EventLoopWatch {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const timers: NodeJS.Timeout[] = [];
  let tickedMs = 0;
  let tickLateMs = 0;
  let medianMs = 0;
  /** Worst lateness in the current window, and in the last whole window. */
  let latestTickMs = 0;
  let longestMs = 0;
  return {
    start() {
      histogram.enable();
      tickedMs = performance.now();
      const tick = setInterval(() => {
        tickLateMs = Math.max(0, performance.now() - tickedMs - TICK_MS);
        tickedMs = performance.now();
        latestTickMs = Math.max(latestTickMs, tickLateMs);
      }, TICK_MS);
      const window = setInterval(() => {
        medianMs = histogram.percentile(50) / 1e6;
        longestMs = latestTickMs;
        latestTickMs = 0;
        histogram.reset();
      }, limits.window_ms);
      for (const timer of [tick, window]) timers.push(timer.unref());
    },
    stop() {
      for (const timer of timers.splice(0)) clearInterval(timer);
      histogram.disable();
    },
    check: () => ({
      ok: longestMs < limits.stuck_ms,
      detail: `timers were at most ${Math.round(longestMs)} ms late in the last ${limits.window_ms} ms`,
    }),
    isOverloaded: () => medianMs > limits.overloaded_ms,
    // It came after the last but one look at the sockets: those after the last tick are being taken up now.
    lateMs: () => tickLateMs + Math.max(0, performance.now() - tickedMs - TICK_MS),
  };
}
