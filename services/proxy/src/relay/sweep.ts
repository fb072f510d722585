import type { RelayLimits } from './relay.js';

/** A session as the sweep sees it. */
export interface Watched {
  /** Any number that changes when a byte moves. */
  progress(): number;
  /** Whether one side has ended its direction. */
  readonly halfClosed: boolean;
  /** Nothing moved since the previous sweep: a time to give back what only traffic needs. */
  quiet(): void;
  expire(reason: 'idle_timeout' | 'half_close_timeout'): void;
}

interface Entry {
  lastProgress: number;
  movedAtMs: number;
  halfClosed: boolean;
}

const MIN_TICK_MS = 10;
const MAX_TICK_MS = 1_000;

/** One timer for all sessions. A timeout is exact to a tick: an eighth of it, a second at most. */
export interface Sweep {
  add(watched: Watched): void;
  delete(watched: Watched): void;
  readonly size: number;
  start(): void;
  stop(): void;
}

/** `nowMs` is monotonic. */
export function createSweep(
  limits: RelayLimits,
  nowMs: () => number = () => performance.now(),
): Sweep {
  const entries = new Map<Watched, Entry>();
  let timer: NodeJS.Timeout | null = null;

  const shortestMs = Math.min(
    ...[limits.idle_timeout_ms, limits.half_close_linger_ms].filter((ms) => ms > 0),
    MAX_TICK_MS * 8,
  );
  const tickMs = Math.max(MIN_TICK_MS, Math.min(MAX_TICK_MS, shortestMs / 8));

  const sweep = (): void => {
    const now = nowMs();
    for (const [watched, entry] of entries) {
      const progress = watched.progress();
      if (progress !== entry.lastProgress || watched.halfClosed !== entry.halfClosed) {
        entry.lastProgress = progress;
        entry.halfClosed = watched.halfClosed;
        entry.movedAtMs = now;
        continue;
      }
      watched.quiet();
      const quietMs = now - entry.movedAtMs;
      if (
        entry.halfClosed &&
        limits.half_close_linger_ms > 0 &&
        quietMs >= limits.half_close_linger_ms
      ) {
        watched.expire('half_close_timeout');
      } else if (limits.idle_timeout_ms > 0 && quietMs >= limits.idle_timeout_ms) {
        watched.expire('idle_timeout');
      }
    }
  };

  return {
    add(watched) {
      entries.set(watched, {
        lastProgress: watched.progress(),
        movedAtMs: nowMs(),
        halfClosed: false,
      });
    },
    delete(watched) {
      entries.delete(watched);
    },
    get size() {
      return entries.size;
    },
    start() {
      timer ??= setInterval(sweep, tickMs).unref();
    },
    stop() {
      if (timer !== null) clearInterval(timer);
      timer = null;
    },
  };
}
