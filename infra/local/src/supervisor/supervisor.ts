import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import { formatListenAddress, type ListenAddress, messageOf } from '@sockscope/runtime';
import { startClickHouse } from '../clickhouse/clickhouse.js';
import { LocalError } from '../errors.js';
import { startKafka } from '../kafka/kafka.js';
import { probeKafka } from '../kafka/probe.js';
import { type Addresses, plannedListeners, reachable, resolveAddresses } from './addresses.js';
import type { LocalConfig } from './config.js';
import { createHealthWatch, type WatchedPart } from './health-watch.js';
import { createKeeper, type Keeper } from './keeper.js';
import { type DataDirLock, lockDataDir } from './lock.js';
import { checkFreeSpace, checkListeners, openFilesWarning } from './preflight.js';
import type { Reporter } from './report.js';
import { launchService, readyProblem, runServiceCommand, type ServiceSpec } from './service.js';
import { serviceSpecs } from './service-specs.js';

const PROBE_TIMEOUT_MS = 3_000;

/** Addresses of the running parts. */
export interface RunningProduct {
  readonly proxy: ListenAddress;
  /** host:port of the API and the dashboard. */
  readonly api: string;
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Starts a service again, with the code that is there now. @throws if it does not become ready. */
  restart(service: 'proxy' | 'ingest' | 'query'): Promise<void>;
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
  /** Keepers in the order of their start. */
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

  /** @throws if everything is being stopped: nobody would stop a part that starts from then on. */
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
      await allOf(local.map((keeper) => keeper.start()));
    });
  }

  async function ensureTopics(ingest: ServiceSpec, brokers: readonly string[]): Promise<void> {
    // Beside `migrate`: two processes cannot share a log.
    const spec = { ...ingest, logFile: logFile('topics') };
    try {
      await runServiceCommand(spec, ['topics', 'ensure'], abort.signal);
    } catch (cause) {
      const from = config.existingKafka ? ' (from KAFKA_BROKERS)' : '';
      throw new LocalError(
        'STEP_FAILED',
        `The topics could not be created on ${brokers.join(', ')}${from}: ${messageOf(cause)}`,
        { cause },
      );
    }
  }

  async function checkClickHouse(): Promise<void> {
    // Not the configured database: migrations create it.
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
    await report.step('preparing topics and tables', () =>
      allOf([
        ensureTopics(services.ingest, brokers),
        runServiceCommand(services.ingest, ['migrate'], abort.signal),
      ]),
    );
    await report.step('starting ingest, query and the proxy', async () => {
      // The proxy last: nothing is accepted before it can be shown.
      await allOf([services.ingest, services.query].map((spec) => keepService(spec).start()));
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
      restart: async (service) => {
        await find(service)?.restart();
      },
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

/** Waits for all of them, also when one fails. @throws the reason of the first that failed. */
async function allOf(work: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(work);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
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
