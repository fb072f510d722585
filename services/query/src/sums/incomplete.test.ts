import { DAY_MS, HOUR_MS } from '@sockscope/schemas/sums';
import { describe, expect, it } from 'vitest';
import { incompleteMinutes } from './incomplete.js';
import { planOf } from './plan.js';
import type { Coverage, Plan } from './plan.js';

const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
/** A year of sums, half a year of sessions, ninety days of minutes and of pairs by the hour. */
const kept = {
  firstMs: NOW_MS - 365 * DAY_MS,
  sessionsGoneMs: NOW_MS - 180 * DAY_MS,
  minutesGoneMs: NOW_MS - 90 * DAY_MS,
  hoursGoneMs: null,
  pairHoursGoneMs: NOW_MS - 90 * DAY_MS,
};
const coverage: Coverage = {
  rollups: true,
  dirty: [],
  slices: [],
  newestMs: null,
  emptyFromMs: null,
};
const exactly = { ...coverage, rollups: false };
const bothOf = (plan: Plan) => ({ counted: plan, moved: plan });

describe('minutes that are gone', () => {
  it('are minutes of traffic that are too old, if no sums can answer', () => {
    const range = { fromMs: NOW_MS - 100 * DAY_MS, toMs: NOW_MS - 80 * DAY_MS };
    expect(incompleteMinutes(bothOf(planOf(range, exactly)), false, kept)).toBe(10 * 24 * 60);
  });

  it('are none if bytes are read from sums by the hour', () => {
    const range = { fromMs: NOW_MS - 120 * DAY_MS, toMs: NOW_MS - 110 * DAY_MS };
    const cuts = [range.fromMs + 5.5 * HOUR_MS];
    const counted = planOf(range, coverage, { cuts, goneMs: kept.sessionsGoneMs });
    const moved = planOf(range, coverage, { cuts, goneMs: kept.minutesGoneMs });
    expect(counted.exact).not.toEqual([]);
    expect(incompleteMinutes({ counted, moved }, false, kept)).toBe(0);
  });

  it('are whole hours of pairs, if days do not fit', () => {
    const range = { fromMs: NOW_MS - 100 * DAY_MS - HOUR_MS, toMs: NOW_MS - 98 * DAY_MS };
    const plan = bothOf(planOf(range, coverage));
    expect(incompleteMinutes(plan, true, kept)).toBe(60);
    expect(incompleteMinutes(plan, false, kept)).toBe(0);
    const fewHours = { ...kept, hoursGoneMs: NOW_MS - 90 * DAY_MS };
    expect(incompleteMinutes(plan, false, fewHours)).toBe(60);
  });

  it('are none before the first session, nor if nothing has been deleted yet', () => {
    const range = { fromMs: NOW_MS - 400 * DAY_MS - 1, toMs: NOW_MS };
    const plan = bothOf(planOf(range, exactly));
    const whole = {
      sessionsGoneMs: null,
      minutesGoneMs: null,
      hoursGoneMs: null,
      pairHoursGoneMs: null,
    };
    expect(incompleteMinutes(plan, true, { firstMs: NOW_MS - 30 * DAY_MS, ...whole })).toBe(0);
    expect(incompleteMinutes(plan, true, { firstMs: null, ...whole })).toBe(0);
  });
});
