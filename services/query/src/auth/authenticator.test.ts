import { describe, expect, it } from 'vitest';
import { networkOf } from './authenticator.js';

describe('wrong keys of one network', () => {
  it.each([
    ['192.0.2.7', '192.0.2.8', false],
    ['192.0.2.7', '::ffff:192.0.2.7', true],
    ['2001:db8:1:2::3', '2001:db8:1:2:ffff::4', true],
    ['2001:db8:1:2::3', '2001:db8:1:3::3', false],
  ])('are counted for %s and %s together: %s', (one, other, together) => {
    expect(networkOf(one) === networkOf(other)).toBe(together);
  });
});
