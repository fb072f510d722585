import fc from 'fast-check';
import { expect, it } from 'vitest';
import { EVENT_LIMITS, toTimestamp } from '@sockscope/schemas';
import { timestampOf } from './timestamp.js';

const time = fc.integer({ min: EVENT_LIMITS.earliest_ms, max: EVENT_LIMITS.latest_ms - 1 });

it('a timestamp equals toISOString, in any order of times', () => {
  fc.assert(
    fc.property(time, fc.array(fc.integer({ min: -3_000, max: 3_000 })), (start, steps) => {
      for (const step of [0, ...steps]) {
        expect(timestampOf(start + step)).toBe(toTimestamp(start + step));
      }
    }),
  );
});
