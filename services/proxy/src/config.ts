import { hostname } from 'node:os';
import {
  durationMs,
  formatListenAddress,
  isLoopback,
  listenAddress,
  logConfig,
} from '@sockscope/runtime';
import { clickhouseConfig } from '@sockscope/runtime/clickhouse';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import { z } from 'zod';
import { aclConfig } from './acl/config.js';
import { authConfig } from './auth/config.js';
import type { AuthPolicy } from './connection/handshake.js';
import { bindConfig } from './bind/config.js';
import { dialConfig } from './dial/config.js';
import { dnsConfig } from './dns/config.js';
import { eventsConfig } from './events/config.js';
import { limitsConfig } from './limits/config.js';
import { listenerConfig } from './listener/config.js';
import { relayConfig } from './relay/config.js';
import { trackingConfig } from './sessions/config.js';
import { udpConfig } from './udp/config.js';
import { workersConfig } from './workers/config.js';

/** Less than this is too little for a spool or a queue to work with. */
const MIN_BYTES_PER_WORKER = 1024 * 1024;
const PROXY_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$/;

/** A host's name as a proxy's id: forbidden characters become dashes. */
function defaultProxyId(): string {
  const id = hostname()
    .replace(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 120);
  return PROXY_ID.test(id) ? id : 'proxy';
}

/** The settings of the other services by which clients must not reach them through the proxy. */
const productConfig = z.object({
  clickhouse_url: clickhouseConfig.shape.url,
  clickhouse_failover_urls: clickhouseConfig.shape.failover_urls,
  query_listen: listenAddress().default({ host: '127.0.0.1', port: 8080 }).meta({
    env: 'QUERY_LISTEN',
    description: 'address of the API; no client reaches it through the proxy',
  }),
  query_ops_listen: listenAddress().default({ host: '127.0.0.1', port: 9103 }).meta({
    env: 'QUERY_OPS_LISTEN',
    description: 'operations port of the API: no client reaches it through the proxy',
  }),
  ingest_ops_listen: listenAddress().default({ host: '127.0.0.1', port: 9102 }).meta({
    env: 'INGEST_OPS_LISTEN',
    description: 'operations address of ingest; no client reaches it through the proxy',
  }),
});

const settings = z.object({
  proxy_id: z
    .string()
    .regex(PROXY_ID, 'must be up to 120 letters, digits, dots, dashes and underscores')
    .default(defaultProxyId())
    .meta({
      env: 'PROXY_ID',
      description:
        'name of this proxy in its events; no two proxies on one topic may share it. Default: the host name',
    }),
  workers: workersConfig,
  listener: listenerConfig,
  limits: limitsConfig,
  auth: authConfig,
  acl: aclConfig,
  dns: dnsConfig,
  dial: dialConfig,
  bind: bindConfig,
  udp: udpConfig,
  relay: relayConfig,
  tracking: trackingConfig,
  events: eventsConfig,
  kafka: kafkaConfig,
  ops: z.object({
    listen: listenAddress().default({ host: '127.0.0.1', port: 9101 }).meta({
      env: 'PROXY_OPS_LISTEN',
      description: 'metrics and health',
    }),
  }),
  product: productConfig,
  log: logConfig,
  shutdown: z.object({
    drain_timeout_ms: durationMs({ max: 3_600_000 }).default(5_000).meta({
      env: 'PROXY_DRAIN_TIMEOUT',
      description: 'on a stop, how long handshakes and sessions may continue before they are ended',
    }),
    deadline_ms: durationMs({ min: 100, max: 7_200_000 }).default(30_000).meta({
      env: 'PROXY_SHUTDOWN_DEADLINE',
      description: 'a stop that takes longer ends the process at once',
    }),
  }),
});

