import {
  createHealth,
  createLogger,
  createProgram,
  createRegistry,
  createService,
} from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { createApp } from './app.js';
import { queryConfig } from './config.js';
import type { QueryConfig } from './config.js';
import { createQueryServer } from './server.js';
import { createStoreMetrics } from './store/metrics.js';
import { createStore } from './store/store.js';

const VERSION = '0.1.0';

async function run(config: QueryConfig): Promise<void> {
  const logger = createLogger('query', config.log);
  const registry = createRegistry('query', VERSION);
  const health = createHealth();
  const clickhouse = createClickHouse(config.clickhouse);
  const store = createStore(config.limits, { clickhouse, metrics: createStoreMetrics(registry) });
  health.add('ready', 'clickhouse', async () => {
    await store.ping();
    return { ok: true };
  });
  const app = await createApp(
    {
      version: VERSION,
      request_timeout_ms: config.http.request_timeout_ms,
      validate_answers: false,
    },
    { store, health, registry, logger, now: Date.now },
  );
  const server = createQueryServer(
    { listen: config.listen, connections_max: config.http.connections_max },
    { app, logger },
  );
  await createService(
    { name: 'query', shutdown_deadline_ms: config.shutdown_deadline_ms },
    [
      ['clickhouse', { start: () => undefined, stop: () => clickhouse.close() }],
      ['server', server],
    ],
    { logger },
  ).run();
}

await createProgram({
  name: 'sockscope-query',
  description: 'Answers questions about proxy sessions over HTTP.',
  schema: queryConfig,
  run,
}).main();
