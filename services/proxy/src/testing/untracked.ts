/**
 * The whole proxy without tracking: no events, no Kafka, no spool. For measuring the cost of tracking;
 * it reads the same settings as the proxy.
 */
import { createLogger, createRegistry, createService, loadConfig } from '@sockscope/runtime';
import type { Component } from '@sockscope/runtime';
import { createAcl } from '../acl/acl.js';
import { createAuthenticator } from '../auth/auth.js';
import { authPolicyOf, ownEndpointsOf, proxyConfig } from '../config.js';
import { createRelay } from '../relay/create-relay.js';
import { createProxyServer } from '../server.js';
import type { LateHeader, SessionHeader } from '../events/event-parts.js';
import type { Session, SessionTracker } from '../sessions/session.js';

/** Counts, and reports nothing. */
class UntrackedSession implements Session {
  readonly session_id = '';
  readonly startedAtMs = 0;
  bytesSent = 0;
  bytesReceived = 0;
  packetsSent = 0;
  packetsReceived = 0;
  aclInputs = null;
  refreshCounters = null;
  terminate = null;
  closed = false;

  constructor(
    readonly header: SessionHeader,
    readonly late: LateHeader,
  ) {}

  connected(): void {
    // Nobody asks.
  }

  unreached(): void {
    // Nobody asks.
  }

  blocked(): void {
    // Nobody asks.
  }

  close(): void {
    this.closed = true;
  }
}

const untracked: SessionTracker = {
  open: (header, late) => new UntrackedSession(header, late),
  live: () => [][Symbol.iterator](),
  liveCount: 0,
  start: () => undefined,
  stop: () => undefined,
};

const config = loadConfig(proxyConfig, process.env);
const logger = createLogger('proxy', config.log);
const registry = createRegistry('proxy');
const acl = createAcl(
  { ...config.acl, own_endpoints: ownEndpointsOf(config) },
  { logger, metrics: registry },
);
const authenticator = createAuthenticator(config.auth, { logger, metrics: registry });
const relay = createRelay(config.relay, { logger, metrics: registry });
const server = createProxyServer(
  {
    ...config,
    auth_policy: authPolicyOf(config),
    keepalive_ms: config.relay.keepalive_ms,
    drain_timeout_ms: 0,
  },
  {
    acl,
    authenticator,
    tracker: untracked,
    spool: { bytes: 0, maxBytes: 1, holdsLess: () => true },
    relay,
    registry,
    logger,
  },
);
const components: (readonly [string, Component])[] = [
  ['users', authenticator],
  ['acl', acl],
  ['relay', relay],
  ['server', server],
];
const service = createService(
  { name: 'proxy', shutdown_deadline_ms: config.shutdown.deadline_ms },
  components,
  { logger },
);
await service.run();
