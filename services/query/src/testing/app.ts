import { createHealth, createLogger, createRegistry, loadConfig } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { FastifyInstance } from 'fastify';
import { createApi } from '../api.js';
import type { ApiDeps } from '../api.js';
import { queryConfig } from '../config.js';
import type { QueryConfig } from '../config.js';
import type { Store } from '../store/store.js';

export interface TestApp {
  readonly app: FastifyInstance;
  readonly store: Store;
  readonly registry: Registry;
  close(): Promise<void>;
  /** Rows that all questions so far have read. */
  rowsRead(): Promise<number>;
  /** The JSON of an answer; fails if the status is not the expected one. */
  get<T>(path: string, expectedStatus?: number): Promise<T>;
}

/** Sections of settings that differ from those of tests. */
export type TestSettings = {
  readonly [Section in keyof QueryConfig]?: Partial<QueryConfig[Section]>;
};

export interface TestAppOptions {
  readonly now: () => number;
  readonly settings?: TestSettings;
  /** Default: never late. */
  readonly eventLoop?: Partial<ApiDeps['eventLoop']>;
}

/** Nothing is shared or waits for long, and live events come at once. */
const OF_TESTS = {
  limits: {
    reuse_ms: 0,
    wait_max_ms: 60_000,
    query_timeout_ms: 60_000,
    light_running_max: 50,
    heavy_running_max: 8,
    rate_per_minute: 0,
  },
  stream: {
    clients_max: 20,
    clients_per_key_max: 2,
    poll_interval_ms: 50,
    counters_interval_ms: 200,
  },
  exports: { running_max: 4 },
} satisfies TestSettings;

function configOf(given: TestSettings): QueryConfig {
  const config: Record<string, unknown> = { ...loadConfig(queryConfig, {}) };
  for (const settings of [OF_TESTS, given]) {
    for (const [section, values] of Object.entries(settings)) {
      config[section] = { ...(config[section] as object), ...values };
    }
  }
  return config as QueryConfig;
}

/** The app on a database, with a clock that the test sets. */
export async function createTestApp(
  clickhouse: ClickHouse,
  { now, settings = {}, eventLoop = {} }: TestAppOptions,
): Promise<TestApp> {
  const registry = createRegistry('query');
  const { app, store, hub } = await createApi(
    configOf(settings),
    { pages: null, validateAnswers: true },
    {
      clickhouse,
      registry,
      health: createHealth(),
      logger: createLogger('query', { level: 'silent' }),
      now,
      eventLoop: { isOverloaded: () => false, lateMs: () => 0, ...eventLoop },
    },
  );
  hub.start();
  return {
    app,
    store,
    registry,
    async close() {
      await app.close();
      await hub.stop();
    },
    async rowsRead() {
      const metrics = await registry.getMetricsAsJSON();
      const metric = metrics.find(({ name }) => name === 'sockscope_query_sql_rows_read_total');
      if (metric === undefined) throw new Error('no metric counts the rows that are read');
      return metric.values.reduce((sum, { value }) => sum + value, 0);
    },
    async get<T>(path: string, expectedStatus = 200) {
      const response = await app.inject({ method: 'GET', url: path });
      if (response.statusCode !== expectedStatus) {
        throw new Error(`${path}: ${response.statusCode} ${response.body}`);
      }
      return response.json<T>();
    },
  };
}
