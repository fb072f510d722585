/** Longer than 400 lines: each test steps one clock and one outbox, which are made here. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Registry } from '@sockscope/runtime';
import {
  CLOSE_REASONS,
  COUNTER_NAMES,
  fold,
  MINUTE_MS,
  sessionEvent,
  zeroCounters,
} from '@sockscope/schemas';
import type { CloseReason, Counters, SessionEvent, SessionStarted } from '@sockscope/schemas';
import { assumedEnd, deltaOf } from '../events/measurement.js';
import type { Measurement } from '../events/measurement.js';
import type { MakeEvent, OpenSession } from '../events/sink.js';
import { eventOf } from '../events/testing/event-of.js';
import { createSessionClock } from './clock.js';
import { trackingConfig } from './config.js';
import { createSessionMetrics } from './metrics.js';
import type { EventParts, LateHeader, SessionHeader } from '../events/event-parts.js';
import type { Session } from './session.js';
import { createSessionTracker } from './tracker.js';

/** 12:00:00.000 UTC, the start of a minute. */
const NOON = Date.parse('2026-03-14T12:00:00.000Z');

const HEADER: LateHeader & SessionHeader = {
  user: 'alice',
  source_ip: '192.0.2.7',
  source_port: 50_123,
  dest_host: 'www.example.com',
  dest_ip: null,
  dest_port: 443,
  egress_ip: null,
  egress_port: null,
  protocol: 'tcp',
  command: 'connect',
  auth_method: 'password',
  acl_decision: 'allow',
  acl_rule_matched: 'web',
};

const REACHED = { dest_ip: '2001:db8::1', egress_ip: '2001:db8::7', egress_port: 40_112 };

function setUp(startMs: number, settings: Record<string, number> = {}) {
  const time = { wall: startMs, monotonic: 1_000 };
  const events: SessionEvent[] = [];
  const notes: { started: SessionStarted; measurement: Measurement }[] = [];
  const sink = {
    accepting: true,
    emit: (event: EventParts) => events.push(eventOf(event)),
    later: (make: MakeEvent) => events.push(eventOf(make())),
    report: (session: OpenSession, delta: Measurement) =>
      events.push(eventOf(deltaOf(session.started(), delta))),
    note: (session: OpenSession, measurement: Measurement) =>
      notes.push({ started: eventOf(session.started()) as SessionStarted, measurement }),
    release: () => undefined,
    swept: () => undefined,
  };
  const tracker = createSessionTracker(trackingConfig.parse(settings), {
    sink,
    clock: createSessionClock(
      () => time.wall,
      () => time.monotonic,
    ),
    metrics: createSessionMetrics(new Registry()),
    origin: { proxy_id: 'proxy-1', proxy_epoch: startMs },
  });
  return {
    time,
    events,
    notes,
    sink,
    tracker,
    open: (header = HEADER): Session => {
      const session = tracker.open(header, header);
      if (session === null) throw new Error('refused');
      return session;
    },
    /** Both clocks continue, and the sweep comes every 500 ms as it does in life. */
    pass: (ms: number): void => {
      const end = time.wall + ms;
      while (time.wall < end) {
        const step = Math.min(500 - (time.wall % 500), end - time.wall);
        time.wall += step;
        time.monotonic += step;
        if (time.wall % 500 === 0) tracker.sweep();
      }
    },
  };
}

function count(session: Session, traffic: Partial<Counters>): void {
  session.bytesSent += traffic.bytes_sent ?? 0;
  session.bytesReceived += traffic.bytes_received ?? 0;
  session.packetsSent += traffic.packets_sent ?? 0;
  session.packetsReceived += traffic.packets_received ?? 0;
}

/** [type, seconds after noon at which it occurred]. */
function timeline(events: readonly SessionEvent[]): [string, number][] {
  return events.map((e) => [e.type, (Date.parse(e.occurred_at) - NOON) / 1_000]);
}

