/** The topics and least permissions that an administrator of Kafka sets up for us. */
import { stringify } from 'yaml';
import type { KafkaConfig } from './config.js';
import { KafkaError, kafkaErrorOf } from './errors.js';

export interface PlannedTopic {
  readonly name: string;
  readonly partitions: number;
  /** Null takes the broker's default. */
  readonly replicationFactor: number | null;
  readonly settings: Readonly<Record<string, string>>;
}

export interface PlannedAcl {
  /** The service, or the command of a service, that needs it. */
  readonly user: string;
  readonly resource: 'topic' | 'group';
  readonly name: string;
  /** Describe is part of each of them. */
  readonly operations: readonly ('Read' | 'Write' | 'Delete' | 'Create' | 'DescribeConfigs')[];
}

export interface Plan {
  readonly topics: readonly PlannedTopic[];
  readonly acls: readonly PlannedAcl[];
}

export interface PlanInput {
  readonly topic: string;
  readonly dlqTopic: string;
  readonly group: string;
  readonly partitions: number;
  readonly replicationFactor: number | null;
  readonly dlqPartitions: number;
  readonly dlqReplicationFactor: number | null;
  /** Retention of the event topic; null takes the broker's default. */
  readonly retentionMs: number | null;
}

/** Principals of the plan, without `User:`. */
export const PLAN_USERS = {
  proxy: 'sockscope-proxy',
  ingest: 'sockscope-ingest',
  commands: 'sockscope-commands',
} as const;

export function planOf(input: PlanInput): Plan {
  const { topic, dlqTopic, replicationFactor } = input;
  const settings: Record<string, string> =
    input.retentionMs === null ? {} : { 'retention.ms': String(input.retentionMs) };
  const acl = (
    user: keyof typeof PLAN_USERS,
    resource: PlannedAcl['resource'],
    name: string,
    ...operations: PlannedAcl['operations']
  ): PlannedAcl => ({ user: PLAN_USERS[user], resource, name, operations });
  return {
    topics: [
      { name: topic, partitions: input.partitions, replicationFactor, settings },
      // A dead letter is kept until an operator looks at it.
      {
        name: dlqTopic,
        partitions: input.dlqPartitions,
        replicationFactor: input.dlqReplicationFactor,
        settings: { 'retention.ms': '-1' },
      },
    ],
    acls: [
      // A producer reads the topic's compression.type, for KAFKA_COMPRESSION=auto.
      acl('proxy', 'topic', topic, 'Write', 'DescribeConfigs'),
      // Ingest reads retention.ms: how long a partition may wait.
      acl('ingest', 'topic', topic, 'Read', 'DescribeConfigs'),
      acl('ingest', 'group', input.group, 'Read'),
      acl('ingest', 'topic', dlqTopic, 'Write', 'DescribeConfigs'),
      // dlq list and show, verify, rebuild, forget; replay writes, and deletes with --purge.
      acl('commands', 'topic', topic, 'Read', 'Write', 'DescribeConfigs'),
      acl('commands', 'topic', dlqTopic, 'Read', 'Delete'),
      // Only rewind needs the group.
      acl('commands', 'group', input.group, 'Read'),
    ],
  };
}

/** The commands of Kafka's own tools, one a line. */
export function planAsCommands(plan: Plan, brokers: readonly string[]): string[] {
  const server = `--bootstrap-server ${brokers.join(',')}`;
  return [
    ...plan.topics.map(({ name, partitions, replicationFactor, settings }) =>
      [
        `kafka-topics ${server} --create --if-not-exists --topic ${name} --partitions ${partitions}`,
        ...(replicationFactor === null ? [] : [`--replication-factor ${replicationFactor}`]),
        ...Object.entries(settings).map(([key, value]) => `--config ${key}=${value}`),
      ].join(' '),
    ),
    ...plan.acls.map((acl) => aclCommand(acl, brokers)),
  ];
}

function aclCommand(acl: PlannedAcl, brokers: readonly string[]): string {
  return [
    `kafka-acls --bootstrap-server ${brokers.join(',')} --add`,
    `--allow-principal User:${acl.user}`,
    ...acl.operations.map((operation) => `--operation ${operation}`),
    `--${acl.resource} ${acl.name}`,
  ].join(' ');
}

/** Custom resources of Strimzi: KafkaTopic and KafkaUser, as YAML documents. */
export function planAsStrimzi(plan: Plan, cluster: string): string {
  const labels = { 'strimzi.io/cluster': cluster };
  const apiVersion = 'kafka.strimzi.io/v1beta2';
  const users = [...new Set(plan.acls.map(({ user }) => user))];
  const resources = [
    ...plan.topics.map(({ name, partitions, replicationFactor, settings }) => ({
      apiVersion,
      kind: 'KafkaTopic',
      metadata: { name: name.toLowerCase().replaceAll('_', '-'), labels },
      spec: {
        topicName: name,
        partitions,
        ...(replicationFactor === null ? {} : { replicas: replicationFactor }),
        config: settings,
      },
    })),
    ...users.map((user) => ({
      apiVersion,
      kind: 'KafkaUser',
      metadata: { name: user, labels },
      spec: {
        authentication: { type: 'scram-sha-512' },
        authorization: {
          type: 'simple',
          acls: plan.acls
            .filter((acl) => acl.user === user)
            .map(({ resource, name, operations }) => ({
              resource: { type: resource, name, patternType: 'literal' },
              operations,
            })),
        },
      },
    })),
  ];
  // Without aliases, which repeated parts would become.
  const options = { aliasDuplicateObjects: false };
  return resources.map((each) => `---\n${stringify(each, options)}`).join('');
}

/** Adds to a refusal the command that grants the missing permission. */
export function withGrant(
  error: unknown,
  config: Pick<KafkaConfig, 'brokers' | 'sasl_username'>,
  wanted: Omit<PlannedAcl, 'user'>,
): KafkaError {
  const known = kafkaErrorOf(error, `${wanted.resource} ${wanted.name}`);
  if (!/^(?:TOPIC|GROUP)_AUTHORIZATION_FAILED$/.test(known.type ?? '')) return known;
  const user = config.sasl_username === '' ? '<this service>' : config.sasl_username;
  const command = aclCommand({ ...wanted, user }, config.brokers);
  return new KafkaError(known.code, `${known.message}. Grant it with: ${command}`, {
    retryable: known.retryable,
    type: known.type,
    cause: error,
  });
}

/** The same for a member of a group: Read on the topic or on the group. Other errors stay as they are. */
export function withReadGrant(error: Error, config: KafkaConfig, groupId: string): Error {
  const { type } = kafkaErrorOf(error, 'consumer');
  const resource = type?.startsWith('GROUP') === true ? 'group' : 'topic';
  const name = resource === 'group' ? groupId : config.topic;
  const known = withGrant(error, config, { resource, name, operations: ['Read'] });
  return known.code === 'kafka_auth' ? known : error;
}
