import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdSet } from './id-set.js';

/** Few different words, so that ids collide. */
const id = fc.tuple(
  fc.integer({ min: 1, max: 3 }),
  fc.constant(7),
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 40 }),
);

describe('a set of session ids', () => {
  it('holds the elements that were added and not deleted, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), id), { maxLength: 2_000 }), (steps) => {
        const set = new IdSet();
        const plain = new Map<string, readonly [number, number, number, number]>();
        for (const [isAdded, words] of steps) {
          if (isAdded) {
            set.add(...words);
            plain.set(words.join(), words);
          } else {
            set.delete(...words);
            plain.delete(words.join());
          }
        }
        expect(set.size).toBe(plain.size);
        for (const words of plain.values()) expect(set.has(...words)).toBe(true);
        for (const [, words] of steps) expect(set.has(...words)).toBe(plain.has(words.join()));
      }),
      { numRuns: 200 },
    );
  });

  it('grows to many ids and shrinks again', () => {
    const set = new IdSet();
    for (let i = 0; i < 100_000; i += 1) set.add(1, i, Math.imul(i, 2_654_435_761) >>> 0, i);
    for (let i = 0; i < 100_000; i += 1) {
      if (i % 1_000 !== 0) set.delete(1, i, Math.imul(i, 2_654_435_761) >>> 0, i);
    }
    expect(set.size).toBe(100);
    for (let i = 0; i < 100_000; i += 1_000) {
      expect(set.has(1, i, Math.imul(i, 2_654_435_761) >>> 0, i)).toBe(true);
    }
  });
});
