import { describe, expect, it } from 'vitest';
import { maskConfig } from './config.js';
import { createMask } from './mask.js';
import { presenterOf } from './presenter.js';

describe('a presenter that masks users', () => {
  it('orders rows with equal sort keys, and only these, by the shown text', () => {
    const mask = createMask(
      maskConfig.parse({ users: 'hmac', addresses: undefined, key: 'k'.repeat(32) }),
    );
    const items = [
      { bytes: 9, shown: 'z' },
      { bytes: 5, shown: 'c' },
      { bytes: 5, shown: 'a' },
      { bytes: 5, shown: 'b' },
      { bytes: 1, shown: 'a' },
    ];
    const ranked = presenterOf(mask).ranked(
      items,
      (one, other) => one.bytes === other.bytes,
      ({ shown }) => shown,
    );
    expect(ranked.map(({ bytes, shown }) => `${bytes}${shown}`)).toEqual([
      '9z',
      '5a',
      '5b',
      '5c',
      '1a',
    ]);
  });
});
