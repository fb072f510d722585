import { expect, test } from 'vitest';
import { byHour } from './heatmap.js';

test('a heatmap follows the zone: the hour that comes twice is added up, and half-hour zones have their own hours', () => {
  const autumn = Date.UTC(2026, 9, 25, 0);
  const sums = byHour([autumn, autumn + 3_600_000], [3, 4], 'Europe/Warsaw');
  expect(sums[2]).toBe(7);
  expect(byHour([Date.UTC(2026, 2, 1, 20)], [1], 'Asia/Kolkata')[24 + 1]).toBe(1);
});
