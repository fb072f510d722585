import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DENSE, FILTERED, KEYED, KEYED_UNKNOWN, windows } from './windows.js';
import type { Window } from './windows.js';

const HOUR_MS = 3_600_000;
const ANCHOR_MS = Date.parse('2026-03-01T00:00:00.000Z');

/** All slices, where the n-th holds found[n] sessions. */
function slicesOf(
  range: Window,
  order: 'asc' | 'desc',
  found: readonly number[],
  pace = FILTERED,
): Window[] {
  const slices: Window[] = [];
  const walk = windows({ range, order, anchorMs: ANCHOR_MS, wanted: 50, pace });
  for (
    let next = walk.next(0);
    next.done !== true;
    next = walk.next(found[slices.length - 1] ?? 0)
  ) {
    slices.push(next.value);
  }
  return slices;
}

describe('windows', () => {
  it('together are the range, without a gap and without an overlap, for any number of rows', () => {
    const bound = fc.option(fc.integer({ min: -1_000 * HOUR_MS, max: 1_000 * HOUR_MS }));
    fc.assert(
      fc.property(
        bound,
        bound,
        fc.constantFrom('asc' as const, 'desc' as const),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 8 }),
        fc.constantFrom(DENSE, FILTERED, KEYED, KEYED_UNKNOWN),
        (a, b, order, found, pace) => {
          const [low, high] = a !== null && b !== null && a > b ? [b, a] : [a, b];
          const range = {
            lowMs: low === null ? null : ANCHOR_MS + low,
            highMs: high === null ? null : ANCHOR_MS + high,
          };
          const slices = slicesOf(range, order, found, pace);
          const inOrder = order === 'desc' ? slices.toReversed() : slices;
          expect(inOrder[0]?.lowMs).toBe(range.lowMs);
          expect(inOrder.at(-1)?.highMs).toBe(range.highMs);
          for (const [i, slice] of inOrder.entries()) {
            if (i > 0) expect(slice.lowMs).toBe(inOrder[i - 1]?.highMs);
          }
          expect(slices.length).toBeLessThanOrEqual(pace.slicesMax);
        },
      ),
    );
  });

  it('look at a week at once if an hour of one user was empty', () => {
    const [first, second] = slicesOf({ lowMs: null, highMs: null }, 'desc', [0, 50]);
    expect(first).toEqual({ lowMs: ANCHOR_MS - HOUR_MS, highMs: null });
    expect(second).toEqual({ lowMs: ANCHOR_MS - 169 * HOUR_MS, highMs: ANCHOR_MS - HOUR_MS });
  });

  it('widen by the density of the first slice', () => {
    const [, second] = slicesOf({ lowMs: null, highMs: null }, 'desc', [10, 40]);
    // 40 are missing, 10 came from an hour: six hours, half of them to spare.
    expect(second?.lowMs).toBe(ANCHOR_MS - HOUR_MS - 6 * HOUR_MS);
  });
});
