import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { momentsOf, offsetMinutes, showSpan, showTime, withOffset } from './times.js';

const WARSAW = 'Europe/Warsaw';

afterEach(() => {
  vi.unstubAllEnvs();
});

/** The zone of the page is meant, wherever the browser stands. */
describe.each(['UTC', WARSAW])('times in a zone, on a machine in %s', (machine) => {
  beforeEach(() => {
    vi.stubEnv('TZ', machine);
  });

  test('follow the zone across both changes of its clock', () => {
    // Clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 to 02:00 on 25 October 2026.
    const spring = Date.UTC(2026, 2, 29, 1);
    expect(showTime(WARSAW, spring - 1_000)).toBe('2026-03-29 01:59:59');
    expect(showTime(WARSAW, spring)).toBe('2026-03-29 03:00:00');
    const autumn = Date.UTC(2026, 9, 25, 1);
    expect(withOffset(WARSAW, autumn - 1_000)).toBe('2026-10-25T02:59:59+02:00');
    expect(withOffset(WARSAW, autumn)).toBe('2026-10-25T02:00:00+01:00');
  });

  test('know half-hour zones and moments before 1970', () => {
    expect(offsetMinutes('Asia/Kolkata', 0)).toBe(330);
    expect(withOffset('UTC', -1_500)).toBe('1969-12-31T23:59:58Z');
  });

  test('come back from the wall clock: twice after it was set back, never in the hour that it skipped', () => {
    const at = (month: number, day: number, hour: number, minute = 0) =>
      momentsOf(WARSAW, { year: 2026, month, day, hour, minute, second: 0 });
    expect(at(3, 29, 0)).toEqual([Date.UTC(2026, 2, 28, 23)]);
    expect(at(10, 25, 2, 30)).toEqual([Date.UTC(2026, 9, 25, 0, 30), Date.UTC(2026, 9, 25, 1, 30)]);
    expect(at(3, 29, 2, 30)).toEqual([]);
    expect(at(3, 29, 3)).toEqual([Date.UTC(2026, 2, 29, 1)]);
  });
});

test('a range is named in words that fit the sentence of its language', () => {
  expect(['15m', '1h', '24h', '7d'].map((span) => showSpan(span, 'en'))).toEqual([
    '15 minutes',
    '1 hour',
    '24 hours',
    '7 days',
  ]);
  expect(['1h', '7d'].map((span) => showSpan(span, 'pl'))).toEqual(['1 godz.', '7 dni']);
  expect(showSpan('soon', 'en')).toBe('soon');
});
