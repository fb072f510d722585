import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { formatListenAddress, type ListenAddress } from '@sockscope/runtime';
import { createKafkaAdmin } from '@sockscope/runtime/kafka';
import { pino } from 'pino';
import { startClickHouse } from '../clickhouse/clickhouse.js';
import { messageOf } from '@sockscope/runtime';
import { LocalError } from '../errors.js';
import { startKafka } from '../kafka/kafka.js';
import { probeKafka } from '../kafka/probe.js';
import { pickFreePort } from '../net/ports.js';
import type { LocalConfig } from './config.js';
import { createHealthWatch, type WatchedPart } from './health-watch.js';
import { createKeeper, type Keeper } from './keeper.js';
import { type DataDirLock, lockDataDir } from './lock.js';
import {
  checkFreeSpace,
  checkListeners,
  openFilesWarning,
  type PlannedListener,
} from './preflight.js';
import type { Reporter } from './report.js';
import { launchService, readyProblem, runServiceCommand, type ServiceSpec } from './service.js';

const PROBE_TIMEOUT_MS = 3_000;
/** Where what runs can be reached. */
export interface RunningProduct {
  readonly proxy: ListenAddress;
  /** host:port of the API and the dashboard. */
  readonly api: string;
  readonly brokers: readonly string[];
  readonly topic: string;
}

export interface Supervisor {
  /** Resolves when everything answers. */
  start(): Promise<RunningProduct>;
  /** Proxy, ingest, query, then Kafka and ClickHouse; each is waited for. */
  stop(): Promise<void>;
  /** Ends every process at once. */
  kill(): Promise<void>;
  /** Settles, with the reason, when a part could not be kept running. */
  readonly gaveUp: Promise<string>;
}

interface Addresses {
  readonly proxy: ListenAddress;
  readonly query: ListenAddress;
  readonly proxyOps: ListenAddress;
  readonly ingestOps: ListenAddress;
  readonly queryOps: ListenAddress;
  readonly kafkaPort: number;
  readonly kafkaControllerPort: number;
  readonly clickhousePort: number;
}

/**
 * The whole product on this machine: Kafka and ClickHouse unless existing ones are configured, then
 * ingest, query and the proxy, each as a process of its own.
 *
 * @param deps.root the checkout.
 */
