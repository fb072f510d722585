import { describe, expect, it } from 'vitest';
import { tiesAsShown } from './visible.js';

describe('equals in a list whose names are hidden', () => {
  it('stand in the order of what is shown, and only they', () => {
    const items = [
      { bytes: 9, shown: 'z' },
      { bytes: 5, shown: 'c' },
      { bytes: 5, shown: 'a' },
      { bytes: 5, shown: 'b' },
      { bytes: 1, shown: 'a' },
    ];
    const sorted = tiesAsShown(
      items,
      (one, other) => one.bytes === other.bytes,
      ({ shown }) => shown,
    );
    expect(sorted.map(({ bytes, shown }) => `${bytes}${shown}`)).toEqual([
      '9z',
      '5a',
      '5b',
      '5c',
      '1a',
    ]);
  });
});
