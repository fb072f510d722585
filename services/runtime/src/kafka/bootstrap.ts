/**
 * Which of the bootstrap brokers a client begins with. kafkajs 2.2.4 begins with the first of the
 * list, tries the next one only with a retry of its own, and stays with one that accepts
 * connections but does not answer. So its pool's `connect` is replaced: one call tries every
 * bootstrap broker, from a random one on. All clients of the process come through here, at their
 * start and whenever they have lost every broker they knew.
 */
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import kafkajs from 'kafkajs';
import { KafkaError, kafkaErrorOf } from './errors.js';
import { lackOf } from './support.js';
import type { BrokerVersions, ClientUse } from './support.js';

/** Connecting and authenticating may take `connect_timeout_ms` each. */
const CONNECT_STEPS = 2;

interface Destination {
  readonly host: string;
  readonly port: number;
}

interface ConnectionPool extends Destination {
  readonly connectionTimeout: number;
  readonly socketFactory: object;
  readonly pool: readonly { readonly socket?: Socket }[];
}

interface SeedBroker {
  readonly connectionPool: ConnectionPool;
  readonly versions: BrokerVersions;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}

interface BrokerPool {
  readonly connectionPoolBuilder: { build(destination?: Destination): Promise<ConnectionPool> };
  readonly rootLogger: unknown;
  seedBroker: SeedBroker | undefined;
  versions: BrokerVersions;
  brokers: Record<string, unknown>;
  hasConnectedBrokers(): boolean;
  createBroker(options: { connectionPool: ConnectionPool; logger: unknown }): SeedBroker;
  retrier(work: (bail: (error: unknown) => void) => Promise<void>): Promise<void>;
  findBroker(node: { nodeId: string }): Promise<unknown>;
  connect(): Promise<void>;
  createSeedBroker(): Promise<void>;
  withBroker<T>(
    callback: (node: { nodeId: string; broker: unknown }) => Promise<T>,
  ): Promise<T | null>;
}

/**
 * The list for kafkajs: without repetitions, turned to a random beginning. kafkajs splits at the first
 * colon, so the colons of IPv6 addresses are escaped; `createSeedBroker` below undoes that.
 *
 * @param brokers host:port or [address]:port.
 */
export function bootstrapList(brokers: readonly string[], random = Math.random): string[] {
  const all = [...new Set(brokers)].map((broker) => {
    const colon = broker.lastIndexOf(':');
    const host = broker.slice(0, colon).replaceAll(/[[\]]/g, '');
    return `${encodeURIComponent(host)}${broker.slice(colon)}`;
  });
  const start = Math.floor(random() * all.length);
  return [...all.slice(start), ...all.slice(0, start)];
}

/** The property that kafkajs carries from a client to its pool. */
const uses = new WeakMap<object, ClientUse>();

/** Sets the purpose of a client, so that brokers without the needed requests are refused. */
export function registerUse(socketFactory: object, use: ClientUse): void {
  uses.set(socketFactory, use);
}

let installed = false;

/** Replaces the pool's way to connect, once. */
export function installBootstrap(): void {
  if (installed) return;
  installed = true;
  const require = createRequire(import.meta.url);
  const { prototype } = require('kafkajs/src/cluster/brokerPool') as { prototype: BrokerPool };

  prototype.createSeedBroker = async function createSeedBroker(this: BrokerPool): Promise<void> {
    // Do not wait for the rest: that broker may hang.
    this.seedBroker?.disconnect().catch(() => undefined);
    const { host, port } = await this.connectionPoolBuilder.build();
    const connectionPool = await this.connectionPoolBuilder.build({
      host: decodeURIComponent(host),
      port,
    });
    this.seedBroker = this.createBroker({ connectionPool, logger: this.rootLogger });
  };

  prototype.connect = async function connect(this: BrokerPool): Promise<void> {
    if (this.hasConnectedBrokers()) return;
    await this.retrier(async (bail) => {
      try {
        await connectToAny(this);
      } catch (error) {
        // A broker that refuses us does so again.
        if (!isRefusal(error)) throw error;
        bail(error);
      }
    });
  };

  prototype.withBroker = async function withBroker(this, callback) {
    const nodeIds = Object.keys(this.brokers).toSorted(() => Math.random() - 0.5);
    if (nodeIds.length === 0) {
      // By this name kafkajs knows that it has to load the metadata and ask again.
      const error = new kafkajs.KafkaJSError('no broker is known yet');
      throw Object.assign(error, { name: 'KafkaJSBrokerNotFound' });
    }
    let refusal: Error | null = null;
    for (const nodeId of nodeIds) {
      try {
        // kafkajs looks for the broker outside of the try: a dead one then ends the search.
        return await callback({ nodeId, broker: await this.findBroker({ nodeId }) });
      } catch (error) {
        // The next one may do.
        if (error instanceof Error && isRefusal(error)) refusal = error;
      }
    }
    // kafkajs would report that it found nothing.
    if (refusal !== null) throw refusal;
    return null;
  };
}

/** @throws the brokers' error. The refusal of one is more useful than the absence of others. */
async function connectToAny(pool: BrokerPool): Promise<void> {
  const tried = new Set<string>();
  let refusal: unknown = null;
  let last: unknown = null;
  for (;;) {
    await pool.createSeedBroker();
    const seed = pool.seedBroker;
    if (seed === undefined) throw last;
    const { host, port } = seed.connectionPool;
    const address = `${host} ${port}`;
    if (tried.has(address)) throw refusal ?? last;
    tried.add(address);
    try {
      await connectInTime(seed);
      checkVersions(seed);
      pool.versions = seed.versions;
      return;
    } catch (error) {
      last = error;
      if (isRefusal(error)) refusal = error;
    }
  }
}

function isRefusal(error: unknown): boolean {
  const { code } = kafkaErrorOf(error, 'connect');
  return code === 'kafka_auth' || code === 'kafka_unsupported';
}

/** @throws KafkaError `kafka_unsupported` */
function checkVersions({ connectionPool, versions }: SeedBroker): void {
  const lack = lackOf(versions, uses.get(connectionPool.socketFactory) ?? 'admin');
  if (lack === null) return;
  throw new KafkaError(
    'kafka_unsupported',
    `broker ${connectionPool.host}:${connectionPool.port} is not supported: ${lack}. ` +
      'Use Apache Kafka 2.4 or later; docs/reference/kafka-support.md names the others',
    { retryable: true },
  );
}

/** kafkajs gives a broker that accepts connections the time of a whole request for its first answer. */
async function connectInTime(seed: SeedBroker): Promise<void> {
  const { host, port, connectionTimeout, pool } = seed.connectionPool;
  const limitMs = CONNECT_STEPS * connectionTimeout;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new KafkaError(
        'kafka_timeout',
        `broker ${host}:${port} accepts connections but does not answer within ${limitMs} ms`,
        { retryable: true },
      );
      reject(error);
      for (const { socket } of pool) socket?.destroy(error);
    }, limitMs);
  });
  const connecting = seed.connect();
  connecting.catch(() => undefined);
  try {
    await Promise.race([connecting, late]);
  } finally {
    clearTimeout(timer);
  }
}
