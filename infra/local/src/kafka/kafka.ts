import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureKafkaLibs } from '../../kafka/libs.mjs';
import { LocalError } from '../errors.js';
import { pickFreePort } from '../net/ports.js';
import {
  describeExit,
  type OwnedProcess,
  type ProcessExit,
  startOwnedProcess,
} from '../process/owned.js';
import { lastLines, waitUntilReady } from '../process/readiness.js';
import { classArchive } from './class-archive.js';
import { probeKafka } from './probe.js';
import { type KafkaNodeAddress, kafkaProperties } from './properties.js';

/** A start takes 2 to 5 s on two idle cores; this is for busy ones. */
const READY_TIMEOUT_MS = 90_000;
const FORMAT_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const PROBE_TIMEOUT_MS = 2_000;
const DEFAULT_HEAP_MIB = 256;
/** Longer than the services get, so that an orphaned proxy can still hand over its last events. */
const ORPHAN_GRACE_SECONDS = 6;
/** A picked port can be taken by somebody else before Kafka binds it. */
const PICKED_PORT_ATTEMPTS = 3;

interface CommonOptions {
  /** Holds the broker's data and its configuration file; created if it is missing. */
  readonly dataDir: string;
  readonly heapMiB?: number;
  /** Broker properties that are added to properties.ts or replace some of it. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Ends the start, and with it the process. */
  readonly signal?: AbortSignal;
  /** How far others on the machine go first, from 0 (default) to 19. */
  readonly niceness?: number;
}

export interface StartKafkaOptions extends CommonOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Default: a free one. It may differ from start to start. */
  readonly controllerPort?: number;
  /** Default: no file, only the last lines in memory. */
  readonly logFile?: string;
}

export interface KafkaBroker {
  readonly nodeId: number;
  /** host:port */
  readonly address: string;
  /** The Java process. */
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  tail(lines: number): readonly string[];
  /** Clean shutdown, about half a second; the first of all takes some seconds. SIGKILL after 20 s. */
  stop(): Promise<void>;
  /** kill -9. Everything acknowledged is there after the next start on the same data. */
  kill(): Promise<void>;
}

/**
 * Starts a real Apache Kafka (KRaft, one node, plaintext on 127.0.0.1) and resolves when it answers
 * its own protocol. Maven fetches missing jars. It dies with this process.
 *
 * @throws {LocalError} COMMAND_MISSING without Java; EXITED_EARLY and NOT_READY_IN_TIME with the
 *   broker's last log lines.
 */
export async function startKafka(options: StartKafkaOptions): Promise<KafkaBroker> {
  const picked = options.port === undefined || options.controllerPort === undefined;
  return retryPickedPorts(picked, async () => {
    const node: KafkaNodeAddress = {
      nodeId: 1,
      port: options.port ?? (await pickFreePort()),
      controllerPort: options.controllerPort ?? (await pickFreePort()),
    };
    return startNode(options, {
      node,
      cluster: [node],
      clusterId: createClusterId(),
      logFile: options.logFile ?? null,
    });
  });
}

export interface StartKafkaClusterOptions extends CommonOptions {
  /** Default 3. Topics get replication 3 and min.insync.replicas 2 by default. */
  readonly brokers?: number;
  /** One file per broker, `kafka-<id>.log`. Default: none. */
  readonly logDir?: string;
}

export interface KafkaCluster {
  /** host:port of every node, running or not. */
  readonly addresses: readonly string[];
  /** Ids are 1, 2, 3 …; null while that node is down. */
  node(nodeId: number): KafkaBroker | null;
  kill(nodeId: number): Promise<void>;
  stopNode(nodeId: number): Promise<void>;
  /** Starts a node that is down on its old address and data. */
  restart(nodeId: number): Promise<KafkaBroker>;
  stop(): Promise<void>;
}

/** Starts several brokers that form one cluster, for tests in which leaders move. */
export async function startKafkaCluster(options: StartKafkaClusterOptions): Promise<KafkaCluster> {
  const count = options.brokers ?? 3;
  return retryPickedPorts(true, async () => {
    const members: KafkaNodeAddress[] = [];
    for (let nodeId = 1; nodeId <= count; nodeId += 1) {
      members.push({ nodeId, port: await pickFreePort(), controllerPort: await pickFreePort() });
    }
    const clusterId = createClusterId();
    const running = new Map<number, KafkaBroker>();

    function start(member: KafkaNodeAddress): Promise<KafkaBroker> {
      const id = String(member.nodeId);
      return startNode(
        { ...options, dataDir: join(options.dataDir, `node-${id}`) },
        {
          node: member,
          cluster: members,
          clusterId,
          logFile: options.logDir === undefined ? null : join(options.logDir, `kafka-${id}.log`),
        },
      ).then((broker) => {
        running.set(member.nodeId, broker);
        return broker;
      });
    }

    async function end(nodeId: number, how: 'stop' | 'kill'): Promise<void> {
      const broker = running.get(nodeId);
      running.delete(nodeId);
      await broker?.[how]();
    }

    // Together, because none answers before a majority of the controllers is up.
    const results = await Promise.allSettled(members.map(start));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      await Promise.all([...running.keys()].map((nodeId) => end(nodeId, 'kill')));
      throw failed.reason;
    }

    return {
      addresses: members.map(addressOf),
      node: (nodeId) => running.get(nodeId) ?? null,
      kill: (nodeId) => end(nodeId, 'kill'),
      stopNode: (nodeId) => end(nodeId, 'stop'),
      restart(nodeId) {
        const member = members.find((each) => each.nodeId === nodeId);
        if (member === undefined || running.has(nodeId)) {
          throw new RangeError(`node ${String(nodeId)} is not one that is down`);
        }
        return start(member);
      },
      async stop() {
        // The last node has no quorum left for a clean shutdown; only its timeout ends it.
        await Promise.all([...running.keys()].map((nodeId) => end(nodeId, 'stop')));
      },
    };
  });
}