export function createSupervisor(
  config: LocalConfig,
  deps: { readonly report: Reporter; readonly root: string; readonly env: NodeJS.ProcessEnv },
): Supervisor {
  const { report } = deps;
  const dataDir = resolve(deps.root, config.local.data_dir);
  const abort = new AbortController();
  /** In the order of their start. */
  const keepers: Keeper[] = [];
  const stopWatching: (() => void)[] = [];
  let lock: DataDirLock | null = null;
  let giveUp: (reason: string) => void = () => undefined;
  const gaveUp = new Promise<string>((settle) => {
    giveUp = settle;
  });

  function logFile(name: string): string {
    return join(dataDir, 'logs', `${name.toLowerCase()}.log`);
  }

  async function recordChildren(): Promise<void> {
    await lock?.recordChildren(keepers.flatMap((each) => each.pid() ?? []));
  }

  /** @throws where everything is being stopped: nobody would stop what is kept from then on. */
  function keep(name: string, launch: Parameters<typeof createKeeper>[0]['launch']): Keeper {
    abort.signal.throwIfAborted();
    const keeper = createKeeper(
      { name, launch },
      {
        report,
        onChange: () => void recordChildren().catch(() => undefined),
        onGiveUp: giveUp,
      },
    );
    keepers.push(keeper);
    return keeper;
  }

  async function startServers(addresses: Addresses): Promise<void> {
    const local = [
      ...(config.existingKafka
        ? []
        : [
            keep('Kafka', (signal) =>
              startKafka({
                dataDir: join(dataDir, 'kafka'),
                port: addresses.kafkaPort,
                controllerPort: addresses.kafkaControllerPort,
                heapMiB: config.local.kafka_heap_mib,
                logFile: logFile('kafka'),
                niceness: config.local.niceness,
                signal,
              }),
            ),
          ]),
      ...(config.existingClickHouse
        ? []
        : [
            keep('ClickHouse', (signal) =>
              startClickHouse({
                dataDir: join(dataDir, 'clickhouse'),
                httpPort: addresses.clickhousePort,
                memoryMiB: config.local.clickhouse_memory_mib,
                logFile: logFile('clickhouse'),
                niceness: config.local.niceness,
                signal,
              }),
            ),
          ]),
    ];
    if (local.length === 0) return;
    await report.step(`starting ${local.map((keeper) => keeper.name).join(' and ')}`, async () => {
      const results = await Promise.allSettled(local.map((keeper) => keeper.start()));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    });
  }

  /** The event topic; ingest creates the dead-letter topic. */
  async function createTopic(brokers: readonly string[]): Promise<void> {
    const admin = createKafkaAdmin(
      { ...config.kafka, brokers: [...brokers] },
      { logger: pino({ level: 'silent' }), role: 'local' },
    );
    try {
      const { topic } = config.kafka;
      const partitions = config.local.topic_partitions;
      await admin.ensureTopic({ name: topic, partitions, replicationFactor: null });
    } catch (cause) {
      const where = config.existingKafka ? ' (from KAFKA_BROKERS)' : '';
      throw new LocalError(
        'STEP_FAILED',
        `The topic could not be created on ${brokers.join(', ')}${where}: ${messageOf(cause)}`,
        { cause },
      );
    } finally {
      await admin.stop();
    }
  }

  async function checkClickHouse(): Promise<void> {
    // Not the configured database: migrations are what creates it.
    const client = createClickHouse({ ...config.clickhouse, database: 'default' });
    try {
      await client.ping();
    } catch (cause) {
      throw new LocalError(
        'STEP_FAILED',
        `ClickHouse at ${config.clickhouse.url} (from CLICKHOUSE_URL) does not answer: ${messageOf(cause)}`,
        { cause },
      );
    } finally {
      await client.close();
    }
  }

  async function start(): Promise<RunningProduct> {
    lock = await lockDataDir(dataDir, () => {
      report.line('waiting for the processes of a run that was killed to end');
    });
    await mkdir(join(dataDir, 'logs'), { recursive: true });
    await checkFreeSpace(dataDir);
    const fewFiles = openFilesWarning();
    if (fewFiles !== null) report.problem(fewFiles);
    const addresses = await resolveAddresses(config);
    await checkListeners(plannedListeners(config, addresses));
    abort.signal.throwIfAborted();

    await startServers(addresses);
    const brokers = config.existingKafka
      ? config.kafka.brokers
      : [`127.0.0.1:${String(addresses.kafkaPort)}`];
    const clickhouseUrl = config.existingClickHouse
      ? config.clickhouse.url
      : `http://127.0.0.1:${String(addresses.clickhousePort)}`;
    await createTopic(brokers);
    if (config.existingClickHouse) await checkClickHouse();
    abort.signal.throwIfAborted();

    const services = serviceSpecs({
      config,
      deps,
      dataDir,
      addresses,
      brokers,
      clickhouseUrl,
      logFile,
    });
    await report.step('preparing the tables', () =>
      runServiceCommand(services.ingest, ['migrate'], abort.signal),
    );
    await report.step('starting ingest, query and the proxy', async () => {
      // The proxy last: nothing is accepted before it can be shown.
      const results = await Promise.allSettled(
        [services.ingest, services.query].map((spec) => keepService(spec).start()),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      abort.signal.throwIfAborted();
      await keepService(services.proxy).start();
    });
    abort.signal.throwIfAborted();
    const watch = createHealthWatch(
      [
        ...serversOf(addresses),
        ...Object.values(services).map(({ name, readyUrl }) =>
          watched(name, () => readyProblem(readyUrl)),
        ),
      ],
      { report, checkDisk: () => checkFreeSpace(dataDir) },
    );
    watch.start();
    stopWatching.push(() => {
      watch.stop();
    });
    await recordChildren();
    abort.signal.throwIfAborted();
    report.ready(readyLine(addresses, brokers, clickhouseUrl));
    return {
      proxy: reachable(addresses.proxy),
      api: formatListenAddress(reachable(addresses.query)),
      brokers,
      topic: config.kafka.topic,
    };
  }

  function watched(name: string, problem: WatchedPart['problem']): WatchedPart {
    return { name, problem, isUp: () => (find(name)?.pid() ?? null) !== null };
  }

  /** The local Kafka and ClickHouse; an existing one is the services' to complain of. */
  function serversOf({ kafkaPort, clickhousePort }: Addresses): WatchedPart[] {
    return [
      watched('Kafka', async () => {
        try {
          await probeKafka('127.0.0.1', kafkaPort, PROBE_TIMEOUT_MS);
          return null;
        } catch (error) {
          return messageOf(error);
        }
      }),
      watched('ClickHouse', () => readyProblem(`http://127.0.0.1:${String(clickhousePort)}/ping`)),
    ];
  }

  function keepService(spec: ServiceSpec): Keeper {
    return keep(spec.name, (signal) => launchService(spec, signal));
  }

  function find(name: string): Keeper | undefined {
    return keepers.find((keeper) => keeper.name === name);
  }

  async function stopOne(name: string): Promise<void> {
    const keeper = find(name);
    if (keeper === undefined) return;
    if (keeper.pid() === null) await keeper.stop();
    else await report.step(`stopping ${name}`, () => keeper.stop());
  }

  return {
    gaveUp,
    start,
    async stop() {
      abort.abort(new LocalError('STEP_FAILED', 'interrupted'));
      for (const end of stopWatching) end();
      await stopOne('proxy');
      await stopOne('ingest');
      await stopOne('query');
      await Promise.all([stopOne('Kafka'), stopOne('ClickHouse')]);
      await lock?.release();
    },
    async kill() {
      abort.abort(new LocalError('STEP_FAILED', 'interrupted'));
      await Promise.all(keepers.map((keeper) => keeper.kill()));
      await lock?.release();
    },
  };
}

async function resolveAddresses(config: LocalConfig): Promise<Addresses> {
  const fill = async (address: ListenAddress): Promise<ListenAddress> =>
    address.port === 0 ? { ...address, port: await pickFreePort() } : address;
  return {
    proxy: await fill(config.proxy_listen),
    query: await fill(config.query_listen),
    proxyOps: await fill(config.proxy_ops_listen),
    ingestOps: await fill(config.ingest_ops_listen),
    queryOps: await fill(config.query_ops_listen),
    kafkaPort: config.local.kafka_port || (await pickFreePort()),
    kafkaControllerPort: config.local.kafka_controller_port || (await pickFreePort()),
    clickhousePort: config.local.clickhouse_http_port || (await pickFreePort()),
  };
}

function plannedListeners(config: LocalConfig, addresses: Addresses): PlannedListener[] {
  const loopback = (port: number): ListenAddress => ({ host: '127.0.0.1', port });
  return [
    { what: 'The proxy', env: 'PROXY_LISTEN', address: addresses.proxy },
    { what: 'The API', env: 'QUERY_LISTEN', address: addresses.query },
    {
      what: "The proxy's health server",
      env: 'PROXY_OPS_LISTEN',
      address: addresses.proxyOps,
    },
    {
      what: "Ingest's health server",
      env: 'INGEST_OPS_LISTEN',
      address: addresses.ingestOps,
    },
    {
      what: "The API's health server",
      env: 'QUERY_OPS_LISTEN',
      address: addresses.queryOps,
    },
    ...(config.existingKafka
      ? []
      : [
          {
            what: 'The local Kafka',
            env: 'LOCAL_KAFKA_PORT',
            address: loopback(addresses.kafkaPort),
          },
        ]),
    ...(config.existingClickHouse
      ? []
      : [
          {
            what: 'The local ClickHouse',
            env: 'LOCAL_CLICKHOUSE_HTTP_PORT',
            address: loopback(addresses.clickhousePort),
          },
        ]),
  ];
}

function serviceSpecs(options: {
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
    ingest: spec('ingest', addresses.ingestOps, quickTakeover(deps.env)),
    query: spec('query', addresses.queryOps),
    proxy: spec('proxy', addresses.proxyOps, {
      PROXY_ACL_FILE: deps.env['PROXY_ACL_FILE'] || join(deps.root, 'infra', 'local', 'acl.yaml'),
      PROXY_OWN_ENDPOINTS: ownEndpoints(options, deps.env['PROXY_OWN_ENDPOINTS']).join(','),
      // All clients on one machine have one address.
      PROXY_MAX_SESSIONS_PER_SOURCE: deps.env['PROXY_MAX_SESSIONS_PER_SOURCE'] || '0',
      PROXY_SPOOL_DIR: deps.env['PROXY_SPOOL_DIR'] || join(options.dataDir, 'proxy-spool'),
      // Connections make much garbage that dies young: docs/adr/0021.
      NODE_OPTIONS: deps.env['NODE_OPTIONS'] || '--max-semi-space-size=64',
    }),
  };
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

/** What a client must not reach through the proxy, whatever the ACL says of this machine. */
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

/** A server that listens on every address is asked on this machine's own. */
function reachable(address: ListenAddress): ListenAddress {
  if (address.host === '0.0.0.0') return { ...address, host: '127.0.0.1' };
  if (address.host === '::') return { ...address, host: '::1' };
  return address;
}

function readyLine(
  addresses: Addresses,
  brokers: readonly string[],
  clickhouseUrl: string,
): string {
  const api = formatListenAddress(reachable(addresses.query));
  return [
    `sockscope ready: SOCKS5 ${formatListenAddress(reachable(addresses.proxy))}`,
    `API http://${api}/api/v1`,
    `docs http://${api}/docs`,
    `metrics ${[addresses.proxyOps, addresses.ingestOps, addresses.queryOps].map((each) => `http://${formatListenAddress(reachable(each))}/metrics`).join(' ')}`,
    `Kafka ${brokers.join(',')}`,
    `ClickHouse ${clickhouseUrl}`,
  ].join(', ');
}
