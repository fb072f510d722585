import {
  createHealth,
  createLogger,
  createOpsServer,
  createRegistry,
  createService,
  measureCertificates,
  VERSION,
} from '@sockscope/runtime';
import type { Service } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { createApp } from './app.js';
import { createAuthenticator } from './auth/authenticator.js';
import { SUSPECTS_RUNNING_MAX, SUSPECTS_WAITING_MAX } from './auth/config.js';
import { createKeyUses } from './auth/key-uses.js';
import { createKeyStore } from './auth/keys.js';
import { createOidcClient } from './auth/oidc.js';
import { createTokenVerifier } from './auth/tokens.js';
import { createWebSessions } from './auth/web-sessions.js';
import type { QueryConfig } from './config.js';
import { createCoverageReader } from './coverage/coverage.js';
import { loopbackHosts } from './http/guard.js';
import { createEventLoopWatch } from './http/event-loop.js';
import { readEvidenceKeys } from './evidence/key-file.js';
import { createEvidenceSigner } from './evidence/signer.js';
import { createAuditLog } from './audit/log.js';
import { EXPORT_ROWS_TO_READ_MAX } from './export/config.js';
import { createRunningExports } from './export/running.js';
import { createMask } from './mask/mask.js';
import { createQueryServer } from './server.js';
import { createGate, createGateMetrics } from './store/gate.js';
import { createStoreMetrics } from './store/metrics.js';
import { SITE_FOLDER } from './site/site.js';
import { createRetention } from './store/retention.js';
import { createRights } from './store/rights.js';
import { createStore } from './store/store.js';
import { RESUME_WAIT_MAX_MS, RESUMES_MAX } from './stream/config.js';
import { createHub } from './stream/hub.js';
import { createStreamMetrics } from './stream/metrics.js';

/** The service out of its parts. */
export async function createQuery(config: QueryConfig): Promise<Service> {
  const { limits } = config;
  const logger = createLogger('query', config.log);
  const registry = createRegistry('query');
  const health = createHealth();
  measureCertificates(registry, {
    presented: { CLICKHOUSE_CERT_FILE: config.clickhouse.cert_file },
    trusted: { CLICKHOUSE_CA_FILE: config.clickhouse.ca_file },
  });
  const now = Date.now;
  const clickhouse = createClickHouse(config.clickhouse, { failover: true });
  const metrics = createStoreMetrics(registry);
  const retention = createRetention({ clickhouse, now });
  const store = createStore(limits, { clickhouse, metrics, retention });
  const coverage = createCoverageReader({
    store,
    retention,
    toleranceMs: config.limits.sums_age_ms,
    now,
  });
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
  const eventLoop = createEventLoopWatch();
  health.add('live', 'event_loop', () => eventLoop.check());
  const gateMetrics = createGateMetrics(registry);
  const suspects = createGate(
    {
      name: 'suspect_keys',
      running_max: SUSPECTS_RUNNING_MAX,
      waiting_max: SUSPECTS_WAITING_MAX,
      wait_max_ms: limits.wait_max_ms,
    },
    gateMetrics,
  );
  const uses = createKeyUses({ clickhouse, logger, now });
  const keys = createKeyStore({ store, suspects, uses, now });
  const takesKeys = config.auth.methods.includes('api_keys');
  const takesAccounts = config.auth.methods.includes('oidc');
  const webSessions = createWebSessions({
    clickhouse,
    store,
    keys,
    takesKeys,
    takesAccounts,
    suspects,
    now,
  });
  const authenticator = createAuthenticator(config.auth, {
    keys,
    webSessions,
    tokens: createTokenVerifier(config.auth),
    now,
  });
  const gateOf = (name: 'light' | 'heavy') =>
    createGate(
      {
        name,
        running_max: limits[`${name}_running_max`],
        waiting_max: limits[`${name}_waiting_max`],
        wait_max_ms: limits.wait_max_ms,
      },
      gateMetrics,
    );
  const isOpen = config.auth.methods.length === 0;
  const streamMetrics = createStreamMetrics(registry);
  const hub = createHub(config.stream, { store, logger, metrics: streamMetrics });
  const app = await createApp(
    {
      version: VERSION,
      site: SITE_FOLDER,
      request_timeout_ms: config.http.request_timeout_ms,
      trusted_proxies: config.http.trusted_proxies,
      guard: {
        rate_limit_per_minute: isOpen ? 0 : limits.rate_per_minute,
        hosts:
          isOpen && config.http.hosts.length === 0
            ? loopbackHosts(config.listen.host)
            : config.http.hosts,
        origins: config.http.origins,
      },
      public_url: config.http.public_url,
      stream: config.stream,
      validate_answers: false,
    },
    {
      access: {
        isOverloaded: () => eventLoop.isOverloaded(),
        authenticator,
        webSessions,
        uses,
        takesKeys,
        suspects,
        oidc: takesAccounts ? createOidcClient(config.auth, config.http.public_url) : null,
      },
      answers: {
        store,
        coverage,
        gates: {
          light: gateOf('light'),
          heavy: gateOf('heavy'),
          resume: createGate(
            {
              name: 'resume',
              running_max: RESUMES_MAX,
              waiting_max: config.stream.clients_max,
              wait_max_ms: RESUME_WAIT_MAX_MS,
            },
            gateMetrics,
          ),
        },
        lightRowsMax: limits.light_rows_max,
        lookup: config.lookup,
        signals: config.signals,
        signer: createEvidenceSigner(
          config.evidence.key_file === '' ? null : readEvidenceKeys(config.evidence.key_file),
        ),
      },
      exports: {
        clickhouse,
        audit: createAuditLog({ clickhouse, logger, now }),
        gate: createGate(
          {
            name: 'export',
            running_max: config.exports.running_max,
            waiting_max: config.exports.running_max,
            wait_max_ms: limits.wait_max_ms,
          },
          gateMetrics,
        ),
        running: createRunningExports(),
        retention,
        metrics,
        logger,
        config: config.exports,
        limits: { ...limits, rows_to_read_max: EXPORT_ROWS_TO_READ_MAX },
      },
      hub,
      streamMetrics,
      mask: createMask(config.mask),
      health,
      registry,
      logger,
      now,
    },
  );
  const ops = createOpsServer(config.ops, { health, metrics: registry, logger });
  const server = createQueryServer(
    { listen: config.listen, connections_max: config.http.connections_max },
    { app, logger },
  );
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
