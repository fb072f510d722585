import { describe, expect, test } from 'vitest';
import { DEFAULT_RANGE, rangeOf, rangeParams, shift, shiftPeriod } from './range.js';

const NOW = Date.UTC(2026, 2, 29, 12);

describe('the range of a page', () => {
  test('comes back from its URL as it was', () => {
    for (const params of [
      { from: 'now-6h', to: 'now' },
      { from: '2026-03-01T00:00:00.000Z', to: '2026-03-02T00:00:00.000Z' },
      { period: '2026-03' },
      { period: '2026-03-05' },
    ]) {
      expect(rangeParams(rangeOf(new URLSearchParams(params)))).toEqual(params);
    }
  });

  test('is the default if the URL has none or an impossible one', () => {
    for (const query of ['', 'from=now-0h&to=now', 'period=march', `from=${'9'.repeat(99)}`]) {
      expect(rangeOf(new URLSearchParams(query))).toEqual(DEFAULT_RANGE);
    }
  });

  test('moves by its own length', () => {
    const day = rangeOf(new URLSearchParams({ from: 'now-24h', to: 'now' }));
    expect(shift(day, -1, NOW)).toEqual({
      kind: 'between',
      from: '2026-03-27T12:00:00.000Z',
      to: '2026-03-28T12:00:00.000Z',
    });
    expect(shift(shift(day, -1, NOW), 1, NOW)).toEqual({
      kind: 'between',
      from: '2026-03-28T12:00:00.000Z',
      to: '2026-03-29T12:00:00.000Z',
    });
  });

  test('moves by calendar months and days over the end of a year', () => {
    expect(shiftPeriod('2026-01', -1)).toBe('2025-12');
    expect(shiftPeriod('2026-12-31', 1)).toBe('2027-01-01');
    expect(shiftPeriod('2026-03-01', -1)).toBe('2026-02-28');
  });
});
