import { createLogger } from '@sockscope/runtime';
import { kafkaConfig, readTopic as readWholeTopic } from '@sockscope/runtime/kafka';
import { COUNTER_NAMES, fold, sessionEvent, zeroCounters } from '@sockscope/schemas';
import type { SessionEvent, SessionState } from '@sockscope/schemas';
import kafkajs from 'kafkajs';
import { until } from './site.js';

const LEADERS_WAIT_MS = 60_000;

function client(brokers: readonly string[]): kafkajs.Kafka {
  return new kafkajs.Kafka({
    brokers: [...brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 20, maxRetryTime: 2_000 },
  });
}

export async function createTopic(
  brokers: readonly string[],
  topic: string,
  replicationFactor: number,
): Promise<void> {
  const admin = client(brokers).admin();
  await admin.connect();
  // kafkajs would wait for leaders, and give up if its broker does not know the topic yet.
  await admin.createTopics({
    waitForLeaders: false,
    topics: [
      {
        topic,
        numPartitions: 12,
        replicationFactor,
        configEntries: [
          { name: 'min.insync.replicas', value: String(Math.max(1, replicationFactor - 1)) },
        ],
      },
    ],
  });
  await until('the topic has leaders', LEADERS_WAIT_MS, async () => {
    const metadata = await admin.fetchTopicMetadata({ topics: [topic] }).catch(() => null);
    return metadata?.topics[0]?.partitions.every(({ leader }) => leader >= 0) === true;
  });
  await admin.disconnect();
}

/** Every event in the topic, from its start to its end as it is now; each checked by the contract. */
export async function readTopic(
  brokers: readonly string[],
  topic: string,
): Promise<SessionEvent[]> {
  const kafka = kafkaConfig.parse({ brokers: [...brokers], topic });
  const events: SessionEvent[] = [];
  await readWholeTopic(
    { kafka, topic },
    {
      onBatch({ records }) {
        while (records.next()) {
          const { value } = records.record();
          events.push(sessionEvent.parse(JSON.parse(value?.toString('utf8') ?? 'null')));
        }
      },
    },
    { logger: createLogger('test', { level: 'silent' }) },
  );
  return events;
}

/** The fold of the topic, session by session. */
export function foldOf(events: readonly SessionEvent[]): SessionState[] {
  return [...fold(events).values()];
}

/** `source_port sent received`, to compare sessions with the counts of clients. */
export function keyOf(sourcePort: number, sent: number, received: number): string {
  return `${sourcePort} ${sent} ${received}`;
}

export function keysOf(states: readonly SessionState[]): string[] {
  return states
    .map(({ row }) =>
      row === null ? 'nothing' : keyOf(row.source_port, row.bytes_sent, row.bytes_received),
    )
    .toSorted();
}

/** Sessions whose minutes do not add up to their totals: none may be. */
export function unbalanced(states: readonly SessionState[]): string[] {
  return states
    .filter(({ row, minutes }) => {
      const sum = zeroCounters();
      for (const minute of minutes.values()) {
        for (const name of COUNTER_NAMES) sum[name] += minute[name];
      }
      return row === null || COUNTER_NAMES.some((name) => row[name] !== sum[name]);
    })
    .map(({ row }) => row?.session_id ?? 'nothing');
}

/** The members of a consumer group, as its coordinator knows them. */
export async function groupMembers(
  brokers: readonly string[],
  group: string,
): Promise<readonly string[]> {
  const admin = client(brokers).admin();
  await admin.connect();
  const { groups } = await admin.describeGroups([group]);
  await admin.disconnect();
  return groups.flatMap(({ members }) => members.map(({ memberId }) => memberId));
}
