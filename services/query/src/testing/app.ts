import { createHealth, createLogger, createRegistry } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { FastifyInstance } from 'fastify';
import { createApp } from '../app.js';
import { createAuthenticator } from '../auth/authenticator.js';
import { authConfig } from '../auth/config.js';
import { createKeyUses } from '../auth/key-uses.js';
import { createKeyStore } from '../auth/keys.js';
import { createOidcClient } from '../auth/oidc.js';
import { createTokenVerifier } from '../auth/tokens.js';
import { createWebSessions } from '../auth/web-sessions.js';
import { createCoverageReader } from '../coverage/coverage.js';
import type { EvidenceKeys } from '../evidence/key-file.js';
import { createEvidenceSigner } from '../evidence/signer.js';
import { createAuditLog } from '../audit/log.js';
import { createRunningExports } from '../export/running.js';
import { maskConfig } from '../mask/config.js';
import { createMask } from '../mask/mask.js';
import { lookupConfig } from '../questions/lookup/config.js';
import { signalsConfig } from '../questions/signals/config.js';
import { createGate, createGateMetrics } from '../store/gate.js';
import { createStoreMetrics } from '../store/metrics.js';
import { createRetention } from '../store/retention.js';
import { createStore } from '../store/store.js';
import type { Store, StoreConfig } from '../store/store.js';
import { createHub } from '../stream/hub.js';
import { createStreamMetrics } from '../stream/metrics.js';

export interface TestApp {
  readonly app: FastifyInstance;
  readonly store: Store;
  readonly registry: Registry;
  close(): Promise<void>;
  /** The JSON of an answer; fails if the status is not the expected one. */
  get<T>(path: string, expectedStatus?: number): Promise<T>;
}

export interface TestAppOptions {
  readonly now: () => number;
  readonly auth?: Readonly<Record<string, unknown>>;
  readonly lookup?: Readonly<Record<string, unknown>>;
  readonly signals?: Readonly<Record<string, unknown>>;
  /** Default: evidence is not signed. */
  readonly evidenceKeys?: EvidenceKeys;
  readonly mask?: Readonly<Record<string, unknown>>;
  readonly rateLimitPerMinute?: number;
  readonly hosts?: readonly string[];
  readonly publicUrl?: string;
  readonly origins?: readonly string[];
  readonly trustedProxies?: readonly string[];
  /** Of the store; see StoreConfig. */
  readonly limits?: Partial<StoreConfig>;
  /** Defaults to never. */
  readonly isOverloaded?: () => boolean;
  readonly lightRunningMax?: number;
  readonly heavyRunningMax?: number;
  readonly lightRowsMax?: number;
  /** Of all gates; default: 5 s. */
  readonly waitMaxMs?: number;
  readonly streamClientsMax?: number;
  readonly exportRowsMax?: number;
  readonly exportsRunningMax?: number;
  readonly exportTimeoutMs?: number;
  readonly streamBufferMaxBytes?: number;
}

/** Defaults of a settings schema, with some of them set. */
function settingsOf(shape: Readonly<Record<string, unknown>>, given: object | undefined) {
  return { ...Object.fromEntries(Object.keys(shape).map((name) => [name, undefined])), ...given };
}

/** The app on a database, with a clock that the test sets. */
export async function createTestApp(
  clickhouse: ClickHouse,
  options: TestAppOptions,
): Promise<TestApp> {
  const logger = createLogger('query', { level: 'silent' });
  const registry = createRegistry('query');
  const { now } = options;
  const metrics = createStoreMetrics(registry);
  const retention = createRetention({ clickhouse, now });
  const store = createStore(
    {
      query_timeout_ms: 20_000,
      rows_to_read_max: 1_000_000_000,
      memory_max_bytes: 2_000_000_000,
      reuse_ms: 0,
      ...options.limits,
    },
    { clickhouse, metrics, retention },
  );
  const auth = authConfig.parse(settingsOf(authConfig.shape, options.auth));
  const gateMetrics = createGateMetrics(registry);
  const gate = (name: string, running: number) =>
    createGate(
      { name, running_max: running, waiting_max: 100, wait_max_ms: options.waitMaxMs ?? 5_000 },
      gateMetrics,
    );
  const streamMetrics = createStreamMetrics(registry);
  const stream = {
    clients_max: options.streamClientsMax ?? 20,
    clients_per_key_max: 2,
    buffer_max_bytes: options.streamBufferMaxBytes ?? 1_048_576,
    poll_interval_ms: 50,
    counters_interval_ms: 200,
  };
  const hub = createHub(stream, { store, logger, metrics: streamMetrics });
  hub.start();
  const suspects = gate('suspect_keys', 1);
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
  const app = await createApp(
    {
      version: 'test',
      request_timeout_ms: 10_000,
      trusted_proxies: options.trustedProxies ?? [],
      guard: {
        rate_limit_per_minute: options.rateLimitPerMinute ?? 0,
        hosts: options.hosts ?? [],
        origins: options.origins ?? [],
      },
      stream,
      site: null,
      public_url: options.publicUrl ?? '',
      validate_answers: true,
    },
    {
      access: {
        isOverloaded: options.isOverloaded ?? (() => false),
        webSessions,
        uses,
        takesKeys,
        suspects,
        oidc: takesAccounts ? createOidcClient(auth, options.publicUrl ?? '') : null,
        authenticator: createAuthenticator(auth, {
          keys,
          webSessions,
          tokens: createTokenVerifier(auth),
          now,
        }),
      },
      answers: {
        store,
        coverage: createCoverageReader({ store, retention, toleranceMs: 0, now }),
        gates: {
          light: gate('light', options.lightRunningMax ?? 50),
          heavy: gate('heavy', options.heavyRunningMax ?? 8),
          resume: gate('resume', 4),
        },
        lightRowsMax: options.lightRowsMax ?? 500_000,
        signals: signalsConfig.parse(settingsOf(signalsConfig.shape, options.signals)),
        lookup: lookupConfig.parse(settingsOf(lookupConfig.shape, options.lookup)),
        signer: createEvidenceSigner(options.evidenceKeys ?? null),
      },
      exports: {
        clickhouse,
        audit: createAuditLog({ clickhouse, logger, now }),
        gate: gate('export', options.exportsRunningMax ?? 4),
        running: createRunningExports(),
        retention,
        metrics,
        logger,
        config: {
          running_max: 4,
          rows_max: options.exportRowsMax ?? 1_000_000,
          timeout_ms: options.exportTimeoutMs ?? 60_000,
        },
        limits: { rows_to_read_max: 1_000_000_000, memory_max_bytes: 2_000_000_000 },
      },
      hub,
      streamMetrics,
      mask: createMask(maskConfig.parse(settingsOf(maskConfig.shape, options.mask))),
      health: createHealth(),
      registry,
      logger,
      now,
    },
  );
  return {
    app,
    store,
    registry,
    async close() {
      await app.close();
      await hub.stop();
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
