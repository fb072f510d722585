import { describe, expect, it } from 'vitest';
import { rangesToCarry } from './ranges.js';

const HOUR_S = 3_600;
const hour = (n: number, to_rows = 0, is_same = 0) => ({ hour: n * HOUR_S, to_rows, is_same });
const range = (from: number, to: number) => ({ from: from * HOUR_S, to: to * HOUR_S });

describe('rangesToCarry', () => {
  it('makes one range of years of which the new table has nothing', () => {
    const years = Array.from({ length: 20_000 }, (_, n) => hour(n * 2));
    expect(rangesToCarry(years)).toEqual([range(0, 39_999)]);
  });

  it('leaves out hours that are the same', () => {
    expect(rangesToCarry([hour(1), hour(2, 9, 1), hour(3), hour(4)])).toEqual([
      range(1, 2),
      range(3, 5),
    ]);
    expect(rangesToCarry([hour(1, 5, 1)])).toEqual([]);
  });

  it('holds no more rows at once than it may, except for a single hour', () => {
    expect(rangesToCarry([hour(1, 6), hour(2, 4), hour(3, 1), hour(4, 30), hour(5)], 10)).toEqual([
      range(1, 3),
      range(3, 4),
      range(4, 5),
      range(5, 6),
    ]);
  });
});
