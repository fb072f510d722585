import { describe, expect, it } from 'vitest';
import { PortPicker, portRange } from './ports.js';

describe('a port range', () => {
  it.each([
    ['0', { first: 0, last: 0 }],
    ['40000', { first: 40_000, last: 40_000 }],
    ['40000-40999', { first: 40_000, last: 40_999 }],
    [' 1-65535 ', { first: 1, last: 65_535 }],
  ])('reads %j', (text, range) => {
    expect(portRange().parse(text)).toEqual(range);
  });

  it.each(['', '-', '5-1', '0-5', '1-65536', 'a', '1-2-3', '-1'])('refuses %j', (text) => {
    expect(portRange().safeParse(text).success).toBe(false);
  });

  it('gives its ports in turn, and tries no more than a bounded number', () => {
    const picker = new PortPicker({ first: 10, last: 12 });
    expect([1, 2, 3, 4].map(() => picker.next())).toEqual([10, 11, 12, 10]);
    expect(picker.attempts).toBe(3);
    expect(new PortPicker({ first: 1, last: 65_535 }).attempts).toBe(64);
    expect(new PortPicker({ first: 0, last: 0 }).attempts).toBe(1);
  });
});
