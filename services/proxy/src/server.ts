import { formatListenAddress } from '@sockscope/runtime';
import type { ListenAddress, Logger, Registry } from '@sockscope/runtime';
import type { CloseReason } from '@sockscope/schemas';
import type { Acl } from './acl/acl.js';
import type { ManagedAuthenticator } from './auth/auth.js';
import type { BindConfig } from './bind/config.js';
import { createBinder } from './bind/binder.js';
import type { Connection, ConnectionContext } from './connection/connection.js';
import type { AuthPolicy } from './connection/handshake.js';
import { HandshakePlaces } from './connection/handshake-places.js';
import { Lingering } from './connection/lingering.js';
import { createConnectionMetrics } from './connection/metrics.js';
import type { DialConfig } from './dial/config.js';
import { createDialer } from './dial/dialer.js';
import type { DnsConfig } from './dns/config.js';
import { showResolver } from './dns/metrics.js';
import { createNameResolver } from './dns/resolver.js';
import { Admission } from './limits/admission.js';
import type { SharedCounts } from './limits/admission.js';
import type { LimitsConfig } from './limits/config.js';
import { DescriptorBudget, descriptorLimit, descriptorsForClients } from './limits/descriptors.js';
import { EarlyBytes } from './limits/early-bytes.js';
import { DeadlineQueue } from './collections/deadline-queue.js';
import { IntrusiveSet } from './collections/intrusive-set.js';
import { SpoolShare } from './limits/spool-share.js';
import type { Spool } from './limits/spool-share.js';
import type { ListenerConfig } from './listener/config.js';
import { createListener } from './listener/listener.js';
import { SessionGate } from './policy/session-gate.js';
import type { Relay } from './relay/relay.js';
import { createRevocation } from './sessions/revocation.js';
import type { SessionTracker } from './sessions/session.js';
import { createAssociations } from './udp/association.js';
import type { UdpConfig } from './udp/config.js';
import { createUdpMetrics } from './udp/metrics.js';

export interface ServerConfig {
  readonly listener: ListenerConfig;
  readonly limits: LimitsConfig;
  readonly dial: DialConfig;
  readonly dns: DnsConfig;
  readonly bind: BindConfig;
  readonly udp: UdpConfig;
  readonly auth_policy: AuthPolicy;
  readonly keepalive_ms: number;
  /** How long `stop` waits for sessions to end by themselves. */
  readonly drain_timeout_ms: number;
}

export type ServerUsers = Pick<ManagedAuthenticator, 'verify' | 'groupsOf' | 'knows' | 'onChange'>;

export interface ServerDeps {
  readonly acl: Acl;
  /** Users, and whether one still exists. */
  readonly authenticator: ServerUsers;
  readonly tracker: SessionTracker;
  readonly spool: Spool;
  readonly relay: Relay;
  readonly registry: Registry;
  readonly logger: Logger;
  /** Counts of other processes under the same limits; null if there are none. */
  readonly sharedCounts?: SharedCounts | null;
}

export interface ProxyServer {
  /** Whether clients are accepted. */
  readonly isListening: boolean;
  /** Clients that no relay has taken over. */
  readonly connections: number;
  start(): Promise<ListenAddress>;
  /** Accepts no more, lets handshakes and sessions end for the drain time, ends the rest with `server_shutdown`. */
  stop(): Promise<void>;
}

/** How long a destination may still take when the client has ended its side already. */
const ABANDON_AFTER_MS = 1_000;
/** Time between two checks of `stop` whether all sessions have ended. */
const DRAIN_POLL_MS = 20;
/** How long ending sessions may take: their sockets are only closed. */
const TERMINATE_TIMEOUT_MS = 2_000;

