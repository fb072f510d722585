import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdMap } from './id-map.js';
import type { Value } from './id-map.js';

/** Few different words, so that ids collide. */
const id = fc.tuple(
  fc.integer({ min: 1, max: 3 }),
  fc.constant(7),
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 40 }),
);

describe('a map of session ids', () => {
  it('holds entries that were added and not deleted, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), id), { maxLength: 2_000 }), (steps) => {
        const map = new IdMap();
        const plain = new Map<string, Value>();
        for (const [step, [isAdded, words]] of steps.entries()) {
          if (isAdded) {
            map.set(words, [step, step + 1, 7]);
            plain.set(words.join(), [step, step + 1, 7]);
          } else {
            map.delete(words);
            plain.delete(words.join());
          }
        }
        expect(map.size).toBe(plain.size);
        for (const [, words] of steps) {
          expect(map.get(words)).toEqual(plain.get(words.join()));
          expect(map.has(words)).toBe(plain.has(words.join()));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('grows to many ids and shrinks again', () => {
    const map = new IdMap();
    for (let i = 0; i < 100_000; i += 1) {
      map.set([1, i, Math.imul(i, 2_654_435_761) >>> 0, i], [i, 0, 0]);
    }
    for (let i = 0; i < 100_000; i += 1) {
      if (i % 1_000 !== 0) map.delete([1, i, Math.imul(i, 2_654_435_761) >>> 0, i]);
    }
    expect(map.size).toBe(100);
    for (let i = 0; i < 100_000; i += 1_000) {
      expect(map.get([1, i, Math.imul(i, 2_654_435_761) >>> 0, i])).toEqual([i, 0, 0]);
    }
  });
});
