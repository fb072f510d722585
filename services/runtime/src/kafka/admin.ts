import { setTimeout as delay } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import type { Admin } from 'kafkajs';
import type { Logger } from '../log/logger.js';
import { createKafkaClient } from './client.js';
import type { KafkaClient } from './client.js';
import type { KafkaConfig } from './config.js';
import { isStarting, KafkaError, kafkaErrorOf } from './errors.js';
import { withGrant } from './plan.js';

export interface TopicSpec {
  readonly name: string;
  readonly partitions: number;
  /** Null takes the broker's default. */
  readonly replicationFactor: number | null;
  /** Topic settings such as `retention.ms`. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface PartitionDescription {
  readonly partition: number;
  /** -1 if no leader is elected. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly inSync: readonly number[];
  readonly earliestOffset: bigint;
  /** Offset of the next record. */
  readonly endOffset: bigint;
}

export interface KafkaAdmin {
  /** Resolves with the number of brokers once one answers with these credentials. */
  ping(): Promise<number>;
  /** The cluster's own id. */
  clusterId(): Promise<string>;
  /** How long a topic keeps its records, milliseconds; null if it keeps them permanently. */
  retentionMs(name: string): Promise<number | null>;
  /** Creates a topic unless it is there; an existing one is left as it is. */
  ensureTopic(spec: TopicSpec): Promise<'created' | 'exists'>;
  /** Null if the topic does not exist. */
  describeTopic(name: string): Promise<readonly PartitionDescription[] | null>;
  deleteTopic(name: string): Promise<void>;
  /** Raises the number of partitions; the new ones begin empty. */
  addPartitions(name: string, count: number): Promise<void>;
  /** Deletes the records of a partition before an offset, as retention would. */
  deleteRecords(name: string, partition: number, beforeOffset: bigint): Promise<void>;
  /**
   * The first offset of each partition with this timestamp or a later one; its end if there is
   * none.
   */
  offsetsAt(name: string, timestampMs: number): Promise<ReadonlyMap<number, bigint>>;
  /** The committed offsets of a group; partitions without one are left out. */
  groupOffsets(groupId: string, topic: string): Promise<ReadonlyMap<number, bigint>>;
  /** Commits offsets for a group. @throws KafkaError while it has members. */
  setGroupOffsets(
    groupId: string,
    topic: string,
    offsets: ReadonlyMap<number, bigint>,
  ): Promise<void>;
  /** Deletes a group without members, and its offsets with it. */
  deleteGroup(groupId: string): Promise<void>;
  stop(): Promise<void>;
}

const ADMIN_TIMEOUT_MS = 30_000;
const POLL_MS = 50;
/** Administration happens at starts, when brokers elect and restart; its requests may be repeated. */
const ADMIN_RETRIES = 5;

interface Link {
  readonly client: KafkaClient;
  readonly admin: Admin;
  readonly connected: Promise<void>;
}

/**
 * Connects with the first call. Every error is a KafkaError.
 *
 * @param deps.call_timeout_ms longest time of a whole call; after that, and if brokers cannot be
 *   reached, the client is thrown away and the next call has another one.
 */
