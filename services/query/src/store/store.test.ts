import { createRegistry } from '@sockscope/runtime';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { createStoreMetrics } from './metrics.js';
import { createStore } from './store.js';

const never = () => new Promise<never>(() => undefined);
const QUERY = { name: 'one', sql: 'SELECT 1', params: {}, row: z.object({}) };
const TIMEOUT_MS = 50;

it.each(['bind', 'settings'])(
  'a question is unavailable after its time if ClickHouse does not answer what must be known before it: %s',
  async (hung) => {
    const clickhouse = {
      queryWithCost: async () => ({ rows: [], cost: { readRows: 0 } }),
      ping: () =>
        Promise.reject(
          new ClickHouseError('clickhouse_timeout', 'no answer in time', { retryable: true }),
        ),
    } as unknown as ClickHouse;
    const store = createStore(
      {
        query_timeout_ms: TIMEOUT_MS,
        rows_to_read_max: 1_000,
        memory_max_bytes: 1_000_000,
        reuse_ms: 0,
      },
      {
        clickhouse,
        metrics: createStoreMetrics(createRegistry('query')),
        longSessions: {
          beforeMs: never,
          bind: hung === 'bind' ? never : async (query) => query,
        },
        retention: {
          settings: hung === 'settings' ? never : async () => ({}),
          keptFrom: never,
        },
        now: () => 0,
      },
    );
    await expect(store.ask(QUERY, { signal: new AbortController().signal })).rejects.toMatchObject({
      code: 'store-unavailable',
    });
  },
);
