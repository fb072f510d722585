import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SessionEvent } from '../events/events.js';
import { totalsOf } from '../events/events.js';
import { COUNTER_NAMES } from '../events/counters.js';
import { seededRandom, sessionLog } from '../testing/session-log.js';
import { evolve, fold, initialState } from './fold.js';
import { lostRowOf } from './session-row.js';

const START = Date.parse('2026-03-01T23:58:30.000Z');

/** Logs of a few sessions, mixed; closed and open ones, across midnight. */
const log = fc
  .tuple(fc.integer(), fc.integer({ min: 1, max: 6 }))
  .map(([seed, sessions]): SessionEvent[] => {
    const random = seededRandom(seed);
    return Array.from({ length: sessions }, (_, i) =>
      sessionLog({ random, startMs: START + i * 1_000 }),
    ).flat();
  });

const disturbed = log.chain((events) =>
  fc.tuple(
    fc.constant(events),
    // Every event at least once, some again, in any order.
    fc
      .shuffledSubarray(events)
      .chain((again) =>
        fc.shuffledSubarray([...events, ...again], { minLength: events.length + again.length }),
      ),
  ),
);

describe('the fold', () => {
  it('depends on the set of events, not on order or number of deliveries', () => {
    fc.assert(
      fc.property(disturbed, ([events, delivered]) => {
        expect(fold(delivered)).toEqual(fold(events));
      }),
    );
  });

  it('prefers the real end to an assumed one of the same seq, in any order', () => {
    const random = seededRandom(1);
    const events = sessionLog({ random, startMs: START, closed: true, closeReason: 'client_eof' });
    const end = events.at(-1);
    if (end?.type !== 'SessionClosed') throw new Error('no end');
    const assumed: SessionEvent = {
      ...end,
      assumed: true,
      status: 'failed',
      close_reason: 'proxy_crashed',
    };
    for (const both of [
      [...events, assumed],
      [assumed, ...events],
    ]) {
      expect(fold(both)).toEqual(fold(events));
    }
    // And it does end a session that nothing else ends.
    const crashed = fold([...events.slice(0, -1), assumed]).get(end.session_id);
    expect(crashed?.row).toMatchObject({ status: 'failed', assumed: true });
  });

  it('reaches the exact totals when any TrafficDelta but the last event is lost', () => {
    fc.assert(
      fc.property(log, fc.infiniteStream(fc.boolean()), (events, coin) => {
        const last = new Map(events.map((e) => [e.session_id, e]));
        const kept = events.filter(
          (e) => last.get(e.session_id) === e || coin.next().value === true,
        );
        for (const [id, state] of fold(kept)) {
          const end = last.get(id);
          expect(end).toBeDefined();
          if (end !== undefined) expect(state.row).toMatchObject(totalsOf(end));
        }
      }),
    );
  });

  it('splits a session’s totals over its minutes without a remainder', () => {
    fc.assert(
      fc.property(log, (events) => {
        for (const state of fold(events).values()) {
          for (const name of COUNTER_NAMES) {
            const sum = [...state.minutes.values()].reduce((n, minute) => n + minute[name], 0);
            expect(sum).toBe(state.row?.[name]);
          }
        }
      }),
    );
  });

  it('does not change the state it is given', () => {
    const events = sessionLog({
      random: seededRandom(1),
      startMs: START,
      intervals: 3,
      closed: true,
    });
    const before = events.slice(0, 2).reduce(evolve, initialState());
    const copy = structuredClone(before);
    for (const event of events) evolve(before, event);
    expect(before).toEqual(copy);
  });

  it('lets a session found lost be overridden by any later real event only', () => {
    const events = sessionLog({
      random: seededRandom(2),
      startMs: START,
      intervals: 3,
      closed: true,
    });
    const open = fold(events.slice(0, 3)).values().next().value;
    const whole = fold(events).values().next().value;
    expect(open?.row).toBeTruthy();
    if (!open?.row || !whole?.row) return;
    const lost = lostRowOf(open.row);
    expect(lost).toMatchObject({
      status: 'failed',
      close_reason: 'lost',
      ended_at: open.row.updated_at,
    });
    expect(lost.version).toBeGreaterThan(open.row.version);
    expect(whole.row.version).toBeGreaterThan(lost.version);
  });
});
