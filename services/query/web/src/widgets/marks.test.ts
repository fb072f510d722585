import { expect, it } from 'vitest';
import { notesAt } from './marks.js';
import type { Note } from './marks.js';

const note = (starts_at: number, ends_at: number | null = null): Note => ({
  starts_at: new Date(starts_at).toISOString(),
  ends_at: ends_at === null ? null : new Date(ends_at).toISOString(),
  text: `${starts_at}`,
});

it('a bucket has the moments in it and the ranges that reach into it, half-open', () => {
  const times = [0, 100, 200];
  const moment = note(100);
  const range = note(50, 200);
  const last = note(299);
  const all = [moment, range, last, note(300)];
  expect(times.map((_, at) => notesAt(all, times, at))).toEqual([[range], [moment, range], [last]]);
});
