import { expect, test } from 'vitest';
import { backOf } from './back.js';

test('after signing in one goes to a page of ours and nowhere else', () => {
  expect(backOf('/sessions?user=alice')).toBe('/sessions?user=alice');
  for (const text of [
    null,
    '',
    'https://example.com',
    '//example.com',
    '/\\example.com',
    '/sign-in?back=/',
  ]) {
    expect(backOf(text), String(text)).toBe('/');
  }
});
