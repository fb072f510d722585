import { parseMoment } from '@sockscope/schemas/api';
import { describe, expect, it } from 'vitest';
import { ProblemError } from '../problems/problem.js';
import { momentMs, periodSpan } from './moment.js';
import { openRangeOf, periodBefore, rangeOf, rangeOfDays } from './range.js';

const NOW_MS = Date.parse('2026-05-04T12:00:00.000Z');
const ms = (text: string) => Date.parse(text);
const iso = (at: number) => new Date(at).toISOString();
const moment = (text: string) => parseMoment(text) ?? expect.unreachable(`${text} is no time`);

describe('a moment', () => {
  it.each([
    ['2026-05-04T14:00:00+02:00', 'UTC', '2026-05-04T12:00:00.000Z'],
    ['2026-05-04 14:00:00.123456 02:00', 'UTC', '2026-05-04T12:00:00.123Z'],
    ['1777896000000', 'UTC', '2026-05-04T12:00:00.000Z'],
    ['2026-03-05', 'UTC', '2026-03-05T00:00:00.000Z'],
    ['2026-03-05', 'Europe/Berlin', '2026-03-04T23:00:00.000Z'],
    ['2026-03-05', 'Asia/Kolkata', '2026-03-04T18:30:00.000Z'],
    ['now', 'UTC', '2026-05-04T12:00:00.000Z'],
    ['now-24h', 'Europe/Berlin', '2026-05-03T12:00:00.000Z'],
    ['now/d', 'Europe/Berlin', '2026-05-03T22:00:00.000Z'],
    ['now/h', 'Asia/Kathmandu', '2026-05-04T11:15:00.000Z'],
    ['now/w', 'Europe/Berlin', '2026-05-03T22:00:00.000Z'],
    ['now/M', 'Europe/Berlin', '2026-04-30T22:00:00.000Z'],
    ['now-1M/M', 'Europe/Berlin', '2026-03-31T22:00:00.000Z'],
    ['now/y', 'Europe/Berlin', '2025-12-31T23:00:00.000Z'],
    // Noon stays noon: the clock was put forward on 29 March.
    ['now-40d', 'Europe/Berlin', '2026-03-25T13:00:00.000Z'],
    ['now-2M', 'Europe/Berlin', '2026-03-04T13:00:00.000Z'],
  ])('%s in %s is %s', (text, zone, expected) => {
    expect(iso(momentMs(moment(text), NOW_MS, zone))).toBe(expected);
  });

  it.each([
    '2026-05-04T12:00:00',
    '2026-02-30',
    '2026-13-01',
    '2026-05-04T24:00:00Z',
    'today',
    'now-',
    'now+1h',
    'now/x',
    '2200-01-01',
    '',
  ])('is not %s', (text) => {
    expect(parseMoment(text)).toBeNull();
  });
});

describe('a period', () => {
  it.each([
    [{ unit: 'M', date: '2026-03-01' }, 'Europe/Berlin', '2026-02-28T23:00', '2026-03-31T22:00'],
    [{ unit: 'd', date: '2026-03-29' }, 'Europe/Berlin', '2026-03-28T23:00', '2026-03-29T22:00'],
    [{ unit: 'M', date: '2026-12-01' }, 'UTC', '2026-12-01T00:00', '2027-01-01T00:00'],
  ] as const)('%o in %s begins at %s and ends at %s', (period, zone, from, to) => {
    const span = periodSpan(period, zone);
    expect([iso(span.fromMs), iso(span.toMs)]).toEqual([`${from}:00.000Z`, `${to}:00.000Z`]);
  });

  it('that a zone has skipped is refused by its name', () => {
    const skipped = { unit: 'd', date: '2011-12-30' } as const;
    for (const range of [rangeOf, openRangeOf]) {
      const ask = (time_zone: string) => range({ period: skipped, time_zone }, NOW_MS);
      expect(() => ask('Pacific/Apia')).toThrow(
        expect.objectContaining({ errors: [expect.objectContaining({ parameter: 'period' })] }),
      );
      expect(ask('UTC')).toMatchObject({ fromMs: ms('2011-12-30') });
    }
  });
});

