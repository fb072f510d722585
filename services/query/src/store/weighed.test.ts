import { z } from 'zod';
import { describe, expect, it } from 'vitest';
import type { Query } from '../sql/query.js';
import type { Gate } from './gate.js';
import type { Store } from './store.js';
import { createWeighed } from './weighed.js';

const query: Query = { name: 'page', sql: 'SELECT 1', params: {}, row: z.unknown() };
const asking = { signal: new AbortController().signal };

/** The rows of each table that ClickHouse expects to read. */
function bench(tables: readonly number[]) {
  const asked: string[] = [];
  let places = 0;
  const store = {
    ask: async ({ sql }: Query) => {
      asked.push(sql);
      return sql.startsWith('EXPLAIN') ? tables.map((rows) => ({ rows })) : [];
    },
  } as unknown as Store;
  const heavy = {
    before: (_: unknown, work: Promise<unknown>) => work,
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
  it('take no place among the heavy ones if they read little, and are not estimated if narrow', async () => {
    const { weighed, asked, places } = bench([60, 40]);
    await weighed.ask(query, false);
    expect(asked).toEqual(['SELECT 1']);
    await weighed.ask(query, true);
    expect([asked.length, places()]).toEqual([3, 0]);
    weighed.leave();
  });

  it.each([[[60, 41]], [[]]])(
    'take one place together if they read more, or nobody knows (%j)',
    async (tables) => {
      const { weighed, places } = bench(tables);
      await Promise.all([weighed.ask(query, true), weighed.ask(query, true)]);
      expect(places()).toBe(1);
      weighed.leave();
      await Promise.resolve();
      expect(places()).toBe(0);
    },
  );

  it('take no place after the request is over', async () => {
    const { weighed, places } = bench([1_000]);
    const late = weighed.ask(query, true);
    weighed.leave();
    await expect(late).rejects.toThrow('the request is over');
    expect(places()).toBe(0);
  });
});
