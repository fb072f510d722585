/**
 * The fold over one batch: the newest row of each session, the largest counters of each session and
 * minute, and every event once. Because each part is a maximum, folding here and then again in the
 * tables gives the same as folding there alone, with far fewer rows to insert.
 */
import { isZero, maxCounters } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { bucketOf } from '../tables/columns.js';
import type { MinuteTraffic } from '../tables/columns.js';

export interface Accumulator {
  add(event: SessionEvent): void;
  /** Number of events taken, duplicates included. */
  readonly events: number;
  /** The newest event of each session. */
  sessions(): Iterable<SessionEvent>;
  traffic(): Iterable<MinuteTraffic>;
  /** Every event, each (session_id, seq) once. */
  log(): Iterable<SessionEvent>;
}

interface Session {
  newest: SessionEvent;
  readonly seqs: Set<number>;
  readonly minutes: Map<number, MinuteTraffic>;
}

export function createAccumulator(): Accumulator {
  const bySession = new Map<string, Session>();
  const log: SessionEvent[] = [];
  let count = 0;

  return {
    get events() {
      return count;
    },
    add(event) {
      count += 1;
      let session = bySession.get(event.session_id);
      if (session === undefined) {
        session = { newest: event, seqs: new Set(), minutes: new Map() };
        bySession.set(event.session_id, session);
      }
      if (event.seq > session.newest.seq) session.newest = event;
      if (!session.seqs.has(event.seq)) {
        session.seqs.add(event.seq);
        log.push(event);
      }
      const bucketMs = bucketOf(event);
      if (bucketMs === null || event.type === 'SessionStarted' || isZero(event.minute)) return;
      const known = session.minutes.get(bucketMs);
      const counters =
        known === undefined ? event.minute : maxCounters(known.counters, event.minute);
      session.minutes.set(bucketMs, { event, bucketMs, counters });
    },
    *sessions() {
      for (const session of bySession.values()) yield session.newest;
    },
    *traffic() {
      for (const session of bySession.values()) yield* session.minutes.values();
    },
    log: () => log,
  };
}
