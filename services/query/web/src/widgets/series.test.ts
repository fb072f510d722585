import { expect, test } from 'vitest';
import { offsetMinutes } from '../format/times.js';
import { linesOf, stacked, summaryOf, timeStep, timeTicks } from './series.js';

test('a stack adds each series to those before it, and mirrored ones apart', () => {
  const values = stacked([
    { label: 'a', colour: 'sent', values: [1, 2] },
    { label: 'b', colour: 'received', values: [5, null], isMirrored: true },
    { label: 'c', colour: 'sent', values: [10, 10] },
  ]).map((each) => each.values);
  expect(values).toEqual([
    [1, 2],
    [5, 0],
    [11, 12],
  ]);
});

test('a summary leaves out unknown values', () => {
  expect(summaryOf([null, 1, 3, null])).toEqual({ min: 1, mean: 2, max: 3, p95: 3 });
  expect(summaryOf([null])).toBeNull();
});

test('ticks fall on whole hours of the zone on both days of its clock change', () => {
  const warsaw = (ms: number) => offsetMinutes('Europe/Warsaw', ms);
  for (const day of [Date.UTC(2026, 2, 28, 23), Date.UTC(2026, 9, 24, 22)]) {
    const ticks = timeTicks(day, day + 26 * 3_600_000, 3 * 3_600_000, warsaw);
    expect(ticks.length).toBeGreaterThan(7);
    for (const tick of ticks) expect((tick + warsaw(tick) * 60_000) % 3_600_000).toBe(0);
  }
  expect(timeStep(0, 86_400_000, 8)).toBe(10_800_000);
});

test('the way to a bucket that is not over is dashed, and the way to complete buckets is not', () => {
  const series = [{ label: 'a', colour: 'sent', values: [1, 2, 3] }];
  expect(linesOf(series, false)).toMatchObject([{ values: [1, 2, 3], isDashed: false }]);
  expect(linesOf(series, true)).toMatchObject([
    { values: [1, 2, null], isDashed: false },
    { values: [null, 2, 3], isDashed: true },
  ]);
  const before = [{ label: 'a', colour: 'sent', values: [1, 2, 3], isBefore: true }];
  expect(linesOf(before, true)).toMatchObject([{ values: [1, 2, 3], isDashed: true }]);
});
