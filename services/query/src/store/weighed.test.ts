import { z } from 'zod';
import { describe, expect, it } from 'vitest';
import type { Query } from '../sql/query.js';
import type { Gate } from './gate.js';
import type { Store } from './store.js';
import { createWeighed } from './weighed.js';

const query: Query = { name: 'page', sql: 'SELECT 1', params: {}, row: z.unknown() };
const asking = { signal: new AbortController().signal };

/** @param rows that ClickHouse would read. */
function bench(rows: number) {
  const asked: string[] = [];
  let places = 0;
  const store = {
    ask: async () => {
      asked.push('all');
      return [];
    },
    askWithin: async (_: Query, rowsMax: number) => {
      asked.push('few');
      return rows > rowsMax ? null : [];
    },
  } as unknown as Store;
  const heavy = {
    enter: async () => {
      places += 1;
      return () => {
        places -= 1;
      };
    },
  } as unknown as Gate;
  const weighed = createWeighed({ store, gates: { heavy }, lightRowsMax: 100 }, asking);
  return { weighed, asked, places: () => places };
}

describe('the questions of one request', () => {
  it('take no place among the heavy ones if they read little, and are not weighed if narrow', async () => {
    const { weighed, asked, places } = bench(100);
    await weighed.ask(query, false);
    await weighed.ask(query, true);
    expect([asked, places()]).toEqual([['all', 'few'], 0]);
    weighed.leave();
  });

  it('take one place together if they read more', async () => {
    const { weighed, asked, places } = bench(101);
    await Promise.all([weighed.ask(query, true), weighed.ask(query, true)]);
    expect([asked, places()]).toEqual([['few', 'few', 'all', 'all'], 1]);
    weighed.leave();
    await Promise.resolve();
    expect(places()).toBe(0);
  });

  it('take no place after the request is over', async () => {
    const { weighed, places } = bench(1_000);
    const late = weighed.ask(query, true);
    weighed.leave();
    await expect(late).rejects.toThrow('the request is over');
    expect(places()).toBe(0);
  });
});
