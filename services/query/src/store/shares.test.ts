import { describe, expect, it } from 'vitest';
import { createShares } from './shares.js';

describe('long answers of one key', () => {
  it('are limited, and leave other keys alone', () => {
    const shares = createShares(2);
    const leave = shares.enter('key:a', 'live streams');
    shares.enter('key:a', 'live streams');
    expect(() => shares.enter('key:a', 'live streams')).toThrow('has 2 live streams open');
    shares.enter('key:b', 'live streams');
    leave();
    leave();
    shares.enter('key:a', 'live streams');
    expect(() => shares.enter('key:a', 'live streams')).toThrow('has 2 live streams open');
  });

  it('are not counted if nobody has a key', () => {
    const shares = createShares(1);
    for (let i = 0; i < 3; i += 1) shares.enter(null, 'live streams');
    expect(() => shares.enter('key:a', 'live streams')).not.toThrow();
  });
});
