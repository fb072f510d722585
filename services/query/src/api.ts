import { VERSION } from '@sockscope/runtime';
import type { Health, Logger, Registry } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { FastifyInstance } from 'fastify';
import { createApp } from './app.js';
import { createAuditLog } from './audit/log.js';
import { createAuthenticator } from './auth/authenticator.js';
import { SUSPECTS_RUNNING_MAX, SUSPECTS_WAITING_MAX } from './auth/config.js';
import { createKeyUses } from './auth/key-uses.js';
import { createKeyStore } from './auth/keys.js';
import { createOidcClient } from './auth/oidc.js';
import { createTokenVerifier } from './auth/tokens.js';
import { createWebSessions } from './auth/web-sessions.js';
import type { QueryConfig } from './config.js';
import { createCoverageReader } from './coverage/coverage.js';
import type { CoverageReader } from './coverage/coverage.js';
import { readEvidenceKeys } from './evidence/key-file.js';
import { createEvidenceSigner } from './evidence/signer.js';
import { EXPORT_ROWS_TO_READ_MAX } from './export/config.js';
import { createRunningExports } from './export/running.js';
import type { EventLoopWatch } from './http/event-loop.js';
import { loopbackHosts } from './http/guard.js';
import { createMask } from './mask/mask.js';
import { createGate, createGateMetrics } from './store/gate.js';
import { createLongSessions } from './store/long-sessions.js';
import { createStoreMetrics } from './store/metrics.js';
import { createRetention } from './store/retention.js';
import { createStore } from './store/store.js';
import type { Store } from './store/store.js';
import { RESUME_WAIT_MAX_MS, RESUMES_MAX } from './stream/config.js';
import { createHub } from './stream/hub.js';
import type { Hub } from './stream/hub.js';
import { createStreamMetrics } from './stream/metrics.js';

export interface ApiDeps {
  readonly clickhouse: ClickHouse;
  readonly registry: Registry;
  readonly health: Health;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly eventLoop: Pick<EventLoopWatch, 'isOverloaded' | 'lateMs'>;
}

export interface Api {
  readonly app: FastifyInstance;
  readonly store: Store;
  readonly coverage: CoverageReader;
  /** Has to be started. */
  readonly hub: Hub;
}

/**
 * Makes the API out of its settings: the service adds listeners, tests inject requests.
 *
 * @param pages the folder of the dashboard's files, or null for none.
 */
export async function createApi(
  config: QueryConfig,
  { pages, validateAnswers }: { readonly pages: string | null; readonly validateAnswers: boolean },
  deps: ApiDeps,
): Promise<Api> {
  const { limits, http, auth } = config;
  const { clickhouse, registry, logger, now } = deps;
  const metrics = createStoreMetrics(registry);
  const retention = createRetention({ clickhouse, now });
  const longSessions = createLongSessions({ clickhouse, retention, logger, now });
  const store = createStore(limits, { clickhouse, metrics, retention, longSessions, now });
  const coverage = createCoverageReader({
    store,
    retention,
    toleranceMs: limits.sums_age_ms,
    now,
  });
  const gateMetrics = createGateMetrics(registry);
  const gateOf = (
    name: string,
    places: { readonly running: number; readonly waiting: number },
    waitMaxMs = limits.wait_max_ms,
  ) =>
    createGate(
      {
        name,
        running_max: places.running,
        waiting_max: places.waiting,
        wait_max_ms: waitMaxMs,
      },
      gateMetrics,
    );
  const suspects = gateOf('suspect_keys', {
    running: SUSPECTS_RUNNING_MAX,
    waiting: SUSPECTS_WAITING_MAX,
  });
  const uses = createKeyUses({ clickhouse, logger, now });
  const keys = createKeyStore({ store, suspects, uses, now });
  const takesKeys = auth.methods.includes('api_keys');
  const takesAccounts = auth.methods.includes('oidc');
  const webSessions = createWebSessions({
    clickhouse,
    store,
    keys,
    takesKeys,
    takesAccounts,
    suspects,
    now,
  });
  const isOpen = auth.methods.length === 0;
  const streamMetrics = createStreamMetrics(registry);
  const hub = createHub(config.stream, { store, logger, metrics: streamMetrics });
  const { key_file: keyFile } = config.evidence;
  const app = await createApp(
    {
      version: VERSION,
      site: pages,
      request_timeout_ms: http.request_timeout_ms,
      trusted_proxies: http.trusted_proxies,
      guard: {
        rate_limit_per_minute: isOpen ? 0 : limits.rate_per_minute,
        hosts: isOpen && http.hosts.length === 0 ? loopbackHosts(config.listen.host) : http.hosts,
        origins: http.origins,
      },
      public_url: http.public_url,
      stream: config.stream,
      validate_answers: validateAnswers,
    },
    {
      access: {
        isOverloaded: () => deps.eventLoop.isOverloaded(),
        lateMs: () => deps.eventLoop.lateMs(),
        authenticator: createAuthenticator(auth, {
          keys,
          webSessions,
          tokens: createTokenVerifier(auth),
          now,
        }),
        webSessions,
        uses,
        takesKeys,
        suspects,
        oidc: takesAccounts ? createOidcClient(auth, http.public_url) : null,
      },
      answers: {
        store,
        coverage,
        gates: {
          light: gateOf('light', {
            running: limits.light_running_max,
            waiting: limits.light_waiting_max,
          }),
          heavy: gateOf('heavy', {
            running: limits.heavy_running_max,
            waiting: limits.heavy_waiting_max,
          }),
          resume: gateOf(
            'resume',
            { running: RESUMES_MAX, waiting: config.stream.clients_max },
            RESUME_WAIT_MAX_MS,
          ),
        },
        lightRowsMax: limits.light_rows_max,
        lookup: config.lookup,
        signals: config.signals,
        signer: createEvidenceSigner(keyFile === '' ? null : readEvidenceKeys(keyFile)),
      },
      exports: {
        clickhouse,
        audit: createAuditLog({ clickhouse, logger, now }),
        gate: gateOf('export', {
          running: config.exports.running_max,
          waiting: config.exports.running_max,
        }),
        running: createRunningExports(),
        retention,
        longSessions,
        metrics,
        logger,
        config: config.exports,
        limits: { ...limits, rows_to_read_max: EXPORT_ROWS_TO_READ_MAX },
      },
      hub,
      streamMetrics,
      mask: createMask(config.mask),
      health: deps.health,
      registry,
      logger,
      now,
    },
  );
  return { app, store, coverage, hub };
}
