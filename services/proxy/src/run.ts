import {
  createHealth,
  createLogger,
  createOpsServer,
  createRegistry,
  createService,
} from '@sockscope/runtime';
import type { Component } from '@sockscope/runtime';
import { createAcl } from './acl/acl.js';
import { createAuthenticator } from './auth/auth.js';
import { authPolicyOf, ownEndpointsOf } from './config.js';
import type { ProxyConfig } from './config.js';
import { createEventPipeline } from './events/index.js';
import { createRelay } from './relay/index.js';
import { createProxyServer } from './server.js';
import {
  createSessionClock,
  createSessionMetrics,
  createSessionTracker,
} from './sessions/index.js';

const VERSION = '0.1.0';

/** Wires the proxy together and runs it until it is asked to stop. */
export async function runProxy(config: ProxyConfig): Promise<void> {
  const logger = createLogger('proxy', config.log);
  const registry = createRegistry('proxy', VERSION);
  const health = createHealth();
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
  const authenticator = createAuthenticator(config.auth, { logger, metrics: registry });
  const relay = createRelay(config.relay, { logger, metrics: registry });
  const server = createProxyServer(
    {
      listener: config.listener,
      limits: config.limits,
      dial: config.dial,
      dns: config.dns,
      bind: config.bind,
      udp: config.udp,
      auth_policy: authPolicyOf(config),
      drain_timeout_ms: config.shutdown.drain_timeout_ms,
    },
    { acl, authenticator, tracker, relay, registry, logger },
  );
  const ops = createOpsServer(config.ops, { health, metrics: registry, logger });
  health.add('info', 'acl', () => acl.check());
  health.add('info', 'users', () => authenticator.check());
  health.add('ready', 'listener', () => ({ ok: server.isListening }));
  health.add('ready', 'events', () => ({ ok: events.accepting }));

  const components: (readonly [string, Component])[] = [
    ['ops', ops],
    ['events', events],
    ['users', authenticator],
    ['acl', acl],
    ['tracker', tracker],
    ['relay', relay],
    ['server', server],
  ];
  const service = createService(
    { name: 'proxy', shutdown_deadline_ms: config.shutdown.deadline_ms },
    components,
    { logger },
  );
  process.on('SIGHUP', () => {
    void acl.reload();
    void authenticator.reload();
  });
  await service.run();
}