/** The SOCKS5 server: everything between the listening socket and the relay. */
export function createProxyServer(config: ServerConfig, deps: ServerDeps): ProxyServer {
  const { acl, authenticator, tracker, relay, registry, logger } = deps;
  const systemLimit = descriptorLimit();
  const descriptors = new DescriptorBudget(
    systemLimit === null ? Number.POSITIVE_INFINITY : descriptorsForClients(systemLimit),
    () => relay.descriptors,
  );
  const admission = new Admission(config.limits, descriptors, deps.sharedCounts ?? null);
  const open = new IntrusiveSet<Connection>();
  const earlyBytes = new EarlyBytes(config.limits.early_payload_bytes);
  const metrics = createConnectionMetrics(registry, admission, earlyBytes);
  const resolver = createNameResolver(config.dns);
  showResolver(registry, () => resolver.stats);
  const revocation = createRevocation({ acl, users: authenticator, tracker, logger });
  const policy = { acl, users: authenticator };
  const gate = new SessionGate({
    policy,
    admission,
    tracker,
    spoolShare: new SpoolShare(deps.spool),
    aclDecisions: metrics.aclDecisions,
    limitRefusals: metrics.limitRefusals,
  });
  const context: ConnectionContext = {
    handshake: { authPolicy: config.auth_policy, authenticator },
    handshakePlaces: new HandshakePlaces(admission, config.limits.handshake_timeout_ms),
    commands: {
      policy,
      gate,
      dialer: createDialer(config.dial, { resolver, descriptors }),
      binder: createBinder(config.bind, { resolver, descriptors }),
      associations: createAssociations(config.udp, {
        policy,
        gate,
        resolver,
        descriptors,
        metrics: createUdpMetrics(registry),
      }),
      descriptors,
      metrics,
      aclGeneration: () => revocation.generation,
    },
    relay,
    earlyBytes,
    keepaliveMs: config.keepalive_ms,
    abandonDeadlines: new DeadlineQueue(ABANDON_AFTER_MS),
    lingering: new Lingering(config.limits.max_lingering, config.limits.reply_linger_ms),
    open,
  };
  const listener = createListener(config.listener, { context, logger });

  function terminateAll(reason: CloseReason): void {
    for (const session of tracker.live()) session.terminate?.(reason, null);
  }

  let isListening = false;

  function warnOfDescriptors(): void {
    if (systemLimit === null) return;
    const { max_sessions, max_handshakes } = config.limits;
    const needed = 2 * max_sessions + max_handshakes + relay.maxDescriptors;
    if (max_sessions !== 0 && needed <= descriptors.limit) return;
    logger.warn(
      { max_sessions, max_handshakes, needed, available: descriptors.limit },
      'this process may not open enough files for its limits: raise ulimit -n, or lower PROXY_MAX_SESSIONS, PROXY_MAX_HANDSHAKES or PROXY_SPLICE_MAX_PIPES',
    );
  }

  return {
    get isListening() {
      return isListening;
    },
    get connections() {
      return open.size;
    },
    async start() {
      warnOfDescriptors();
      await resolver.start();
      const address = await listener.start();
      isListening = true;
      logger.info({ address: formatListenAddress(address) }, 'listening');
      return address;
    },
    async stop() {
      isListening = false;
      listener.stop();
      const sessions = tracker.liveCount;
      if (sessions > 0) logger.info({ sessions }, 'waiting for sessions to end');
      // A client in its handshake may have been answered: no balancer can hand it to another proxy.
      await until(() => tracker.liveCount === 0 && open.size === 0, config.drain_timeout_ms);
      const left = tracker.liveCount;
      if (left > 0) logger.info({ sessions: left }, 'ending the remaining sessions');
      terminateAll('server_shutdown');
      await until(() => tracker.liveCount === 0, TERMINATE_TIMEOUT_MS);
      for (const connection of open) connection.shutdown();
      revocation.stop();
      await resolver.stop();
    },
  };
}

async function until(condition: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < deadlineMs) {
    await new Promise((resolve) => {
      setTimeout(resolve, DRAIN_POLL_MS);
    });
  }
}
