import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { automaticInterval, cutRange, INTERVALS } from './intervals.js';
import type { Interval } from './intervals.js';
import { momentOf, startOfDay, wallOf } from './zone.js';

const at = (text: string) => Date.parse(text);
const iso = (ms: number) => new Date(ms).toISOString();

/** Half and quarter hours, changes at midnight, a day that was skipped, half an hour of daylight saving. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'America/Sao_Paulo',
  'Africa/Cairo',
  'Australia/Lord_Howe',
  'Pacific/Apia',
];
const zone = fc.constantFrom(...ZONES);
const moment = fc.integer({ min: at('2005-01-01'), max: at('2035-01-01') });

const span = (fromMs: number, toMs: number) => ({ fromMs, toMs });

describe('startOfDay', () => {
  it.each([
    ['2026-03-29T12:00:00Z', 'Europe/Berlin', '2026-03-28T23:00:00.000Z'],
    ['2026-03-30T12:00:00Z', 'Europe/Berlin', '2026-03-29T22:00:00.000Z'],
    ['2026-10-25T23:30:00Z', 'Europe/Berlin', '2026-10-25T23:00:00.000Z'],
    ['2026-01-31T18:29:59Z', 'Asia/Kolkata', '2026-01-30T18:30:00.000Z'],
    // The clock jumps from 23:59:59 to 01:00: the day begins with the jump.
    ['2018-11-04T12:00:00Z', 'America/Sao_Paulo', '2018-11-04T03:00:00.000Z'],
    // 30 December 2011 did not exist there.
    ['2011-12-31T05:00:00Z', 'Pacific/Apia', '2011-12-30T10:00:00.000Z'],
  ])('of %s in %s is %s', (ms, name, expected) => {
    expect(iso(startOfDay(at(ms), name))).toBe(expected);
  });

  it('is the first moment whose wall clock shows that date', () => {
    fc.assert(
      fc.property(moment, zone, (ms, name) => {
        const start = startOfDay(ms, name);
        const date = (t: number) => iso(wallOf(t, name).getTime()).slice(0, 10);
        expect(start).toBeLessThanOrEqual(ms);
        expect(date(start)).toBe(date(ms));
        expect(date(start - 1)).not.toBe(date(ms));
      }),
      { numRuns: 500 },
    );
  });
});

describe('momentOf', () => {
  it('inverts wallOf, except for a repeated hour, of which it takes the first', () => {
    fc.assert(
      fc.property(moment, zone, (ms, name) => {
        const second = ms - (ms % 1_000);
        const wall = wallOf(second, name).getTime();
        const found = momentOf(wall, name);
        expect(found).toBeLessThanOrEqual(second);
        expect(wallOf(found, name).getTime()).toBe(wall);
      }),
      { numRuns: 500 },
    );
  });
});

describe('cutRange', () => {
  it('follows daylight saving: days of 23 and 25 hours', () => {
    const days = cutRange(
      span(at('2026-03-27T23:00:00Z'), at('2026-03-31')),
      '1d',
      'Europe/Berlin',
      99,
    );
    expect(days.map(iso)).toEqual([
      '2026-03-27T23:00:00.000Z',
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
      '2026-03-30T22:00:00.000Z',
    ]);
  });

  it('cuts hours on the wall clock if it changes by half an hour', () => {
    // 02:00 becomes 01:30.
    const from = at('2026-04-04T13:00:00Z');
    const hours = cutRange(span(from, at('2026-04-04T17:00:00Z')), '1h', 'Australia/Lord_Howe', 99);
    expect(hours.map(iso)).toEqual([
      '2026-04-04T13:00:00.000Z',
      '2026-04-04T14:00:00.000Z',
      '2026-04-04T15:00:00.000Z',
      '2026-04-04T15:30:00.000Z',
      '2026-04-04T16:30:00.000Z',
    ]);
  });

  it('cuts weeks on Monday and months on the first', () => {
    const from = at('2026-01-14T05:00:00Z');
    expect(cutRange(span(from, at('2026-02-01')), '1w', 'UTC', 99).map(iso)).toEqual([
      '2026-01-14T05:00:00.000Z',
      '2026-01-19T00:00:00.000Z',
      '2026-01-26T00:00:00.000Z',
    ]);
    expect(cutRange(span(from, at('2026-03-02')), '1mo', 'UTC', 99).map(iso)).toEqual([
      '2026-01-14T05:00:00.000Z',
      '2026-02-01T00:00:00.000Z',
      '2026-03-01T00:00:00.000Z',
    ]);
  });

  it('gives nothing if there would be more pieces than allowed', () => {
    expect(cutRange(span(0, 10 * 60_000), '1m', 'UTC', 9)).toEqual([]);
    expect(cutRange(span(0, 10 * 60_000), '1m', 'UTC', 10)).toHaveLength(10);
  });

  it('rises strictly, stays within the range, and leaves no piece much longer than its interval', () => {
    const interval = fc.constantFrom(...(Object.keys(INTERVALS) as Interval[]));
    fc.assert(
      fc.property(moment, fc.integer({ min: 1, max: 100 }), interval, zone, (from, n, name, tz) => {
        const to = from + Math.floor((INTERVALS[name] * n) / 2);
        const cuts = cutRange(span(from, to), name, tz, 1_000);
        expect(cuts[0]).toBe(from);
        const ends = [...cuts.slice(1), to];
        cuts.forEach((cut, i) => {
          const length = (ends[i] ?? Number.NaN) - cut;
          expect(length).toBeGreaterThan(0);
          // A month has up to 31 days, and a clock may go back by an hour, or by a whole day.
          expect(length).toBeLessThanOrEqual(INTERVALS[name] + 2 * 86_400_000);
        });
      }),
      { numRuns: 300 },
    );
  });
});

describe('automaticInterval', () => {
  it.each([
    [3_600_000, '1m'],
    [86_400_000, '15m'],
    [30 * 86_400_000, '6h'],
    [365 * 86_400_000, '1w'],
    [3_650 * 86_400_000, '1mo'],
  ])('of a range of %d ms is %s', (length, expected) => {
    expect(automaticInterval(span(0, length), 'UTC', 120)).toBe(expected);
  });

  it.each([
    [2, 'UTC', 500, '15m'],
    [7, 'UTC', 500, '1h'],
    [2, 'Asia/Kolkata', 121, '30m'],
    [7, 'Asia/Kolkata', 121, '6h'],
    [27, 'Asia/Kolkata', 121, '1d'],
  ])(
    'of %d days in the zone %s, at most %d points, is one that sums answer: %s',
    (days, place, points, expected) => {
      const fromMs = Date.parse('2026-03-05T00:00:00Z');
      const range = span(fromMs, fromMs + days * 86_400_000);
      expect(automaticInterval(range, place, points)).toBe(expected);
    },
  );

  it('counts the pieces at both ends of a range that begins in the middle of one', () => {
    const [fromMs, minutes] = [30_000, 1_500];
    const interval = automaticInterval(span(fromMs, fromMs + minutes * 60_000), 'UTC', minutes);
    expect(interval).toBe('5m');
    expect(automaticInterval(span(0, minutes * 60_000), 'UTC', minutes)).toBe('1m');
  });
});
