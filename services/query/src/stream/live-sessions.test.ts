import type { StreamSession } from '@sockscope/schemas/api';
import { streamSessionExample } from '@sockscope/schemas/api';
import { describe, expect, it } from 'vitest';
import type { ActiveRow } from '../sql/active.js';
import { asStored } from '../sql/stored.js';
import { UNHEARD_MAX_MS } from './config.js';
import type { LiveEvent } from './event.js';
import { LiveSessions } from './live-sessions.js';

const NOW_MS = Date.parse('2026-03-15T12:00:00.000Z');

function event(
  id: string,
  type: LiveEvent['type'],
  atMs: number,
  bytes: number,
  changes: Partial<StreamSession> = {},
): LiveEvent {
  return {
    type,
    n: 0,
    storedMs: atMs,
    session: {
      ...(streamSessionExample as StreamSession),
      session_id: id,
      started_at: new Date(NOW_MS).toISOString(),
      updated_at: new Date(atMs).toISOString(),
      bytes_sent: bytes,
      bytes_received: 0,
      ...changes,
      user: asStored('alice'),
      source_ip: asStored('192.0.2.1'),
    },
  };
}

const all = { matches: () => true, sort: 'rate', limit: 10 } as const;

const HOUR_AGO = new Date(NOW_MS - 3_600_000).toISOString();
const MINUTES = { sinceMs: NOW_MS - 90_000, nowMs: NOW_MS };

/** The session `a` as the tables have it, open for an hour. */
function stored(heardMs: number, recentSent: number): ActiveRow {
  const { seq: _seq, ...row } = event('a', 'changed', heardMs, 900_000, {
    started_at: HOUR_AGO,
  }).session;
  return { ...row, recent_sent: recentSent, recent_received: 0 };
}

describe('the live sessions', () => {
  it('rank by the rate of the last interval, which is zero after two silent ones', () => {
    const live = new LiveSessions();
    live.apply(event('a', 'started', NOW_MS, 0));
    live.apply(event('a', 'changed', NOW_MS + 5_000, 5_000));
    live.apply(event('b', 'changed', NOW_MS + 5_000, 50_000));
    live.apply(event('a', 'changed', NOW_MS + 10_000, 105_000));
    const ranked = live.ranked(all, NOW_MS + 11_000);
    expect(ranked.items.map(({ session, sentRate }) => [session.row.session_id, sentRate])).toEqual(
      [
        ['a', 20_000],
        ['b', 10_000],
      ],
    );
    expect(ranked).toMatchObject({ total: 2, sentRate: 30_000 });
    expect(live.ranked(all, NOW_MS + 15_001)).toMatchObject({ total: 2, sentRate: 20_000 });
    expect(live.ranked(all, NOW_MS + 20_001)).toMatchObject({ total: 2, sentRate: 0 });
  });

  it('do not change by an event that comes twice, or late', () => {
    const live = new LiveSessions();
    live.apply(event('a', 'changed', NOW_MS + 5_000, 5_000));
    live.apply(event('a', 'changed', NOW_MS + 10_000, 55_000));
    live.apply(event('a', 'changed', NOW_MS + 10_000, 55_000));
    live.apply(event('a', 'changed', NOW_MS + 5_000, 5_000));
    expect(live.ranked(all, NOW_MS + 10_000)).toMatchObject({ total: 1, sentRate: 10_000 });
  });

  it('do not come back from rows that were read before they ended', () => {
    const live = new LiveSessions();
    live.beginLoad();
    live.apply(event('a', 'closed', NOW_MS + 5_000, 5_000));
    live.load([stored(NOW_MS, 0)], MINUTES);
    expect(live.size).toBe(0);
    live.load([stored(NOW_MS, 0)], MINUTES);
    expect(live.size).toBe(1);
  });

  it('have the rate of their recent minutes until they report again', () => {
    const live = new LiveSessions();
    live.load([stored(NOW_MS - 5_000, 900_000)], MINUTES);
    expect(live.ranked(all, NOW_MS)).toMatchObject({ sentRate: 10_000, receivedRate: 0 });
    // Silence for two intervals is as silent as after a report.
    expect(live.ranked(all, NOW_MS + 5_001)).toMatchObject({ sentRate: 0 });
    live.apply(event('a', 'changed', NOW_MS, 1_000_000));
    expect(live.ranked(all, NOW_MS)).toMatchObject({ sentRate: 20_000 });
  });

  it('have the rate of their last interval if they reported while their rows were read', () => {
    const live = new LiveSessions();
    live.beginLoad();
    live.apply(event('a', 'changed', NOW_MS + 5_000, 1_000_000, { started_at: HOUR_AGO }));
    live.load([stored(NOW_MS, 0)], MINUTES);
    expect(live.ranked(all, NOW_MS + 5_000)).toMatchObject({ total: 1, sentRate: 20_000 });
  });

  it('leave after minutes without events', () => {
    const live = new LiveSessions();
    live.apply(event('a', 'started', NOW_MS, 0));
    live.expire(NOW_MS + UNHEARD_MAX_MS);
    expect(live.size).toBe(1);
    live.expire(NOW_MS + UNHEARD_MAX_MS + 1);
    expect(live.size).toBe(0);
  });

  it('give the same top of many as a sort of all, in every order', () => {
    const live = new LiveSessions();
    const count = 2_000;
    for (let i = 0; i < count; i += 1) {
      const startedMs = NOW_MS - ((i * 7_919) % count) * 10;
      const changes = { started_at: new Date(startedMs).toISOString() };
      live.apply(event(`s${i}`, 'changed', NOW_MS + 1_000, (i * 104_729) % count, changes));
    }
    const open = live.ranked({ ...all, limit: count }, NOW_MS + 1_000).items;
    for (const sort of ['rate', 'bytes', 'started_at', 'duration_ms'] as const) {
      const keyOf = ({ session, sentRate }: (typeof open)[number]) =>
        ({
          rate: sentRate,
          bytes: session.row.bytes_sent,
          started_at: session.startedMs,
          duration_ms: -session.startedMs,
        })[sort];
      const expected = open.map(keyOf).toSorted((a, b) => b - a);
      const ranked = live.ranked({ ...all, sort, limit: 25 }, NOW_MS + 1_000);
      expect(ranked.items.map(keyOf)).toEqual(expected.slice(0, 25));
      expect(ranked.total).toBe(count);
    }
  });
});
