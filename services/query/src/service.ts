import {
  createHealth,
  createLogger,
  createOpsServer,
  createRegistry,
  createService,
  measureCertificates,
} from '@sockscope/runtime';
import type { Service } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { createApi } from './api.js';
import type { QueryConfig } from './config.js';
import { createEventLoopWatch } from './http/event-loop.js';
import { createQueryServer } from './server.js';
import { SITE_FOLDER } from './site/site.js';
import { createRights } from './store/rights.js';

/** The service out of its parts. */
export async function createQuery(config: QueryConfig): Promise<Service> {
  const logger = createLogger('query', config.log);
  const registry = createRegistry('query');
  const health = createHealth();
  measureCertificates(registry, {
    presented: { CLICKHOUSE_CERT_FILE: config.clickhouse.cert_file },
    trusted: { CLICKHOUSE_CA_FILE: config.clickhouse.ca_file },
  });
  const clickhouse = createClickHouse(config.clickhouse, { failover: true });
  const eventLoop = createEventLoopWatch();
  const { app, coverage, hub } = await createApi(
    config,
    { pages: SITE_FOLDER, validateAnswers: false },
    {
      clickhouse,
      registry,
      health,
      logger,
      now: Date.now,
      eventLoop,
    },
  );
  const rights = createRights({ clickhouse });
  health.add('ready', 'clickhouse', async () => {
    // Serving needs a password, a database, its tables and the right to read them.
    await Promise.all([coverage.read(), rights.read()]);
    return { ok: true };
  });
  // Without it questions are answered all the same.
  health.add('info', 'clickhouse_writes', async () => {
    await rights.write();
    return { ok: true };
  });
  health.add('live', 'event_loop', () => eventLoop.check());
  const ops = createOpsServer(config.ops, { health, metrics: registry, logger });
  const server = createQueryServer({ ...config.http, listen: config.listen }, { app, logger });
  return createService(
    { name: 'query', shutdown_deadline_ms: config.shutdown_deadline_ms },
    [
      ['clickhouse', { start: () => undefined, stop: () => clickhouse.close() }],
      ['event loop', eventLoop],
      ['live stream', hub],
      ['operations', ops],
      ['server', server],
    ],
    { logger },
  );
}
