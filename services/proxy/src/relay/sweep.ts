import { IntrusiveSet } from '../collections/intrusive-set.js';
import type { SetMember } from '../collections/intrusive-set.js';
import type { RelayLimits } from './relay.js';

/** A session as the sweep sees it. */
export interface Watched extends SetMember {
  /** Any number that changes when a byte moves. */
  progress(): number;
  /** Whether one side has ended its direction. */
  readonly halfClosed: boolean;
  /** The sweep's own notes, kept here so that an idle session costs no further object. */
  sweptProgress: number;
  sweptHalfClosed: boolean;
  movedAtMs: number;
  /** Nothing moved since the previous sweep, so memory for traffic can be released. */
  quiet(): void;
  expire(reason: 'idle_timeout' | 'half_close_timeout'): void;
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
  const entries = new IntrusiveSet<Watched>();
  let timer: NodeJS.Timeout | null = null;

  const shortestMs = Math.min(
    ...[limits.idle_timeout_ms, limits.half_close_linger_ms].filter((ms) => ms > 0),
    MAX_TICK_MS * 8,
  );
  const tickMs = Math.max(MIN_TICK_MS, Math.min(MAX_TICK_MS, shortestMs / 8));

  const sweep = (): void => {
    const now = nowMs();
    for (const watched of entries) {
      const progress = watched.progress();
      if (progress !== watched.sweptProgress || watched.halfClosed !== watched.sweptHalfClosed) {
        watched.sweptProgress = progress;
        watched.sweptHalfClosed = watched.halfClosed;
        watched.movedAtMs = now;
        continue;
      }
      watched.quiet();
      const quietMs = now - watched.movedAtMs;
      if (
        watched.sweptHalfClosed &&
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
      watched.sweptProgress = watched.progress();
      watched.sweptHalfClosed = false;
      watched.movedAtMs = nowMs();
      entries.add(watched);
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
