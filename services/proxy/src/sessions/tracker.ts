import { minuteOf, MINUTE_MS } from '@sockscope/schemas';
import type { CloseReason } from '@sockscope/schemas';
import { deltaOf } from '../events/measurement.js';
import type { EventSink } from '../events/sink.js';
import { IntrusiveSet } from '../collections/intrusive-set.js';
import type { SessionClock } from './clock.js';
import type { TrackingConfig } from './config.js';
import type { SessionMetrics } from './metrics.js';
import { createSessionIds } from './session-ids.js';
import type { LateHeader, SessionHeader } from '../events/event-parts.js';
import type { Session, SessionTracker } from './session.js';
import { TrackedSession } from './tracked-session.js';
import type { Origin, SessionOwner } from './tracked-session.js';

/** A sweep gives the event loop back after this long, so that thousands of reports delay no traffic. */
const SLICE_MS = 4;
/** How many sessions are looked at between two looks at the clock. */
const SLICE_SESSIONS = 128;

export interface TrackerDeps {
  readonly sink: EventSink;
  readonly clock: SessionClock;
  readonly metrics: SessionMetrics;
  readonly origin: Origin;
}

/** The tracker, and the sweep as a step of its own for tests with a clock of their own. */
export interface SweepingTracker extends SessionTracker {
  /** Looks at every live session once. */
  sweep(): void;
}

/** Opens sessions and turns their counters into events: at least every heartbeat, at once at the end. */
export function createSessionTracker(config: TrackingConfig, deps: TrackerDeps): SweepingTracker {
  const { sink, clock, metrics } = deps;
  const live = new IntrusiveSet<TrackedSession>();
  /** Start of the UTC minute that it is. */
  let minuteMs = 0;
  let timer: NodeJS.Timeout | undefined;
  let slice: NodeJS.Immediate | undefined;

  const owner: SessionOwner = {
    origin: deps.origin,
    epochMs: clock.now(),
    idOf: createSessionIds(),
    closing(session, reason, errorCode) {
      session.refreshCounters?.();
      const atMs = clock.now();
      cutAtMinute(session, atMs);
      const seq = session.end();
      live.delete(session);
      session.refreshCounters = null;
      session.terminate = null;
      sink.later(() => {
        const event = session.closedEvent(seq, atMs, reason, errorCode);
        metrics.sessionClosed(event);
        sink.release(session);
        return event;
      });
    },
  };

  /**
   * Ends the interval at the end of the UTC minute. The bytes counted since the last look are put into
   * the old minute: the sweep comes right after the minute's end, so this is off by its lateness.
   *
   * A minute with traffic ends with a delta that nothing supersedes, because it alone holds all of it.
   */
  function cutAtMinute(session: TrackedSession, nowMs: number): void {
    if (nowMs >= minuteMs + MINUTE_MS) minuteMs = minuteOf(nowMs);
    if (session.intervalStartMs >= minuteMs) return;
    const endMs = session.minuteEndMs;
    if (session.hasUnreported || session.hasReportedMinute) {
      const delta = session.report(endMs);
      metrics.trafficReported(delta.delta);
      sink.emit(deltaOf(session.started(), delta));
    }
    session.beginMinute(minuteMs);
  }

  function look(session: TrackedSession, nowMs: number): void {
    session.refreshCounters?.();
    cutAtMinute(session, nowMs);
    const sinceStart = nowMs - session.startedAtMs;
    const sinceReport = sinceStart - session.lastReport;
    const interval = session.hasUnreported
      ? session.seq === 0
        ? Math.min(config.first_delta_ms, config.traffic_interval_ms)
        : config.traffic_interval_ms
      : config.heartbeat_interval_ms;
    if (sinceReport >= interval) {
      const delta = session.report(nowMs);
      metrics.trafficReported(delta.delta);
      sink.report(session, delta);
    }
    const measurement = session.measurement(nowMs);
    if (measurement !== null) sink.note(session, measurement);
  }

  function lookAtSome(sessions: IterableIterator<TrackedSession>): void {
    const startedAt = performance.now();
    for (;;) {
      const nowMs = clock.now();
      for (let i = 0; i < SLICE_SESSIONS; i += 1) {
        const next = sessions.next();
        if (next.done === true) {
          sink.swept();
          schedule();
          return;
        }
        if (!next.value.closed) look(next.value, nowMs);
      }
      if (performance.now() - startedAt > SLICE_MS) break;
    }
    slice = setImmediate(lookAtSome, sessions);
  }

  /** Sweeps on the round multiples of the interval, so that one falls on every minute's end. */
  function schedule(): void {
    const nowMs = Date.now();
    const interval = config.sweep_interval_ms;
    const next = Math.min(nowMs - (nowMs % interval) + interval, minuteOf(nowMs) + MINUTE_MS);
    timer = setTimeout(() => {
      lookAtSome(live[Symbol.iterator]());
    }, next - nowMs);
  }

  return {
    open(header: SessionHeader, late: LateHeader): Session | null {
      if (!sink.accepting) {
        metrics.refused();
        return null;
      }
      const startedAtMs = clock.now();
      const session = new TrackedSession(owner, startedAtMs, header, late);
      live.add(session);
      metrics.sessionStarted();
      // An address that is found meanwhile belongs to the next events.
      sink.later(() => session.started(late));
      return session;
    },
    live: () => live[Symbol.iterator](),
    get liveCount() {
      return live.size;
    },
    sweep() {
      for (const session of live) look(session, clock.now());
      sink.swept();
    },
    start() {
      metrics.observe(() => live.size);
      schedule();
    },
    stop() {
      clearTimeout(timer);
      clearImmediate(slice);
      for (const session of live) {
        session.close('server_shutdown' satisfies CloseReason, null);
      }
    },
  };
}