export function createKafkaAdmin(
  config: KafkaConfig,
  deps: { readonly logger: Logger; readonly role: string; readonly call_timeout_ms?: number },
): KafkaAdmin {
  const timeoutMs = deps.call_timeout_ms ?? 2 * ADMIN_TIMEOUT_MS + config.request_timeout_ms;
  let link: Link | null = null;

  function open(): Link {
    const client = createKafkaClient(config, { ...deps, use: 'admin', retries: ADMIN_RETRIES });
    const admin = client.kafka.admin({ retry: { retries: ADMIN_RETRIES } });
    const connected = admin.connect();
    connected.catch(() => undefined);
    return { client, admin, connected };
  }

  /** Ends a client at once: nothing that it was asked for is waited for. */
  async function discard(used: Link): Promise<void> {
    if (link === used) link = null;
    used.client.destroy();
    // Clears kafkajs's own timers.
    await used.admin.disconnect().catch(() => undefined);
  }

  async function call<T>(what: string, work: (admin: Admin) => Promise<T>): Promise<T> {
    link ??= open();
    const used = link;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        const message = `${what}: not finished within ${timeoutMs} ms`;
        reject(new KafkaError('kafka_timeout', message, { retryable: true }));
      }, timeoutMs);
    });
    let isConnected = false;
    const done = (async () => {
      await used.connected;
      isConnected = true;
      return work(used.admin);
    })();
    try {
      return await Promise.race([done, late]);
    } catch (cause) {
      const error = kafkaErrorOf(cause, what);
      // A broker that refuses a request works.
      if (!isConnected || error.code !== 'kafka_rejected') void discard(used);
      throw error;
    } finally {
      clearTimeout(timer);
      done.catch(() => undefined);
    }
  }

  /**
   * Repeats a request until the cluster has started: a group's coordinator is loaded at its first use, after a
   * broker's start and after it has moved, and kafkajs does not wait for it or for the controller here.
   */
  async function whileStarting<T>(work: () => Promise<T>): Promise<T> {
    for (const endMs = Date.now() + ADMIN_TIMEOUT_MS; ;) {
      try {
        return await work();
      } catch (cause) {
        if (!isStarting(cause) || Date.now() > endMs) throw cause;
      }
      await delay(POLL_MS);
    }
  }

  /** A new topic is not known to every broker at once, and has no leader at first. */
  async function waitUntilUsable(admin: Admin, name: string): Promise<void> {
    for (const endMs = Date.now() + ADMIN_TIMEOUT_MS; ;) {
      try {
        if ((await admin.fetchTopicOffsets(name)).length > 0) return;
      } catch (cause) {
        const error = kafkaErrorOf(cause, 'leaders');
        if (!error.retryable || Date.now() > endMs) throw error;
      }
      if (Date.now() > endMs) {
        throw new KafkaError('kafka_timeout', `no leaders for ${name} yet`, { retryable: true });
      }
      await delay(POLL_MS);
    }
  }

  return {
    ping: () => call('ping', async (admin) => (await admin.describeCluster()).brokers.length),
    clusterId: () => call('cluster id', async (admin) => (await admin.describeCluster()).clusterId),
    retentionMs: (name) =>
      call(`settings of topic ${name}`, async (admin) => {
        const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name };
        const described = admin.describeConfigs({
          includeSynonyms: false,
          resources: [{ ...resource, configNames: ['retention.ms'] }],
        });
        const { resources } = await described.catch((cause: unknown) => {
          const operations = ['DescribeConfigs'] as const;
          throw withGrant(cause, config, { resource: 'topic', name, operations });
        });
        const value = Number(resources[0]?.configEntries[0]?.configValue ?? -1);
        return Number.isFinite(value) && value >= 0 ? value : null;
      }),
    ensureTopic: (spec) =>
      call(`create topic ${spec.name}`, async (admin) => {
        const created = await whileStarting(() =>
          admin.createTopics({
            timeout: ADMIN_TIMEOUT_MS,
            // kafkajs asks once for the leaders, too early: the broker may not know the topic yet.
            waitForLeaders: false,
            topics: [
              {
                topic: spec.name,
                numPartitions: spec.partitions,
                replicationFactor: spec.replicationFactor ?? -1,
                configEntries: Object.entries(spec.settings ?? {}).map(([name, value]) => ({
                  name,
                  value,
                })),
              },
            ],
          }),
        );
        await waitUntilUsable(admin, spec.name);
        return created ? 'created' : 'exists';
      }),
    describeTopic: (name) =>
      call(`describe topic ${name}`, async (admin) => {
        try {
          const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
          const offsets = new Map(
            (await admin.fetchTopicOffsets(name)).map((entry) => [entry.partition, entry]),
          );
          return (topics[0]?.partitions ?? []).map((p) => ({
            partition: p.partitionId,
            leader: p.leader,
            replicas: p.replicas,
            inSync: p.isr,
            earliestOffset: BigInt(offsets.get(p.partitionId)?.low ?? 0),
            endOffset: BigInt(offsets.get(p.partitionId)?.high ?? 0),
          }));
        } catch (error) {
          if (isUnknownTopic(error)) return null;
          throw error;
        }
      }),
    deleteTopic: (name) =>
      call(`delete topic ${name}`, (admin) =>
        admin.deleteTopics({ topics: [name], timeout: ADMIN_TIMEOUT_MS }),
      ),
    addPartitions: (name, count) =>
      call(`add partitions to ${name}`, async (admin) => {
        await admin.createPartitions({ topicPartitions: [{ topic: name, count }] });
      }),
    deleteRecords: (name, partition, beforeOffset) =>
      call(`delete records of ${name}`, async (admin) => {
        // Makes kafkajs learn the topic's leaders, which it does not do by itself here.
        await admin.fetchTopicOffsets(name);
        await admin.deleteTopicRecords({
          topic: name,
          partitions: [{ partition, offset: String(beforeOffset) }],
        });
      }),
    offsetsAt: (name, timestampMs) =>
      call(`offsets of ${name}`, async (admin) => {
        const offsets = await admin.fetchTopicOffsetsByTimestamp(name, timestampMs);
        return new Map(offsets.map((o) => [o.partition, BigInt(o.offset)]));
      }),
    groupOffsets: (groupId, topic) =>
      call(`offsets of group ${groupId}`, async (admin) => {
        const topics = await whileStarting(() => admin.fetchOffsets({ groupId, topics: [topic] }));
        return new Map(
          topics
            .flatMap((t) => t.partitions)
            .filter((p) => !p.offset.startsWith('-'))
            .map((p) => [p.partition, BigInt(p.offset)]),
        );
      }),
    setGroupOffsets: (groupId, topic, offsets) =>
      call(`set offsets of group ${groupId}`, async (admin) => {
        const partitions = [...offsets].map(([partition, offset]) => ({
          partition,
          offset: String(offset),
        }));
        if (partitions.length === 0) return;
        await whileStarting(() => admin.setOffsets({ groupId, topic, partitions }));
      }),
    deleteGroup: (groupId) =>
      call(`delete group ${groupId}`, async (admin) => {
        await whileStarting(() => admin.deleteGroups([groupId]));
      }),
    async stop() {
      if (link !== null) await discard(link);
    },
  };
}

function isUnknownTopic(error: unknown): boolean {
  return kafkaErrorOf(error, '').type === 'UNKNOWN_TOPIC_OR_PARTITION';
}
