import { describe, expect, it } from 'vitest';
import { EarlyBytes, UNCOUNTED_BYTES } from './early-bytes.js';

describe('the memory for early payload', () => {
  it('has no room for a source that holds a quarter of it, nor for any source when it is full', () => {
    const early = new EarlyBytes(400);
    early.changed('a', 0, UNCOUNTED_BYTES + 100);
    expect([early.hasRoom('a'), early.hasRoom('b')]).toEqual([false, true]);
    early.changed('b', 0, UNCOUNTED_BYTES + 300);
    expect(early.hasRoom('c')).toBe(false);
    early.changed('b', UNCOUNTED_BYTES + 300, 0);
    expect([early.hasRoom('a'), early.hasRoom('b')]).toEqual([false, true]);
    early.changed('a', UNCOUNTED_BYTES + 100, 0);
    expect(early.used).toBe(0);
  });

  it('does not count the bytes of a hello', () => {
    const early = new EarlyBytes(100);
    for (const source of ['a', 'b', 'c']) early.changed(source, 0, UNCOUNTED_BYTES);
    expect(early.used).toBe(0);
  });
});