describe('a session', () => {
  it('begins with a SessionStarted that carries its start in its id', () => {
    const { open, events } = setUp(NOON + 1_234);
    const session = open();
    expect(events).toHaveLength(1);
    expect(sessionEvent.parse(events[0])).toMatchObject({
      type: 'SessionStarted',
      seq: 0,
      session_id: session.session_id,
      started_at: '2026-03-14T12:00:01.234Z',
      bytes_sent: 0,
    });
  });

  it('reports its first traffic after 1 s and then at most every 5 s', () => {
    const { open, events, pass } = setUp(NOON);
    const session = open();
    for (let i = 0; i < 120; i += 1) {
      count(session, { bytes_sent: 10, packets_sent: 1 });
      pass(100);
    }
    expect(timeline(events)).toEqual([
      ['SessionStarted', 0],
      ['TrafficDelta', 1],
      ['TrafficDelta', 6],
      ['TrafficDelta', 11],
    ]);
  });

  it('without traffic is reported every 30 s, with a delta of zero', () => {
    const { open, events, pass } = setUp(NOON + 1_000);
    open();
    pass(75_000);
    expect(timeline(events)).toEqual([
      ['SessionStarted', 1],
      ['TrafficDelta', 31],
      ['TrafficDelta', 61],
    ]);
    expect(events[1]).toMatchObject({ delta: zeroCounters(), minute: zeroCounters() });
  });

  it('cuts an interval at the end of the UTC minute, and counts the next minute from zero', () => {
    const { open, events, pass } = setUp(NOON + 57_000);
    const session = open();
    count(session, { bytes_sent: 100 });
    pass(2_000);
    count(session, { bytes_sent: 20 });
    pass(1_000);
    count(session, { bytes_sent: 3 });
    pass(5_000);
    const deltas = events.slice(1).map((e) => {
      if (e.type === 'SessionStarted') throw new Error('a second start');
      return [e.interval_start, e.interval_end, e.delta.bytes_sent, e.minute.bytes_sent];
    });
    expect(deltas).toEqual([
      ['2026-03-14T12:00:57.000Z', '2026-03-14T12:00:58.000Z', 100, 100],
      ['2026-03-14T12:00:58.000Z', '2026-03-14T12:01:00.000Z', 20, 120],
      ['2026-03-14T12:01:00.000Z', '2026-03-14T12:01:05.000Z', 3, 3],
    ]);
  });

  it('keeps for a crash the facts learned since the start of the session', () => {
    const { open, notes, pass } = setUp(NOON);
    const session = open();
    session.connected({ ...REACHED, acl_rule_matched: 'by-address' }, 3);
    pass(1_000);
    expect(notes.at(-1)?.started).toMatchObject({ ...REACHED, acl_rule_matched: 'by-address' });
  });

  it('ends with a SessionClosed that reports the rest of the traffic', () => {
    const { open, events, pass, tracker } = setUp(NOON);
    const session = open();
    session.connected(
      {
        dest_ip: '198.51.100.4',
        acl_rule_matched: 'by-address',
        egress_ip: '203.0.113.7',
        egress_port: 40_112,
      },
      12.6,
    );
    pass(700);
    count(session, { bytes_sent: 5, bytes_received: 7, packets_sent: 1, packets_received: 2 });
    session.close('upstream_eof', null);
    session.close('idle_timeout', 'ETIMEDOUT');
    expect(events).toHaveLength(2);
    expect(sessionEvent.parse(events[1])).toMatchObject({
      type: 'SessionClosed',
      seq: 1,
      status: 'closed',
      close_reason: 'upstream_eof',
      duration_ms: 700,
      connect_ms: 13,
      dest_ip: '198.51.100.4',
      acl_rule_matched: 'by-address',
      egress_ip: '203.0.113.7',
      egress_port: 40_112,
      delta: { bytes_sent: 5, bytes_received: 7, packets_sent: 1, packets_received: 2 },
      bytes_received: 7,
    });
    expect(tracker.liveCount).toBe(0);
    expect(session.closed).toBe(true);
  });

  it('reads counters that are kept elsewhere before every event', () => {
    const { open, events, pass } = setUp(NOON);
    const session = open();
    let elsewhere = 0;
    session.refreshCounters = () => {
      session.bytesReceived = elsewhere;
    };
    elsewhere = 40;
    pass(1_000);
    elsewhere = 99;
    session.close('client_eof', null);
    expect(events.map((e) => e.bytes_received)).toEqual([0, 40, 99]);
  });

  it('that was blocked after resolving has that decision, and its rule', () => {
    const { open, events } = setUp(NOON);
    const session = open();
    session.blocked('no-metadata', '169.254.169.254');
    session.close('acl_rejected', null);
    expect(sessionEvent.parse(events[1])).toMatchObject({
      acl_decision: 'block',
      acl_rule_matched: 'no-metadata',
      status: 'rejected_by_acl',
    });
  });

  it('is not opened while the sink accepts no session', () => {
    const { tracker, sink, events } = setUp(NOON);
    sink.accepting = false;
    expect(tracker.open(HEADER, HEADER)).toBeNull();
    expect(events).toHaveLength(0);
  });

  it('is visited by an iteration over live sessions while others begin and end', () => {
    const { open, tracker } = setUp(NOON);
    const stay = Array.from({ length: 20 }, () => open());
    const go = Array.from({ length: 20 }, () => open());
    const met = new Set<string>();
    for (const session of tracker.live()) {
      met.add(session.session_id);
      go.pop()?.close('client_eof', null);
      go.shift()?.close('client_eof', null);
      open();
    }
    expect([...stay].filter((session) => !met.has(session.session_id))).toEqual([]);
    expect([...tracker.live()].every((session) => !session.closed)).toBe(true);
    expect(tracker.liveCount).toBe([...tracker.live()].length);
  });

  it('that is open at the end is closed with server_shutdown', () => {
    const { open, events, tracker } = setUp(NOON);
    open();
    open();
    tracker.stop();
    expect(events.filter((e) => e.type === 'SessionClosed').map((e) => e.close_reason)).toEqual([
      'server_shutdown',
      'server_shutdown',
    ]);
  });

  it('keeps the contract when an error code is longer than it allows', () => {
    const { open, events } = setUp(NOON);
    open().close('connect_failed', 'E'.repeat(500));
    expect(sessionEvent.safeParse(events[1]).success).toBe(true);
  });
});

