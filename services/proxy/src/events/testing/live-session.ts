import { zeroCounters } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { partsOf } from '../event-parts.js';
import type { EventParts } from '../event-parts.js';
import { measurementOf } from '../measurement.js';
import type { EventPipeline } from '../pipeline.js';
import { NO_PLACE } from '../sink.js';
import type { OpenSession } from '../sink.js';

const MINUTE = '2026-01-31T23:59'.length;

/** A session whose events are given as the tracker does it, one step at a time. */
export class LiveSession implements OpenSession {
  place = NO_PLACE;
  readonly late = {};
  readonly log: readonly SessionEvent[];
  #next = 0;

  constructor(log: readonly SessionEvent[]) {
    this.log = log;
  }

  started(): EventParts {
    const [first] = this.log;
    if (first?.type !== 'SessionStarted') throw new Error('no start');
    return partsOf(first);
  }

  get id(): string {
    return this.started().moment.session_id;
  }

  /** Events so far. */
  get said(): readonly SessionEvent[] {
    return this.log.slice(0, this.#next);
  }

  get isEnded(): boolean {
    return this.said.at(-1)?.type === 'SessionClosed';
  }

  step(pipeline: EventPipeline): void {
    const event = this.log[this.#next];
    if (event === undefined) return;
    this.#next += 1;
    if (event.type === 'SessionClosed') pipeline.release(this);
    if (event.type !== 'TrafficDelta') {
      pipeline.emit(partsOf(event));
      return;
    }
    const next = this.log[this.#next];
    const isLast =
      next?.type !== 'TrafficDelta' ||
      next.interval_start.slice(0, MINUTE) !== event.interval_start.slice(0, MINUTE);
    if (isLast) pipeline.emit(partsOf(event));
    else pipeline.report(this, measurementOf(event));
    pipeline.note(this, measurementOf(event));
  }

  /** Has its counters noted, as each sweep of the tracker does it with a new session. */
  look(pipeline: EventPipeline): void {
    const at_ms = this.started().moment.started_at;
    const nothing = zeroCounters();
    if (this.said.length !== 1 || this.place !== NO_PLACE) return;
    pipeline.note(this, {
      seq: 0,
      interval_start_ms: at_ms,
      at_ms,
      connect_ms: null,
      totals: nothing,
      delta: nothing,
      minute: nothing,
    });
  }
}

/** Sessions that end in order. */
export function liveSessions(count: number, seed: number): LiveSession[] {
  const random = seededRandom(seed);
  return Array.from(
    { length: count },
    (_, i) =>
      new LiveSession(
        sessionLog({
          random,
          startMs: 1_780_000_000_000 + seed * 1_000 + i,
          intervals: 8,
          closed: true,
          closeReason: 'client_eof',
        }),
      ),
  );
}
