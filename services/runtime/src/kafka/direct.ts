/**
 * Single requests to brokers, without a group, for commands and checks. kafkajs has them below its
 * consumer and its admin and offers them to nobody: a client's cluster is made as kafkajs itself
 * makes it. The version is pinned; tests cover the internals that we use.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Kafka, KafkaMessage } from 'kafkajs';
import { createKafkaClient } from './client.js';
import type { DebugLog, KafkaClient } from './client.js';
import type { KafkaConfig } from './config.js';
import { KafkaError, kafkaErrorOf } from './errors.js';
import { batchOf, installBatchDecoder } from './fetch-response.js';
import { withGrant } from './plan.js';
import type { RecordBatch } from './record-batch.js';
import type { BrokerVersions, ClientUse } from './support.js';

interface FetchedPartition {
  readonly highWatermark: string;
  readonly messages: readonly KafkaMessage[];
}

/** One broker, as kafkajs has it. A request throws the broker's refusal. */
export interface DirectBroker {
  readonly versions: BrokerVersions;
  readonly connectionPool: {
    readonly host: string;
    readonly port: number;
    send(request: object): Promise<unknown>;
  };
  fetch(
    request: object,
  ): Promise<{ responses: readonly { partitions: readonly FetchedPartition[] }[] }>;
  produce(request: object): Promise<unknown>;
  deleteRecords(request: object): Promise<unknown>;
  heartbeat(request: object): Promise<unknown>;
  describeConfigs(request: object): Promise<{
    readonly resources: readonly {
      readonly configEntries: readonly {
        readonly configName: string;
        readonly configValue: string;
      }[];
    }[];
  }>;
}

/** Brokers and leaders, as kafkajs has them. */
interface Cluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  refreshMetadata(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  getNodeIds(): readonly string[];
  findBroker(node: { nodeId: string }): Promise<DirectBroker>;
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Record<string, unknown>;
  findGroupCoordinator(group: { groupId: string }): Promise<DirectBroker>;
}

/** @throws Error if this is another version of kafkajs. */
function clusterOf(kafka: Kafka): Cluster {
  const name = Object.getOwnPropertySymbols(kafka).find(
    ({ description }) => description === 'private:Kafka:createCluster',
  );
  if (name === undefined) throw new Error('kafkajs has no createCluster');
  const create = (kafka as unknown as Record<symbol, (options: object) => Cluster>)[name];
  if (create === undefined) throw new Error('kafkajs has no createCluster');
  return create({ metadataMaxAge: 60_000, allowAutoTopicCreation: false });
}

export interface DirectClient {
  readonly client: KafkaClient;
  readonly cluster: Cluster;
  /** Ends it at once. */
  destroy(): Promise<void>;
}

export async function connectDirect(
  config: KafkaConfig,
  deps: {
    readonly logger: DebugLog;
    readonly role: string;
    readonly use: ClientUse;
    readonly retries?: number;
  },
): Promise<DirectClient> {
  const client = createKafkaClient(config, deps);
  const cluster = clusterOf(client.kafka);
  const destroy = async () => {
    client.destroy();
    // Clears kafkajs's own timers.
    await cluster.disconnect().catch(() => undefined);
  };
  try {
    await cluster.connect();
    return { client, cluster, destroy };
  } catch (error) {
    await destroy();
    throw kafkaErrorOf(error, 'connect');
  }
}

export interface Fetched {
  readonly batches: readonly RecordBatch[];
  readonly highWatermark: number;
}

export interface PartitionFetcher {
  /**
   * The record batches of one partition from an offset on. None when nothing came in time; at least one
   * whole batch otherwise, however long it is. Temporary errors are retried until `patience_ms`.
   *
   * @throws KafkaError; its type is OFFSET_OUT_OF_RANGE when the partition has no such offset.
   */
  fetchFrom(partition: number, offset: number, signal?: AbortSignal): Promise<Fetched>;
  stop(): Promise<void>;
}

const FETCH_MAX_BYTES = 4 * 1024 ** 2;
const FETCH_MAX_WAIT_MS = 500;
const RETRY_MS = 250;

/** Reads a topic by offset: no group is joined and no offset committed. Connects with the first call. */
export function createPartitionFetcher(
  config: { readonly kafka: KafkaConfig; readonly topic: string; readonly patience_ms: number },
  deps: { readonly logger: DebugLog; readonly role: string },
): PartitionFetcher {
  const { kafka, topic } = config;
  installBatchDecoder();
  let direct: DirectClient | null = null;

  async function discard(): Promise<void> {
    const used = direct;
    direct = null;
    await used?.destroy();
  }

  async function attempt(partition: number, offset: number): Promise<Fetched> {
    if (direct === null) {
      direct = await connectDirect(kafka, { ...deps, use: 'read' });
      await direct.cluster.addTargetTopic(topic);
    }
    const { cluster } = direct;
    const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
    if (nodeId === undefined) {
      const message = `partition ${partition} of ${topic} has no leader`;
      throw new KafkaError('kafka_rejected', message, { retryable: true });
    }
    const broker = await cluster.findBroker({ nodeId });
    const { responses } = await broker.fetch(fetchRequest(topic, partition, offset));
    const found = responses[0]?.partitions[0];
    return {
      batches: (found?.messages ?? []).map(batchOf),
      highWatermark: Number(found?.highWatermark ?? -1),
    };
  }

  return {
    async fetchFrom(partition, offset, signal) {
      const onAbort = () => void discard();
      signal?.addEventListener('abort', onAbort, { once: true });
      const endMs = Date.now() + config.patience_ms;
      try {
        for (;;) {
          throwIfAborted(signal);
          try {
            return await attempt(partition, offset);
          } catch (cause) {
            throwIfAborted(signal);
            const error = withGrant(cause, kafka, {
              resource: 'topic',
              name: topic,
              operations: ['Read'],
            });
            if (error.type === 'OFFSET_OUT_OF_RANGE') throw error;
            // The leader may have moved: another client asks for it again.
            await discard();
            const isForNow = error.retryable && error.code !== 'kafka_auth';
            if (!isForNow || Date.now() > endMs) throw error;
          }
          await delay(RETRY_MS);
        }
      } finally {
        signal?.removeEventListener('abort', onAbort);
      }
    },
    stop: discard,
  };
}

export function fetchRequest(topic: string, partition: number, offset: number): object {
  return {
    maxWaitTime: FETCH_MAX_WAIT_MS,
    minBytes: 1,
    maxBytes: FETCH_MAX_BYTES,
    topics: [
      {
        topic,
        partitions: [{ partition, fetchOffset: String(offset), maxBytes: FETCH_MAX_BYTES }],
      },
    ],
  };
}

/** @throws KafkaError `kafka_aborted` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new KafkaError('kafka_aborted', 'reading: cancelled by the caller', { retryable: true });
}
