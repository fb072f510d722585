/**
 * Ensures that the dead-letter topic exists. Without it, the first invalid record would stop its
 * partition.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, SockscopeError } from '@sockscope/runtime';
import type { Component, Logger } from '@sockscope/runtime';
import { withGrant } from '@sockscope/runtime/kafka';
import type { KafkaAdmin, KafkaConfig } from '@sockscope/runtime/kafka';

export interface DlqTopic extends Component {
  /** Checks again unless a check is running: the topic may have been deleted. */
  check(): void;
  /** Why there may be no such topic, or null. */
  trouble(): string | null;
}

type Admin = Pick<KafkaAdmin, 'describeTopic' | 'ensureTopic' | 'stop'>;

/** A dead letter is kept until an operator looks at it. */
const SETTINGS = { 'retention.ms': '-1' };
const CHECK_INTERVAL_MS = 5_000;

/**
 * Creates the topic if it is missing; an existing one stays unchanged. A failure is retried
 * until it works: Kafka may be away, and an operator may create the topic, or allow it, while we
 * run. Nothing else waits for that.
 */
export function createDlqTopic(
  config: {
    /** The Kafka user and the brokers, for the command that grants a missing permission. */
    readonly kafka: Pick<KafkaConfig, 'brokers' | 'sasl_username'>;
    readonly topic: string;
    readonly partitions: number;
    /** 0 takes the default of the brokers. */
    readonly replication: number;
    readonly check_interval_ms?: number;
  },
  deps: {
    /** Called for each look: kafkajs's admin refuses everything once a topic that it has seen is gone. */
    readonly createAdmin: () => Admin;
    readonly logger: Logger;
  },
): DlqTopic {
  const { logger } = deps;
  const { topic } = config;
  const ending = new AbortController();
  const { signal } = ending;
  let trouble: string | null = 'not checked yet';
  let looking: Promise<void> | null = null;
  let current: Admin | null = null;

  const grant = (error: unknown, operation: 'Create' | 'Write') =>
    messageOf(
      withGrant(error, config.kafka, { resource: 'topic', name: topic, operations: [operation] }),
    );

  async function ensure(admin: Admin): Promise<void> {
    if ((await admin.describeTopic(topic)) !== null) return;
    try {
      const outcome = await admin.ensureTopic({
        name: topic,
        partitions: config.partitions,
        replicationFactor: config.replication === 0 ? null : config.replication,
        settings: SETTINGS,
      });
      if (outcome === 'created') logger.info({ topic }, 'the dead-letter topic was created');
    } catch (error) {
      throw new SockscopeError(
        'dlq_topic_missing',
        `the dead-letter topic ${topic} is missing and ingest cannot create it. Create it, or allow ingest to: ${grant(error, 'Create')}`,
        { retryable: true, cause: error },
      );
    }
  }

  /** Why it may not be there, or null. */
  async function look(): Promise<string | null> {
    try {
      current = deps.createAdmin();
      await ensure(current);
      return null;
    } catch (error) {
      return error instanceof SockscopeError && error.code === 'dlq_topic_missing'
        ? error.message
        : `cannot find out whether the dead-letter topic exists: ${grant(error, 'Write')}`;
    } finally {
      await current?.stop();
      current = null;
    }
  }

  async function lookUntilThere(): Promise<void> {
    while (!signal.aborted) {
      const found = await look();
      if (signal.aborted) return;
      if (found !== null && found !== trouble) logger.error({ topic }, found);
      trouble = found;
      if (trouble === null) return;
      await delay(config.check_interval_ms ?? CHECK_INTERVAL_MS, undefined, { signal }).catch(
        () => undefined,
      );
    }
  }

  function check(): void {
    if (signal.aborted) return;
    looking ??= lookUntilThere().finally(() => {
      looking = null;
    });
  }

  return {
    check,
    trouble: () => trouble,
    start: check,
    async stop() {
      ending.abort();
      await current?.stop();
    },
  };
}
