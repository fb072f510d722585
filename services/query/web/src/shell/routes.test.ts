import { describe, expect, test } from 'vitest';
import { PAGES } from '../../../src/site/site.js';
import { rangeOf, rangeParams } from '../state/range.js';
import { matchRoute, ROUTES } from './routes.js';
import links from './links.v1.json' with { type: 'json' };

describe('the routes of the dashboard', () => {
  test('begin with a segment that the server serves', () => {
    const first = new Set(
      ROUTES.map(({ pattern }) => pattern.split('/')[1] ?? '').filter((part) => part !== ''),
    );
    expect([...first].filter((part) => !(PAGES as readonly string[]).includes(part))).toEqual([]);
  });

  test('take any text as a parameter, and refuse broken escapes', () => {
    const routes = ROUTES.slice(0, 1).map((route) => ({
      ...route,
      pattern: '/entity/:kind/:value',
    }));
    expect(matchRoute('/entity/user/a%2Fb%20c', routes)?.args).toEqual({
      kind: 'user',
      value: 'a/b c',
    });
    expect(matchRoute('/entity/user/%E0%A4%A', routes)).toBeNull();
    expect(matchRoute('/entity/user', routes)).toBeNull();
  });

  test.each(links)('the old link $link still leads to its page and range', (old) => {
    const { pathname, searchParams } = new URL(old.link, 'http://localhost');
    expect(matchRoute(pathname)?.route.name).toBe(old.page);
    expect(rangeParams(rangeOf(searchParams))).toEqual(old.range);
  });
});
