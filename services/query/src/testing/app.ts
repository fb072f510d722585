import { createHealth, createLogger, createRegistry } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { FastifyInstance } from 'fastify';
import { createApp } from '../app.js';
import { createStoreMetrics } from '../store/metrics.js';
import { createStore } from '../store/store.js';

export interface TestApp {
  readonly app: FastifyInstance;
  /** The JSON of an answer; fails where the status is not the expected one. */
  get<T>(path: string, expectedStatus?: number): Promise<T>;
}

export const LIMITS = {
  query_timeout_ms: 20_000,
  rows_to_read_max: 1_000_000_000,
  memory_max_bytes: 2_000_000_000,
};

/** The app on a database, with a clock that stands. */
export async function createTestApp(clickhouse: ClickHouse, now: () => number): Promise<TestApp> {
  const logger = createLogger('query', { level: 'silent' });
  const registry = createRegistry('query', 'test');
  const store = createStore(LIMITS, { clickhouse, metrics: createStoreMetrics(registry) });
  const app = await createApp(
    { version: 'test', request_timeout_ms: 10_000, validate_answers: true },
    { store, health: createHealth(), registry, logger, now },
  );
  return {
    app,
    async get<T>(path: string, expectedStatus = 200) {
      const response = await app.inject({ method: 'GET', url: path });
      if (response.statusCode !== expectedStatus) {
        throw new Error(`${path}: ${response.statusCode} ${response.body}`);
      }
      return response.json<T>();
    },
  };
}
