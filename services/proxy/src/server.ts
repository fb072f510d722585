import { formatListenAddress } from '@sockscope/runtime';
import type { ListenAddress, Logger, Registry } from '@sockscope/runtime';
import type { CloseReason } from '@sockscope/schemas';
import type { Acl } from './acl/acl.js';
import type { Authenticator } from './auth/auth.js';
import type { AuthPolicy, Connection, ConnectionContext } from './connection/connection.js';
import { createConnectionMetrics } from './connection/metrics.js';
import type { DialConfig } from './dial/config.js';
import { createDialer } from './dial/dialer.js';
import type { DnsConfig } from './dns/config.js';
import { createNameResolver } from './dns/resolver.js';
import { Admission } from './limits/admission.js';
import type { LimitsConfig } from './limits/config.js';
import { DeadlineQueue } from './limits/deadlines.js';
import type { ListenerConfig } from './listener/config.js';
import { createListener } from './listener/listener.js';
import type { Relay } from './relay/relay.js';
import type { SessionTracker } from './sessions/session.js';

export interface ServerConfig {
  readonly listener: ListenerConfig;
  readonly limits: LimitsConfig;
  readonly dial: DialConfig;
  readonly dns: DnsConfig;
  readonly auth_policy: AuthPolicy;
  /** How long `stop` waits for sessions to end by themselves. */
  readonly drain_timeout_ms: number;
}

export interface ServerDeps {
  readonly acl: Acl;
  readonly authenticator: Authenticator;
  readonly tracker: SessionTracker;
  readonly relay: Relay;
  readonly registry: Registry;
  readonly logger: Logger;
}

export interface ProxyServer {
  /** Whether clients are accepted. */
  readonly isListening: boolean;
  start(): Promise<ListenAddress>;
  /** Accepts no more, lets sessions end for the drain time, ends the rest with `server_shutdown`. */
  stop(): Promise<void>;
}

/** How often `stop` looks whether the sessions are gone. */
const DRAIN_POLL_MS = 20;
/** How long sessions have that were told to end: their sockets are only closed. */
const TERMINATE_TIMEOUT_MS = 2_000;

/** The SOCKS5 server: everything between the listening socket and the relay. */
export function createProxyServer(config: ServerConfig, deps: ServerDeps): ProxyServer {
  const { acl, authenticator, tracker, relay, registry, logger } = deps;
  const admission = new Admission(config.limits);
  const open = new Set<Connection>();
  const context: ConnectionContext = {
    authPolicy: config.auth_policy,
    acl,
    authenticator,
    admission,
    tracker,
    dialer: createDialer(config.dial, { resolver: createNameResolver(config.dns) }),
    relay,
    metrics: createConnectionMetrics(registry, admission),
    handshakeDeadlines: new DeadlineQueue(config.limits.handshake_timeout_ms),
    lingerDeadlines: new DeadlineQueue(config.limits.reply_linger_ms),
    open,
  };
  const listener = createListener(config.listener, { context, logger });

  function terminateAll(reason: CloseReason): void {
    for (const session of tracker.live()) session.terminate?.(reason, null);
  }

  let isListening = false;

  return {
    get isListening() {
      return isListening;
    },
    async start() {
      const address = await listener.start();
      isListening = true;
      logger.info({ address: formatListenAddress(address) }, 'listening');
      return address;
    },
    async stop() {
      isListening = false;
      await listener.stop();
      const sessions = tracker.liveCount;
      if (sessions > 0) logger.info({ sessions }, 'waiting for sessions to end');
      await until(() => tracker.liveCount === 0, config.drain_timeout_ms);
      const left = tracker.liveCount;
      if (left === 0) return;
      logger.info({ sessions: left }, 'ending the sessions that are left');
      terminateAll('server_shutdown');
      await until(() => tracker.liveCount === 0, TERMINATE_TIMEOUT_MS);
      for (const connection of open) connection.destroy();
    },
  };
}

async function until(condition: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < deadlineMs) {
    // oxlint-disable-next-line no-await-in-loop
    await new Promise((resolve) => {
      setTimeout(resolve, DRAIN_POLL_MS);
    });
  }
}
