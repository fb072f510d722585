import { describe, expect, it } from 'vitest';
import { nextWeekOf, weekOf } from './calendar.js';

describe('the calendar of sums', () => {
  it.each([
    ['2026-11-22T23:59:59.999Z', '2026-11-16', '2026-11-23'],
    ['2026-11-23T00:00:00.000Z', '2026-11-23', '2026-11-23'],
    ['1970-01-01T00:00:00.000Z', '1969-12-29', '1970-01-05'],
  ])('an ISO week begins on the Monday at or before %s', (at, week, next) => {
    expect(new Date(weekOf(Date.parse(at))).toISOString().slice(0, 10)).toBe(week);
    expect(new Date(nextWeekOf(Date.parse(at))).toISOString().slice(0, 10)).toBe(next);
  });
});
