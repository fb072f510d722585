import { describe, expect, test } from 'vitest';
import { changeOf, showBytes, showChange, showCount, showDuration, showRate } from './numbers.js';

describe('a number for people', () => {
  test('has at most three significant digits and a decimal unit', () => {
    expect(showBytes(0, 'en')).toEqual({ digits: '0', unit: 'B' });
    expect(showBytes(999, 'en')).toEqual({ digits: '999', unit: 'B' });
    expect(showBytes(1_536, 'en')).toEqual({ digits: '1.54', unit: 'kB' });
    expect(showBytes(123_456_789_012, 'en')).toEqual({ digits: '123', unit: 'GB' });
  });

  test('takes the next unit instead of showing 1000', () => {
    expect(showBytes(999_700, 'en')).toEqual({ digits: '1', unit: 'MB' });
    expect(showCount(999_999, 'en')).toEqual({ digits: '1', unit: 'M' });
  });

  test('shows rates in bits a second', () => {
    expect(showRate(125_000, 'en')).toEqual({ digits: '1', unit: 'Mbit/s' });
  });

  test('uses the decimal comma in Polish', () => {
    expect(showBytes(1_536, 'pl')).toEqual({ digits: '1,54', unit: 'kB' });
  });
});

test('a change from zero is new, and from zero to zero is none', () => {
  expect(changeOf(0, 5)).toBe('new');
  expect(changeOf(0, 0)).toBeNull();
  expect(changeOf(10, 15)).toBe(0.5);
  expect(showChange(0.5, 'en')).toBe('+50%');
  expect(showChange(-0.034, 'en')).toBe('−3.4%');
});

test('a duration has at most two units', () => {
  expect(showDuration(350)).toBe('350 ms');
  expect(showDuration(1_500)).toBe('1.5 s');
  expect(showDuration(1_500, 'pl')).toBe('1,5 s');
  expect(showDuration(59_900)).toBe('60 s');
  expect(showDuration(3_900_000)).toBe('1 h 5 min');
  expect(showDuration(90_061_000)).toBe('1 d 1 h');
});
