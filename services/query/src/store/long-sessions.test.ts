import { expect, it } from 'vitest';
import { LONG_BEFORE_SQL } from '../sql/earlier-starts.js';
import { createLongSessions } from './long-sessions.js';

it('are not asked for as long as the tables cannot be compared, and questions are answered', async () => {
  const warnings: unknown[] = [];
  let asked = 0;
  const longSessions = createLongSessions({
    clickhouse: {
      async query() {
        asked += 1;
        throw new Error('no answer in time');
      },
    },
    retention: { settings: async () => ({}) },
    logger: { warn: (...args: unknown[]) => warnings.push(args) },
    now: () => Date.now(),
  });
  const query = { sql: `SELECT ${LONG_BEFORE_SQL}`, params: { limit: 1 } };
  const bound = await Promise.all([longSessions.bind(query), longSessions.bind(query)]);
  expect([...bound, await longSessions.bind(query)].map(({ params }) => params)).toEqual(
    Array.from({ length: 3 }, () => ({ limit: 1, long_before: 0 })),
  );
  expect([asked, warnings.length]).toEqual([1, 1]);
});