async function retryPickedPorts<T>(picked: boolean, start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start();
    } catch (error) {
      const portLost =
        error instanceof LocalError && /already in use|BindException/i.test(error.message);
      if (!picked || !portLost || attempt === PICKED_PORT_ATTEMPTS) throw error;
    }
  }
}

function addressOf(node: KafkaNodeAddress): string {
  return `127.0.0.1:${String(node.port)}`;
}

interface StartKafkaNode {
  readonly node: KafkaNodeAddress;
  readonly cluster: readonly KafkaNodeAddress[];
  readonly clusterId: string;
  readonly logFile: string | null;
}

async function startNode(
  options: CommonOptions,
  { node, cluster, clusterId, logFile }: StartKafkaNode,
): Promise<KafkaBroker> {
  const libs = await ensureKafkaLibs();
  const classPath = join(libs, '*');
  const archive = classArchive(libs);
  const logDir = join(options.dataDir, 'data');
  const configFile = join(options.dataDir, 'server.properties');
  await mkdir(logDir, { recursive: true });
  await writeFile(
    configFile,
    kafkaProperties({ node, cluster, logDir, overrides: options.properties ?? {} }),
  );
  if (!existsSync(join(logDir, 'meta.properties'))) {
    const { readArgs } = archive;
    await format({ readArgs, classPath, configFile, clusterId, logFile }, options.signal);
  }
  options.signal?.throwIfAborted();
  const heap = String(options.heapMiB ?? DEFAULT_HEAP_MIB);
  const child = await startJava({
    name: cluster.length === 1 ? 'Kafka' : `Kafka node ${String(node.nodeId)}`,
    jvmArgs: [
      `-Xmx${heap}m`,
      '-XX:+UseSerialGC',
      '-XX:+ExitOnOutOfMemoryError',
      ...archive.jvmArgs,
      '-Dorg.slf4j.simpleLogger.showDateTime=true',
      '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
    ],
    classPath,
    args: ['kafka.Kafka', configFile],
    logFile,
    niceness: options.niceness,
  });
  try {
    await waitUntilReady(
      child,
      () => probeKafka('127.0.0.1', node.port, PROBE_TIMEOUT_MS),
      READY_TIMEOUT_MS,
      options.signal,
    );
  } catch (error) {
    await child.kill();
    throw error;
  }
  return {
    nodeId: node.nodeId,
    address: addressOf(node),
    pid: child.pid,
    exited: child.exited,
    tail: (lines) => child.tail(lines),
    async stop() {
      await archive.keep(await child.stop(STOP_TIMEOUT_MS));
    },
    async kill() {
      await child.kill();
    },
  };
}

/** Writes the cluster's id into an empty data folder; a broker refuses to start without. */
async function format(
  {
    readArgs,
    classPath,
    configFile,
    clusterId,
    logFile,
  }: Pick<StartKafkaNode, 'clusterId' | 'logFile'> & {
    readonly readArgs: readonly string[];
    readonly classPath: string;
    readonly configFile: string;
  },
  signal: AbortSignal | undefined,
): Promise<void> {
  const child = await startJava({
    name: 'Kafka (format)',
    jvmArgs: ['-Xmx64m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', ...readArgs],
    classPath,
    args: ['kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', configFile],
    logFile,
  });
  const timer = setTimeout(() => {
    child.signal('SIGKILL');
  }, FORMAT_TIMEOUT_MS);
  const onAbort = (): void => {
    child.signal('SIGKILL');
  };
  signal?.addEventListener('abort', onAbort);
  const exit = await child.exited;
  signal?.removeEventListener('abort', onAbort);
  clearTimeout(timer);
  signal?.throwIfAborted();
  if (exit.code !== 0) {
    throw new LocalError(
      'STEP_FAILED',
      `Kafka's data folder could not be prepared (${describeExit(exit)}).${lastLines(child)}`,
    );
  }
}

function startJava(options: {
  readonly name: string;
  readonly jvmArgs: readonly string[];
  readonly classPath: string;
  readonly args: readonly string[];
  readonly logFile: string | null;
  readonly niceness?: number | undefined;
}): Promise<OwnedProcess> {
  return startOwnedProcess({
    name: options.name,
    command: 'java',
    args: [...options.jvmArgs, '-cp', options.classPath, ...options.args],
    logFile: options.logFile,
    orphanGraceSeconds: ORPHAN_GRACE_SECONDS,
    niceness: options.niceness,
  });
}

/** 16 random bytes in URL-safe base64 without padding; Kafka's tools refuse a leading dash. */
function createClusterId(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}
