import {
  createHealth,
  createLogger,
  createOpsServer,
  createRegistry,
  createService,
  formatListenAddress,
  measureCertificates,
} from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { createAcl } from './acl/acl.js';
import { createAuthenticator } from './auth/auth.js';
import { authPolicyOf, configOfWorker, ownEndpointsOf, warningsOf } from './config.js';
import type { ProxyConfig } from './config.js';
import { createEventPipeline } from './events/pipeline.js';
import { createRelay } from './relay/create-relay.js';
import { createProxyServer } from './server.js';
import { createSessionClock } from './sessions/clock.js';
import { createSessionMetrics } from './sessions/metrics.js';
import { createSessionTracker } from './sessions/tracker.js';
import { forkClusterWorker, killWorkers, primaryPort, workerIndex } from './workers/cluster.js';
import { CountShare } from './workers/count-share.js';
import { createWorkerLink } from './workers/link.js';
import { createWorkerPool } from './workers/pool.js';

/** Runs the proxy until it is asked to stop: in this process, or in several workers under this one. */
export async function runProxy(config: ProxyConfig): Promise<void> {
  const index = workerIndex();
  if (index !== null) await serve(configOfWorker(config, index), index);
  else if (config.workers.count > 1) await supervise(config);
  else await serve(config, null);
}

function warn(config: ProxyConfig, logger: Logger): void {
  for (const warning of warningsOf(config)) logger.warn(warning);
}

/** The primary of several workers: it serves no client itself, and answers metrics and health for all of them. */
async function supervise(config: ProxyConfig): Promise<void> {
  const logger = createLogger('proxy', config.log);
  warn(config, logger);
  const registry = createRegistry('proxy');
  const health = createHealth();
  const pool = createWorkerPool(config.workers, { fork: forkClusterWorker, logger, registry });
  const ops = createOpsServer(config.ops, { health, metrics: pool.metrics, logger });
  health.add('live', 'workers', () => pool.check('live'));
  health.add('ready', 'workers', () => pool.check('ready'));
  process.on('SIGHUP', () => {
    pool.reload();
  });
  process.on('exit', killWorkers);
  const service = createService(
    { name: 'proxy', shutdown_deadline_ms: config.shutdown.deadline_ms },
    [
      ['ops', ops],
      ['workers', pool],
    ],
    { logger },
  );
  await service.run();
}

/**
 * Wires the proxy together and runs it until it is asked to stop.
 *
 * @param worker the number of this worker; null if it is the only process.
 */
async function serve(config: ProxyConfig, worker: number | null): Promise<void> {
  const root = createLogger('proxy', config.log);
  const logger = worker === null ? root : root.child({ worker });
  if (worker === null) warn(config, logger);
  const sharedCounts = worker === null ? null : new CountShare();
  const registry = createRegistry('proxy');
  const health = createHealth();
  measureCertificates(registry, {
    presented: { KAFKA_TLS_CERT_FILE: config.kafka.tls_cert_file },
    trusted: { KAFKA_TLS_CA_FILE: config.kafka.tls_ca_file },
  });
  const clock = createSessionClock();

  const events = createEventPipeline(config.events, {
    kafka: config.kafka,
    logger,
    registry,
    proxyId: config.proxy_id,
  });
  const tracker = createSessionTracker(config.tracking, {
    sink: events,
    clock,
    metrics: createSessionMetrics(registry),
    origin: { proxy_id: config.proxy_id, proxy_epoch: clock.now() },
  });
  const acl = createAcl(
    { ...config.acl, own_endpoints: ownEndpointsOf(config) },
    { logger, metrics: registry },
  );
  const authenticator = createAuthenticator(config.auth, {
    logger,
    metrics: registry,
    deadlineMs: config.limits.handshake_timeout_ms,
  });
  const relay = createRelay(config.relay, { logger, metrics: registry });
  const server = createProxyServer(
    {
      listener: config.listener,
      limits: config.limits,
      dial: config.dial,
      dns: config.dns,
      bind: config.bind,
      udp: config.udp,
      keepalive_ms: config.relay.keepalive_ms,
      auth_policy: authPolicyOf(config),
      drain_timeout_ms: config.shutdown.drain_timeout_ms,
    },
    { acl, authenticator, tracker, spool: events.spool, relay, registry, logger, sharedCounts },
  );
  health.add('info', 'acl', () => acl.check());
  health.add('info', 'users', () => authenticator.check());
  health.add('ready', 'listener', () => ({ ok: server.isListening }));
  health.add('ready', 'events', () => events.health());

  // A port of 0 is known only now.
  const listening: Component = {
    async start() {
      await acl.protectEndpoints([formatListenAddress(await server.start())]);
    },
    stop: () => server.stop(),
  };
  const relaying: Component = {
    async start() {
      await relay.start();
      logger.info({ relay: relay.name }, 'relay chosen');
    },
    stop: () => relay.stop(),
  };
  const reload = (): void => {
    void acl.reload();
    void authenticator.reload();
  };
  const components: (readonly [string, Component])[] = [
    ['events', events],
    ['users', authenticator],
    ['acl', acl],
    ['tracker', tracker],
    ['relay', relaying],
    ['server', listening],
  ];
  if (sharedCounts === null) {
    components.unshift(['ops', createOpsServer(config.ops, { health, metrics: registry, logger })]);
    process.on('SIGHUP', reload);
  } else {
    const link = createWorkerLink({
      port: primaryPort,
      share: sharedCounts,
      health,
      registry,
      onReload: reload,
      onStop: () => void service.shutdown('the primary asked for it'),
    });
    components.push(['link', link]);
    // The primary passes it on; without a listener it would end the worker.
    process.on('SIGHUP', () => undefined);
  }
  const service = createService(
    { name: 'proxy', shutdown_deadline_ms: config.shutdown.deadline_ms },
    components,
    { logger },
  );
  await service.run();
}
