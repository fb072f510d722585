import { expect, test } from 'vitest';
import { en } from './en.js';
import { pl } from './pl.js';

/** Names, and words that both languages share. */
const SAME = ['Sockscope', 'ClickHouse', 'Min', 'Port', 'Proxy', 'Status'];

/** All texts by their path; a text with a place for a value has a mark there. */
function textsOf(value: unknown, path = ''): [path: string, text: string][] {
  if (typeof value === 'string') return [[path, value]];
  if (typeof value === 'function') {
    const make = value as (...args: readonly unknown[]) => string;
    return [[path, make(path.includes('.why.') ? {} : '#', '#', '#')]];
  }
  return Object.entries(value as object).flatMap(([key, each]) => textsOf(each, `${path}.${key}`));
}

test('every text has a Polish one that is not the English one', () => {
  const polish = new Map(textsOf(pl));
  const untranslated = textsOf(en).filter(
    ([path, text]) => polish.get(path) === text && !SAME.includes(text),
  );
  expect(untranslated).toEqual([]);
});

test('no text is empty, and both languages have the same places for values', () => {
  const places = (text: string) => text.split('#').length;
  const polish = new Map(textsOf(pl));
  const different = textsOf(en).filter(
    ([path, text]) => text === '' || places(text) !== places(polish.get(path) ?? ''),
  );
  expect(different).toEqual([]);
});