describe('the clock of sessions', () => {
  it('continues at half speed when the wall clock was set back, until that has caught up', () => {
    const time = { wall: NOON, monotonic: 0 };
    const clock = createSessionClock(
      () => time.wall,
      () => time.monotonic,
    );
    expect(clock.now()).toBe(NOON);
    time.wall = NOON - 10_000;
    time.monotonic = 4_000;
    expect(clock.now()).toBe(NOON);
    time.wall = NOON - 6_000;
    time.monotonic = 8_000;
    expect(clock.now()).toBe(NOON + 2_000);
    time.wall = NOON - 2_000;
    time.monotonic = 12_000;
    expect(clock.now()).toBe(NOON + 4_000);
    time.wall = NOON + 30_000;
    time.monotonic = 44_000;
    expect(clock.now()).toBe(NOON + 30_000);
  });

  it('stays within the years that the contract allows', () => {
    const time = { wall: 0 };
    const clock = createSessionClock(
      () => time.wall,
      () => 0,
    );
    expect(new Date(clock.now()).toISOString()).toBe('2020-01-01T00:00:00.000Z');
    time.wall = Number.MAX_SAFE_INTEGER;
    expect(new Date(clock.now()).toISOString()).toBe('2099-12-31T23:59:59.999Z');
  });
});

const amount = fc.oneof(fc.nat(5), fc.nat(5_000_000_000));
const traffic = fc.record({
  bytes_sent: amount,
  bytes_received: amount,
  packets_sent: fc.nat(9),
  packets_received: fc.nat(9),
});
const which = fc.nat(3);
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('open' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('count' as const), which, traffic }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      ms: fc.oneof(fc.nat(900), fc.nat(20_000), fc.constantFrom(1, MINUTE_MS, 30_000, 3_600_000)),
    }),
  },
  // The wall clock alone, forward or back, by seconds or by days.
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('jump' as const),
      ms: fc.oneof(
        fc.integer({ min: -5_000, max: 5_000 }),
        fc.integer({ min: -200_000_000, max: 200_000_000 }),
      ),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('connected' as const), which }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('close' as const),
      which,
      reason: fc.constantFrom<CloseReason>(...CLOSE_REASONS),
    }),
  },
);

describe('for any traffic and any clock', () => {
  it('every event keeps the contract, and the fold returns exactly the counted bytes', () => {
    fc.assert(
      fc.property(fc.nat(200_000), fc.array(step, { maxLength: 80 }), (offset, steps) => {
        const { time, events, notes, tracker, open } = setUp(NOON + offset);
        const sessions: Session[] = [];
        const truth = new Map<string, Counters>();
        const pick = (index: number): Session | undefined =>
          sessions.filter((s) => !s.closed)[index];
        for (const each of steps) {
          switch (each.do) {
            case 'open': {
              const session = open();
              sessions.push(session);
              truth.set(session.session_id, zeroCounters());
              break;
            }
            case 'count': {
              const session = pick(each.which);
              if (session === undefined) break;
              count(session, each.traffic);
              const total = truth.get(session.session_id) ?? zeroCounters();
              for (const name of COUNTER_NAMES) total[name] += each.traffic[name];
              break;
            }
            case 'pass':
              time.wall += each.ms;
              time.monotonic += each.ms;
              break;
            case 'jump':
              time.wall += each.ms;
              break;
            case 'sweep':
              tracker.sweep();
              break;
            case 'connected':
              pick(each.which)?.connected({ ...REACHED, acl_rule_matched: null }, 3);
              break;
            case 'close':
              pick(each.which)?.close(each.reason, 'ECODE');
              break;
          }
        }
        tracker.stop();

        for (const event of events) sessionEvent.parse(event);
        const states = fold(events);
        expect(states.size).toBe(sessions.length);
        for (const [id, total] of truth) {
          const state = states.get(id);
          const own = events.filter((e) => e.session_id === id);
          expect(own.map((e) => e.seq)).toEqual(own.map((_, i) => i));
          expect(state?.row).toMatchObject({ ...total });
          const summed = zeroCounters();
          for (const minute of state?.minutes.values() ?? []) {
            for (const name of COUNTER_NAMES) summed[name] += minute[name];
          }
          expect(summed).toEqual(total);
        }
        // A crash at any moment leaves an end that keeps the contract too, and comes after every event
        // before it.
        for (const { started, measurement } of notes) {
          sessionEvent.parse(assumedEnd({ header: started, measurement }, 0, measurement.at_ms));
        }
      }),
      { numRuns: 300 },
    );
  });
});
