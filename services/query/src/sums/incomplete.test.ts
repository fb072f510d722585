import { DAY_MS, HOUR_MS } from '@sockscope/schemas/sums';
import { describe, expect, it } from 'vitest';
import { incompleteMinutes } from './incomplete.js';
import { planOf } from './plan.js';
import type { Coverage } from './plan.js';

const NOW_MS = Date.parse('2026-06-01T00:00:00Z');
/** A year of sessions, ninety days of minutes and of pairs by the hour. */
const kept = {
  sessionsFromMs: NOW_MS - 365 * DAY_MS,
  minutesFromMs: NOW_MS - 90 * DAY_MS,
  pairHoursFromMs: NOW_MS - 90 * DAY_MS,
};
const coverage: Coverage = { rollups: true, dirtyHours: [], newestMs: null, ...kept };

describe('minutes that are gone', () => {
  it('are those of hours that a zone with half hours cuts', () => {
    const fromMs = NOW_MS - 120 * DAY_MS - 5.5 * HOUR_MS;
    const range = { fromMs, toMs: fromMs + 10 * DAY_MS };
    const cuts = Array.from({ length: 10 }, (_, i) => fromMs + i * DAY_MS);
    expect(incompleteMinutes(planOf(range, coverage, cuts), false, kept)).toBe(10 * 60);
    expect(incompleteMinutes(planOf(range, coverage), false, kept)).toBe(0);
  });

  it('are all that lie so far back, where no sums can answer', () => {
    const range = { fromMs: NOW_MS - 100 * DAY_MS, toMs: NOW_MS - 80 * DAY_MS };
    const plan = planOf(range, { ...coverage, rollups: false });
    expect(incompleteMinutes(plan, false, kept)).toBe(10 * 24 * 60);
  });

  it('are whole hours of pairs, where days do not fit', () => {
    const range = { fromMs: NOW_MS - 100 * DAY_MS - HOUR_MS, toMs: NOW_MS - 98 * DAY_MS };
    const plan = planOf(range, coverage);
    expect(incompleteMinutes(plan, true, kept)).toBe(60);
    expect(incompleteMinutes(plan, false, kept)).toBe(0);
  });

  it('are none before the first session, nor where nothing has been deleted yet', () => {
    const range = { fromMs: NOW_MS - 400 * DAY_MS - 1, toMs: NOW_MS };
    const young = {
      sessionsFromMs: NOW_MS - 30 * DAY_MS,
      minutesFromMs: NOW_MS - 30 * DAY_MS + HOUR_MS,
      pairHoursFromMs: NOW_MS - 30 * DAY_MS,
    };
    const plan = planOf(range, { ...coverage, rollups: false, minutesFromMs: young.minutesFromMs });
    expect(incompleteMinutes(plan, true, young)).toBe(0);
    const empty = { sessionsFromMs: null, minutesFromMs: null, pairHoursFromMs: null };
    expect(incompleteMinutes(plan, true, empty)).toBe(0);
  });
});
