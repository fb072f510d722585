/** `topics plan` and `topics ensure`: print or create our topics and permissions in Kafka. */
import { createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import {
  createKafkaAdmin,
  PLAN_USERS,
  planAsCommands,
  planAsStrimzi,
  planOf,
} from '@sockscope/runtime/kafka';
import type { KafkaConfig, Plan } from '@sockscope/runtime/kafka';
import { dlqTopicNameOf } from '../dlq/config.js';
import type { DlqConfig } from '../dlq/config.js';
import type { TopicsConfig } from './config.js';

interface Config {
  readonly kafka: KafkaConfig;
  readonly consumer: { readonly group_id: string };
  readonly topics: TopicsConfig;
  readonly dlq: DlqConfig;
}

const FORMATS = ['commands', 'strimzi'];

/** Hangs `topics` on the service's command line. */
export function registerTopics(program: Command, config: () => Config): void {
  const topics = program.command('topics').description('the topics and permissions in Kafka');
  topics
    .command('plan')
    .description('print the commands for an administrator: topics, and the least permissions')
    .option('--format <format>', FORMATS.join(' or '), 'commands')
    .option('--cluster <name>', 'name of the Strimzi cluster', 'kafka')
    .action(({ format, cluster }: { format: string; cluster: string }) => {
      const plan = planFor(config());
      if (!FORMATS.includes(format)) {
        throw new SockscopeError('option_invalid', `--format is one of ${FORMATS.join(', ')}`);
      }
      if (format === 'strimzi') {
        process.stdout.write(planAsStrimzi(plan, cluster));
      } else {
        for (const line of planAsCommands(plan, config().kafka.brokers)) write(line);
      }
    });
  topics
    .command('ensure')
    .description('create missing topics; change no existing ones')
    .action(async () => {
      const { kafka } = config();
      const logger = createLogger('ingest', { level: 'silent' });
      const admin = createKafkaAdmin(kafka, { logger, role: 'topics' });
      try {
        for (const topic of planFor(config()).topics) {
          write(`${topic.name}: ${await admin.ensureTopic(topic)}`);
        }
      } finally {
        await admin.stop();
      }
    });
}

/** The topics, and the permissions that the service itself needs. */
export function planOfIngest(config: Config): Plan {
  const { topics, acls } = planFor(config);
  return { topics, acls: acls.filter(({ user }) => user === PLAN_USERS.ingest) };
}

function planFor(config: Config): Plan {
  const { kafka, consumer, topics, dlq } = config;
  return planOf({
    topic: kafka.topic,
    dlqTopic: dlqTopicNameOf(config),
    dlqPartitions: dlq.partitions,
    dlqReplicationFactor: replicationOf(dlq.replication || topics.replication),
    group: consumer.group_id,
    partitions: topics.partitions,
    replicationFactor: replicationOf(topics.replication),
    retentionMs: topics.retention_ms === 0 ? null : topics.retention_ms,
  });
}

/** 0 takes the default of the brokers. */
function replicationOf(replicas: number): number | null {
  return replicas === 0 ? null : replicas;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
