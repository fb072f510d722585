import { expect, test } from 'vitest';
import { coloursOf } from './colours.js';

test('a category keeps its colour when others come, go or change their places', () => {
  const memory = new Map<string, number>();
  expect(coloursOf(['a', 'b', 'c'], memory)).toEqual([1, 2, 3]);
  expect(coloursOf(['c', 'd', 'a'], memory)).toEqual([3, 2, 1]);
  expect(new Set(coloursOf(['v', 'w', 'x', 'y', 'z'], memory)).size).toBe(5);
});