/** Every setting of the proxy, and the rules between them. */
export const proxyConfig = settings.superRefine((config, context) => {
  const { listener, auth, acl } = config;
  const wantsUsers = listener.auth === 'password' || listener.auth === 'optional';
  if (wantsUsers && auth.users_file === '') {
    context.addIssue({
      code: 'custom',
      path: ['listener', 'auth'],
      message: `PROXY_AUTH=${listener.auth} needs a users file (PROXY_USERS_FILE)`,
    });
  }
  const trustsAnybody =
    listener.proxy_protocol &&
    listener.proxy_protocol_from.length === 0 &&
    !listener.proxy_protocol_from_any;
  if (trustsAnybody && !isLoopback(listener.listen)) {
    context.addIssue({
      code: 'custom',
      path: ['listener', 'proxy_protocol_from'],
      message:
        'is empty, so any client could choose its source address: list the networks of the load balancers in PROXY_PROXY_PROTOCOL_FROM, or set PROXY_PROXY_PROTOCOL_FROM_ANY=true if only they can reach this port',
    });
  }
  const isGuarded = authPolicyOf(config) === 'password' || acl.file !== '';
  if (!isLoopback(listener.listen) && !isGuarded && !listener.allow_open) {
    context.addIssue({
      code: 'custom',
      path: ['listener', 'listen'],
      message:
        'is reachable from other machines without a password or an ACL: set PROXY_USERS_FILE or PROXY_ACL_FILE, or PROXY_ALLOW_OPEN=true if you want an open proxy',
    });
  }
});

/** The authentication of clients, with `auto` resolved. */
export function authPolicyOf(config: z.infer<typeof settings>): AuthPolicy {
  const { auth } = config.listener;
  if (auth !== 'auto') return auth;
  return config.auth.users_file === '' ? 'none' : 'password';
}

/** Every address of the product that is known from the settings alone. */
export function ownEndpointsOf(config: z.infer<typeof settings>): string[] {
  return [
    ...config.acl.own_endpoints,
    formatListenAddress(config.listener.listen),
    formatListenAddress(config.ops.listen),
    formatListenAddress(config.product.query_listen),
    formatListenAddress(config.product.query_ops_listen),
    formatListenAddress(config.product.ingest_ops_listen),
    config.product.clickhouse_url,
    ...config.product.clickhouse_failover_urls,
    ...config.kafka.brokers,
  ];
}

/** Warnings about settings that are valid. */
export function warningsOf(config: z.infer<typeof settings>): string[] {
  const { listener, shutdown } = config;
  const warnings: string[] = [];
  if (shutdown.drain_timeout_ms >= shutdown.deadline_ms) {
    warnings.push(
      'a stop ends before sessions have had their drain time: raise PROXY_SHUTDOWN_DEADLINE above PROXY_DRAIN_TIMEOUT, with some seconds to publish the last events',
    );
  }
  if (authPolicyOf(config) !== 'none' && !isLoopback(listener.listen)) {
    warnings.push(
      'passwords of SOCKS5 clients cross the network in clear (RFC 1929): listen on a private network or behind a tunnel, and use passwords that open nothing else',
    );
  }
  return warnings;
}

/**
 * The settings of one of several workers: a proxy_id of its own, and its share of limits that cannot
 * be counted for all together.
 */
export function configOfWorker(
  config: z.infer<typeof settings>,
  index: number,
): z.infer<typeof settings> {
  const { events, auth, workers } = config;
  const shareOfBytes = (bytes: number): number =>
    Math.max(MIN_BYTES_PER_WORKER, Math.floor(bytes / workers.count));
  return {
    ...config,
    proxy_id: `${config.proxy_id}-w${index}`,
    events: {
      ...events,
      spool_max_bytes: shareOfBytes(events.spool_max_bytes),
      queue_max_bytes: shareOfBytes(events.queue_max_bytes),
    },
    auth: {
      ...auth,
      // Connections go to the workers in turn, and so do a guesser's.
      free_failures: Math.ceil(auth.free_failures / workers.count),
      free_failures_per_address: Math.ceil(auth.free_failures_per_address / workers.count),
    },
  };
}

export type ProxyConfig = z.infer<typeof proxyConfig>;
