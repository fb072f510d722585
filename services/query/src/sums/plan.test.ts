import { DAY_MS, HOUR_MS, SLICE_MS } from '@sockscope/schemas/sums';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EXACT_HOURS_MAX, EXACT_SPANS_MAX, planOf, snapped } from './plan.js';
import type { Coverage, Plan, Span } from './plan.js';

const MONDAY_MS = Date.parse('2024-01-01');
const at = (text: string) => Date.parse(text);
/** Hours that changed, in both kinds of sums. */
const dirtyAt = (starts: readonly number[]): Coverage['dirty'] =>
  starts.flatMap((bucketMs) => [
    { span: 'hour', bucketMs },
    { span: 'detail_hour', bucketMs },
  ]);
const clean: Coverage = {
  rollups: true,
  dirty: [],
  slices: [],
  newestMs: null,
  emptyFromMs: null,
};
const span = (from: string, to: string): Span => ({ fromMs: at(from), toMs: at(to) });

describe('planOf', () => {
  it('reads whole days from days, the rest of the hours from hours, the edges exactly', () => {
    expect(planOf(span('2026-01-01T22:30:00Z', '2026-01-04T02:10:00Z'), clean)).toEqual({
      weeks: [],
      days: [span('2026-01-02', '2026-01-04')],
      hours: [
        span('2026-01-01T23:00:00Z', '2026-01-02T00:00:00Z'),
        span('2026-01-04T00:00:00Z', '2026-01-04T02:00:00Z'),
      ],
      slices: [],
      exact: [
        span('2026-01-01T22:30:00Z', '2026-01-01T23:00:00Z'),
        span('2026-01-04T02:00:00Z', '2026-01-04T02:10:00Z'),
      ],
      staleHours: 0,
      resolution: 'minute',
    });
  });

  it('reads a changed hour exactly and the rest of its day by the hour', () => {
    const coverage = { ...clean, dirty: dirtyAt([at('2026-01-02T05:00:00Z'), at('2027-01-01')]) };
    expect(planOf(span('2026-01-01', '2026-01-04'), coverage)).toMatchObject({
      days: [span('2026-01-01', '2026-01-02'), span('2026-01-03', '2026-01-04')],
      hours: [
        span('2026-01-02T00:00:00Z', '2026-01-02T05:00:00Z'),
        span('2026-01-02T06:00:00Z', '2026-01-03T00:00:00Z'),
      ],
      exact: [span('2026-01-02T05:00:00Z', '2026-01-02T06:00:00Z')],
    });
  });

  it('takes all of today if the range ends after the newest event', () => {
    const coverage = { ...clean, emptyFromMs: at('2026-01-02T13:29:58Z') };
    const range = span('2026-01-02', '2026-01-02T13:30:00Z');
    expect(planOf(range, coverage)).toMatchObject({
      days: [span('2026-01-02', '2026-01-03')],
      hours: [],
      exact: [],
    });
    const earlier = planOf(span('2026-01-02', '2026-01-02T13:20:00Z'), coverage);
    expect(earlier.exact).toEqual([span('2026-01-02T13:00:00Z', '2026-01-02T13:20:00Z')]);
  });

  it('reads everything exactly before the first rollup', () => {
    const range = span('2026-01-01', '2026-01-04');
    expect(planOf(range, { ...clean, rollups: false }).exact).toEqual([range]);
  });

  it('never reads expired hours exactly, though they changed or a cut goes through them', () => {
    const goneMs = at('2026-01-01T04:00:00Z');
    const dirtyHours = [at('2026-01-01T02:00:00Z'), at('2026-01-01T05:00:00Z')];
    const cuts = [at('2026-01-01T03:30:00Z')];
    const plan = planOf(
      span('2026-01-01T01:00:00Z', '2026-01-01T07:00:00Z'),
      { ...clean, dirty: dirtyAt(dirtyHours) },
      { cuts, goneMs },
    );
    expect(plan.exact).toEqual([span('2026-01-01T05:00:00Z', '2026-01-01T06:00:00Z')]);
    expect(plan.staleHours).toBe(1);
  });

  it('reads a limited number of changed hours exactly and counts the stale ones', () => {
    const from = at('2026-01-01');
    const dirtyHours = Array.from({ length: EXACT_HOURS_MAX + 5 }, (_, i) => from + i * HOUR_MS);
    const plan = planOf(
      { fromMs: from, toMs: from + 10 * DAY_MS },
      { ...clean, dirty: dirtyAt(dirtyHours) },
    );
    expect(plan.staleHours).toBe(5);
    const newest = { fromMs: from + 5 * HOUR_MS, toMs: from + (EXACT_HOURS_MAX + 5) * HOUR_MS };
    expect(plan.exact).toEqual([newest]);
  });

  it('uses existing sums of weeks, around a changed day and a cut', () => {
    const range = { fromMs: at('2026-01-01'), toMs: at('2026-02-12') };
    const dirtyHours = [at('2026-01-14T07:00:00Z')];
    const cuts = [at('2026-01-26'), at('2026-02-04')];
    const plan = planOf(
      range,
      { ...clean, dirty: dirtyAt(dirtyHours) },
      { cuts, byDimension: true },
    );
    expect(plan.weeks).toEqual([
      span('2026-01-05', '2026-01-12'),
      span('2026-01-19', '2026-02-02'),
    ]);
    expect(plan.days).toEqual([
      span('2026-01-01', '2026-01-05'),
      span('2026-01-12', '2026-01-14'),
      span('2026-01-15', '2026-01-19'),
      span('2026-02-02', '2026-02-12'),
    ]);
    expect(planOf(range, { ...clean, dirty: dirtyAt(dirtyHours) }, { cuts }).weeks).toEqual([]);
  });

  it('covers each moment of the range once, and never uses sums that are not finished', () => {
    const base = at('2026-01-01');
    const minutes = fc.integer({ min: 0, max: 24 * 24 * 60 });
    fc.assert(
      fc.property(
        minutes,
        minutes,
        fc.array(fc.integer({ min: -5, max: 24 * 24 + 5 }), { maxLength: 12 }),
        fc.oneof(
          fc.array(minutes, { maxLength: 12 }),
          fc.array(minutes, { minLength: 60, maxLength: 120 }),
        ),
        fc.array(fc.integer({ min: 0, max: 24 * 24 * 6 }), { maxLength: 40 }),
        fc.boolean(),
        (a, b, dirty, cutMinutes, summed, byDimension) => {
          fc.pre(a !== b);
          const range = {
            fromMs: base + Math.min(a, b) * 60_000,
            toMs: base + Math.max(a, b) * 60_000,
          };
          const dirtyHours = dirty.map((hour) => base + hour * HOUR_MS);
          const cuts = cutMinutes
            .map((minute) => base + minute * 60_000)
            .filter((ms) => ms > range.fromMs && ms < range.toMs)
            .toSorted((x, y) => x - y);
          const slices = summed.map((slice) => base + slice * SLICE_MS);
          const coverage = { ...clean, dirty: dirtyAt(dirtyHours), slices };
          const plan = planOf(range, coverage, { cuts, byDimension });
          expect(total(plan)).toBe(range.toMs - range.fromMs);
          for (const [spans, step] of [
            [plan.weeks, 7 * DAY_MS],
            [plan.days, DAY_MS],
            [plan.hours, HOUR_MS],
          ] as const) {
            for (const { fromMs, toMs } of spans) {
              // Hours and days too are whole from any Monday on.
              expect([(fromMs - MONDAY_MS) % step, (toMs - MONDAY_MS) % step]).toEqual([0, 0]);
              for (const hour of dirtyHours) expect(hour >= fromMs && hour < toMs).toBe(false);
              for (let cell = fromMs; cell < toMs; cell += step) {
                expect(cuts.some((cut) => cut > cell && cut < cell + step)).toBe(false);
              }
            }
          }
          for (const { fromMs, toMs } of plan.slices) {
            expect(byDimension).toBe(true);
            for (let cell = fromMs; cell < toMs; cell += SLICE_MS) {
              expect(slices).toContain(cell);
              expect(cuts.some((cut) => cut > cell && cut < cell + SLICE_MS)).toBe(false);
            }
          }
          expect(overlaps(plan)).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('reads few spans exactly, however many hours the cuts of a series go through', () => {
    const range = span('2026-01-01', '2026-02-01');
    const cuts = Array.from({ length: 200 }, (_, i) => range.fromMs + (3 * i + 1.5) * HOUR_MS);
    const plan = planOf(
      range,
      { ...clean, dirty: dirtyAt([range.fromMs + 10 * HOUR_MS]) },
      { cuts },
    );
    expect(plan.exact).toHaveLength(EXACT_SPANS_MAX);
    expect(plan.staleHours).toBe(0);
    expect(total(plan)).toBe(range.toMs - range.fromMs);
  });

  /** Every slice of a range. */
  const slicesOf = ({ fromMs, toMs }: Span) =>
    Array.from({ length: (toMs - fromMs) / SLICE_MS }, (_, i) => fromMs + i * SLICE_MS);
  const allDay = slicesOf(span('2026-01-02', '2026-01-03'));

  it('reads edges and changed hours from slices, and exactly only what they lack', () => {
    const coverage = {
      ...clean,
      dirty: dirtyAt([at('2026-01-02T05:00:00Z')]),
      slices: allDay.filter((slice) => slice !== at('2026-01-02T05:50:00Z')),
    };
    const range = span('2026-01-02T03:25:00Z', '2026-01-02T07:33:00Z');
    expect(planOf(range, coverage, { byDimension: true })).toMatchObject({
      hours: [
        span('2026-01-02T04:00:00Z', '2026-01-02T05:00:00Z'),
        span('2026-01-02T06:00:00Z', '2026-01-02T07:00:00Z'),
      ],
      slices: [
        span('2026-01-02T03:30:00Z', '2026-01-02T04:00:00Z'),
        span('2026-01-02T05:00:00Z', '2026-01-02T05:50:00Z'),
        span('2026-01-02T07:00:00Z', '2026-01-02T07:30:00Z'),
      ],
      exact: [
        span('2026-01-02T03:25:00Z', '2026-01-02T03:30:00Z'),
        span('2026-01-02T05:50:00Z', '2026-01-02T06:00:00Z'),
        span('2026-01-02T07:30:00Z', '2026-01-02T07:33:00Z'),
      ],
      resolution: 'minute',
    });
    // Of hours without slices, ends in another slice of the hour may not be in a table of their own.
    const near = (of: Coverage) => planOf(range, of, { byDimension: true }).exact[0]?.nearMs;
    expect(near(coverage)).toBe(at('2026-01-02T03:20:00Z'));
    expect(near({ ...coverage, slices: [at('2026-01-02T05:10:00Z')] })).toBeUndefined();
    expect(planOf(range, coverage).slices).toEqual([]);
    expect(planOf(range, { ...coverage, rollups: false }, { byDimension: true }).slices).toEqual(
      [],
    );
  });

  it('reads a range within an hour from slices', () => {
    const range = span('2026-01-02T03:10:00Z', '2026-01-02T03:50:00Z');
    const plan = planOf(range, { ...clean, slices: allDay }, { byDimension: true });
    expect(plan).toMatchObject({ hours: [], slices: [range], exact: [] });
  });

  it('never reads a slice whose rows may have expired', () => {
    const range = span('2026-01-02T03:10:00Z', '2026-01-02T03:50:00Z');
    const goneMs = at('2026-01-02T03:35:00Z');
    const plan = planOf(range, { ...clean, slices: allDay }, { byDimension: true, goneMs });
    expect(plan.slices).toEqual([span('2026-01-02T03:40:00Z', '2026-01-02T03:50:00Z')]);
  });

  it('reads changed hours as a whole if slices cut them into too many spans', () => {
    const changed = slicesOf(span('2026-01-01', '2026-01-03')).filter((ms) => ms % HOUR_MS === 0);
    const everySecond = changed.flatMap((hour) => [hour + SLICE_MS, hour + 3 * SLICE_MS]);
    const range = span('2026-01-01', '2026-01-03');
    const planWith = (hours: number) =>
      planOf(
        range,
        { ...clean, dirty: dirtyAt(changed.slice(0, hours)), slices: everySecond },
        { byDimension: true },
      );
    expect(planWith(EXACT_SPANS_MAX / 3).slices).not.toEqual([]);
    expect(planWith(EXACT_SPANS_MAX)).toMatchObject({ slices: [], exact: [range] });
  });
});

describe('snapped', () => {
  const MINUTE_MS = 60_000;

  it.each([
    [
      '2026-01-01T00:00:30Z',
      '2026-01-01T00:05:30Z',
      '2026-01-01T00:01:00Z',
      '2026-01-01T00:06:00Z',
    ],
    [
      '2026-01-01T00:00:10Z',
      '2026-01-01T00:00:55Z',
      '2026-01-01T00:00:00Z',
      '2026-01-01T00:01:00Z',
    ],
  ])('%s to %s in minutes is %s to %s', (from, to, expectedFrom, expectedTo) => {
    expect(snapped(span(from, to), MINUTE_MS, null)).toEqual(span(expectedFrom, expectedTo));
  });

  it('moves expired minutes to whole hours', () => {
    const range = span('2026-01-01T00:30:00Z', '2026-01-01T03:30:00Z');
    expect(snapped(range, MINUTE_MS, at('2026-01-01T02:00:00Z'))).toEqual(
      span('2026-01-01T01:00:00Z', '2026-01-01T03:30:00Z'),
    );
  });

  it('counts nothing twice and leaves nothing out between neighbours of a step or more', () => {
    const ms = fc.integer({ min: at('2026-01-01'), max: at('2026-01-03') });
    fc.assert(
      fc.property(ms, ms, ms, (...times) => {
        const [a = 0, b = 0, c = 0] = times.toSorted((x, y) => x - y);
        const goneMs = at('2026-01-02T00:00:00Z');
        fc.pre(b - a >= HOUR_MS && c - b >= HOUR_MS);
        const first = snapped({ fromMs: a, toMs: b }, MINUTE_MS, goneMs);
        expect(snapped({ fromMs: b, toMs: c }, MINUTE_MS, goneMs).fromMs).toBe(first.toMs);
      }),
    );
  });
});

function all(plan: Plan): Span[] {
  return [...plan.weeks, ...plan.days, ...plan.hours, ...plan.slices, ...plan.exact].toSorted(
    (a, b) => a.fromMs - b.fromMs,
  );
}
function total(plan: Plan): number {
  return all(plan).reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
}
function overlaps(plan: Plan): boolean {
  const spans = all(plan);
  return spans.some((each, i) => i > 0 && each.fromMs < (spans[i - 1]?.toMs ?? 0));
}
