import { EVENT_LIMITS } from '@sockscope/schemas';

/** Milliseconds since 1970, whole, never less than before. */
export interface SessionClock {
  now(): number;
}

/**
 * The time of sessions. It follows the wall clock while that goes forward. When the wall clock is
 * set back, this one continues at half speed until the other has caught up: time that ran backwards
 * would put traffic into a minute that was reported as final, and a session's end before its start.
 *
 * @param monotonic milliseconds of a clock that nobody sets.
 */
export function createSessionClock(
  wall: () => number = Date.now,
  monotonic: () => number = () => performance.now(),
): SessionClock {
  let last: number = EVENT_LIMITS.earliest_ms;
  /** Time of the monotonic clock at the last look; null while the wall clock leads, which is nearly always. */
  let tick: number | null = null;
  return {
    now() {
      // The contract ends in 2100; a clock beyond it is wrong.
      const wallMs = Math.min(wall(), EVENT_LIMITS.latest_ms - 1);
      if (wallMs >= last) {
        last = wallMs;
        tick = null;
        return last;
      }
      const now = monotonic();
      last += Math.max(0, now - (tick ?? now)) / 2;
      tick = now;
      return Math.floor(last);
    },
  };
}
