import { join } from 'node:path';
import { formatListenAddress, type ListenAddress } from '@sockscope/runtime';
import { type Addresses, reachable } from './addresses.js';
import type { LocalConfig } from './config.js';
import type { ServiceSpec } from './service.js';

/** Returns how each service of ours is started. */
export function serviceSpecs(options: {
  readonly config: LocalConfig;
  readonly deps: { readonly root: string; readonly env: NodeJS.ProcessEnv };
  readonly dataDir: string;
  readonly addresses: Addresses;
  readonly brokers: readonly string[];
  readonly clickhouseUrl: string;
  readonly logFile: (name: string) => string;
}): { ingest: ServiceSpec; query: ServiceSpec; proxy: ServiceSpec } {
  const { deps, addresses } = options;
  const shared = {
    ...deps.env,
    KAFKA_BROKERS: options.brokers.join(','),
    CLICKHOUSE_URL: options.clickhouseUrl,
    PROXY_LISTEN: formatListenAddress(addresses.proxy),
    QUERY_LISTEN: formatListenAddress(addresses.query),
    PROXY_OPS_LISTEN: formatListenAddress(addresses.proxyOps),
    INGEST_OPS_LISTEN: formatListenAddress(addresses.ingestOps),
    QUERY_OPS_LISTEN: formatListenAddress(addresses.queryOps),
  };
  const { config } = options;
  const spec = (
    name: 'ingest' | 'query' | 'proxy',
    ops: ListenAddress,
    env: NodeJS.ProcessEnv = {},
  ): ServiceSpec => ({
    name,
    deadlineMs: config[`${name}_deadline_ms`],
    script: join(deps.root, 'services', name, 'dist', 'main.js'),
    env: { ...shared, ...env },
    readyUrl: `http://${formatListenAddress(reachable(ops))}/readyz`,
    logFile: options.logFile(name),
    niceness: name === 'proxy' ? 0 : config.local.niceness,
  });
  return {
    ingest: spec('ingest', addresses.ingestOps, {
      ...quickTakeover(deps.env),
      // Memory of a batch goes back to the system: see docs/13-sizing.md.
      MALLOC_MMAP_THRESHOLD_: deps.env['MALLOC_MMAP_THRESHOLD_'] || '262144',
      INGEST_ROLLUP_PRESENT_NICE: deps.env['INGEST_ROLLUP_PRESENT_NICE'] || presentNice(config),
    }),
    query: spec('query', addresses.queryOps),
    proxy: spec('proxy', addresses.proxyOps, {
      PROXY_ACL_FILE: deps.env['PROXY_ACL_FILE'] || join(deps.root, 'infra', 'local', 'acl.yaml'),
      PROXY_OWN_ENDPOINTS: ownEndpoints(options, deps.env['PROXY_OWN_ENDPOINTS']).join(','),
      // All clients on one machine have one address.
      PROXY_MAX_SESSIONS_PER_SOURCE: deps.env['PROXY_MAX_SESSIONS_PER_SOURCE'] || '0',
      PROXY_SPOOL_DIR: deps.env['PROXY_SPOOL_DIR'] || join(options.dataDir, 'proxy-spool'),
      // Connections make much garbage that dies young: docs/adr/0016.
      NODE_OPTIONS: deps.env['NODE_OPTIONS'] || '--max-semi-space-size=64',
    }),
  };
}

/** How much less nice than the other threads of ClickHouse those are that sum the newest slices. */
const PRESENT_LESS_NICE = 5;

/** The newest sums go before other work of ClickHouse, and never before the proxy. */
function presentNice({ local }: LocalConfig): string {
  return String(Math.max(0, local.niceness - PRESENT_LESS_NICE));
}

/**
 * After kill -9 the group keeps the dead member's partitions for its session timeout. Someone at one
 * machine would see nothing new for half a minute with the service's default.
 */
function quickTakeover(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const isSet = ['KAFKA_SESSION_TIMEOUT', 'KAFKA_HEARTBEAT_INTERVAL', 'INGEST_INSERT_TIMEOUT'].some(
    (name) => env[name] !== undefined && env[name] !== '',
  );
  if (isSet) return {};
  return {
    KAFKA_SESSION_TIMEOUT: '8s',
    KAFKA_HEARTBEAT_INTERVAL: '2s',
    INGEST_INSERT_TIMEOUT: '6s',
  };
}

/** Addresses that a client must not reach through the proxy, even if the ACL allows this machine. */
function ownEndpoints(
  options: {
    readonly config: LocalConfig;
    readonly addresses: Addresses;
    readonly brokers: readonly string[];
    readonly clickhouseUrl: string;
  },
  more: string | undefined,
): string[] {
  const { proxy, query, proxyOps, ingestOps, queryOps, kafkaControllerPort } = options.addresses;
  return [
    ...[proxy, query, proxyOps, ingestOps, queryOps].map(formatListenAddress),
    ...options.brokers,
    ...(options.config.existingKafka ? [] : [`127.0.0.1:${String(kafkaControllerPort)}`]),
    options.clickhouseUrl,
    ...(more === undefined || more === '' ? [] : [more]),
  ];
}
