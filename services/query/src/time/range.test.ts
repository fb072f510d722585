import { describe, expect, it } from 'vitest';
import { ProblemError } from '../problems/problem.js';
import { rangeOf, rangeOfDays } from './range.js';
import { periodBefore } from '../questions/stats/stats.js';

const NOW_MS = Date.parse('2026-05-04T12:00:00.000Z');
const ms = (text: string) => Date.parse(text);

describe('a range', () => {
  it('is no longer than allowed where only its beginning was given, too', () => {
    const long = { from: ms('1990-01-01T00:00:00Z'), time_zone: 'UTC' };
    expect(() => rangeOf(long, NOW_MS)).toThrow(ProblemError);
    expect(() => rangeOfDays(long, 30, NOW_MS)).toThrow(ProblemError);
    expect(rangeOf({ ...long, to: ms('1999-01-01T00:00:00Z') }, NOW_MS).fromMs).toBe(long.from);
  });

  it('does not begin before 1970, whose times no table holds', () => {
    const to = ms('1970-01-01T01:00:00Z');
    expect(rangeOf({ to, time_zone: 'America/New_York' }, NOW_MS)).toEqual({ fromMs: 0, toMs: to });
    expect(rangeOfDays({ to, time_zone: 'UTC' }, 30, NOW_MS)).toEqual({ fromMs: 0, toMs: to });
  });
});

describe('the period before', () => {
  it.each([
    ['1970-01-01T00:00:00Z', '1970-01-02T00:00:00Z', 0, 1],
    ['1970-01-02T00:00:00Z', '1970-02-01T00:00:00Z', 0, 86_400_000],
  ])('of %s to %s lies after 1970 and is not empty', (from, to, fromMs, toMs) => {
    const range = { fromMs: ms(from), toMs: ms(to) };
    expect(periodBefore({ from: range.fromMs, to: range.toMs, time_zone: 'UTC' }, range)).toEqual({
      fromMs,
      toMs,
    });
  });
});