describe('a range', () => {
  const utc = { time_zone: 'UTC' };

  it('is no longer than allowed if only its beginning was given, too', () => {
    const long = { from: moment('1990-01-01'), ...utc };
    expect(() => rangeOf(long, NOW_MS)).toThrow(ProblemError);
    expect(() => rangeOfDays(long, 30, NOW_MS)).toThrow(ProblemError);
    expect(rangeOf({ ...long, to: moment('1999-01-01') }, NOW_MS).fromMs).toBe(ms('1990-01-01'));
  });

  it('does not begin before 1970, whose times no table holds', () => {
    const to = moment('1970-01-01T01:00:00Z');
    const toMs = ms('1970-01-01T01:00:00Z');
    expect(rangeOf({ to, time_zone: 'America/New_York' }, NOW_MS)).toEqual({ fromMs: 0, toMs });
    expect(rangeOfDays({ to, ...utc }, 30, NOW_MS)).toEqual({ fromMs: 0, toMs });
  });

  it('ends after it begins', () => {
    const day = moment('2026-05-01');
    expect(() => openRangeOf({ from: day, to: day, ...utc }, NOW_MS)).toThrow(ProblemError);
  });
});

describe('the period before', () => {
  it.each([
    ['1970-01-01T00:00:00Z', '1970-01-02T00:00:00Z', '1970-01-01T00:00:00.000Z'],
    ['1970-01-02T00:00:00Z', '1970-02-01T00:00:00Z', '1970-01-01T00:00:00.000Z'],
  ])('of %s to %s lies after 1970 and is not empty', (from, to, expected) => {
    const before = periodBefore({ fromMs: ms(from), toMs: ms(to) }, 'UTC');
    expect(iso(before.fromMs)).toBe(expected);
    expect(before.toMs).toBeGreaterThan(before.fromMs);
  });

  it.each([
    // Whole months, in a zone across the change of the clock.
    [
      '2026-02-28T23:00',
      '2026-03-31T22:00',
      'Europe/Berlin',
      '2026-01-31T23:00',
      '2026-02-28T23:00',
    ],
    ['2026-01-01T00:00', '2026-04-01T00:00', 'UTC', '2025-10-01T00:00', '2026-01-01T00:00'],
    // A month so far.
    ['2026-03-01T00:00', '2026-03-31T12:00', 'UTC', '2026-02-01T00:00', '2026-02-28T12:00'],
    // A day so far, though it is the first of a month.
    ['2026-05-01T00:00', '2026-05-01T12:00', 'UTC', '2026-04-30T00:00', '2026-04-30T12:00'],
    // Days, of which one has 23 hours.
    [
      '2026-03-28T23:00',
      '2026-03-29T22:00',
      'Europe/Berlin',
      '2026-03-27T23:00',
      '2026-03-28T23:00',
    ],
    ['2026-05-02T00:00', '2026-05-05T00:00', 'UTC', '2026-04-29T00:00', '2026-05-02T00:00'],
    // Anything else.
    ['2026-05-02T10:00', '2026-05-02T12:30', 'UTC', '2026-05-02T07:30', '2026-05-02T10:00'],
  ])('of %s to %s in %s is %s to %s', (from, to, zone, expectedFrom, expectedTo) => {
    const range = { fromMs: ms(`${from}:00Z`), toMs: ms(`${to}:00Z`) };
    const before = periodBefore(range, zone);
    expect([iso(before.fromMs), iso(before.toMs)]).toEqual([
      `${expectedFrom}:00.000Z`,
      `${expectedTo}:00.000Z`,
    ]);
  });

  it('ends at the same millisecond', () => {
    const range = { fromMs: ms('2026-05-04T00:00:00Z'), toMs: ms('2026-05-04T12:00:00.500Z') };
    expect(iso(periodBefore(range, 'UTC').toMs)).toBe('2026-05-03T12:00:00.500Z');
  });
});
