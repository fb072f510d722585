/**
 * `kafka check`: connects with the service's credentials and lists missing topics and permissions. It tests
 * permissions with requests that change nothing: they name a partition or a member that no cluster
 * has, and a broker checks the permission first.
 */
import type { Command } from 'commander';
import { checkReport } from '../lifecycle/check-report.js';
import type { Finding } from '../lifecycle/check-report.js';
import { createLogger } from '../log/logger.js';
import type { Logger } from '../log/logger.js';
import { createKafkaAdmin } from './admin.js';
import type { PartitionDescription } from './admin.js';
import { HAS_ZSTD } from './codecs.js';
import type { KafkaConfig } from './config.js';
import { connectDirect, fetchRequest } from './direct.js';
import type { DirectBroker, DirectClient } from './direct.js';
import { kafkaErrorOf } from './errors.js';
import { withGrant } from './plan.js';
import type { PlannedAcl, PlannedTopic } from './plan.js';
import { installProduceEncoder } from './produce-request.js';
import { PackedBatch } from './record-packer.js';
import { concerns, describeQuotas, quotaText } from './quotas.js';
import { lackOf } from './support.js';
import type { ClientUse } from './support.js';

export interface KafkaCheck {
  readonly kafka: KafkaConfig;
  readonly uses: readonly ClientUse[];
  /** The needs of the service; its topics must exist. */
  readonly acls: readonly Omit<PlannedAcl, 'user'>[];
  /** Topics as this service would create them; another shape is noted. */
  readonly topics?: readonly PlannedTopic[];
}

/** More partitions than any topic has. */
const NO_PARTITION = 2 ** 31 - 1;
const CONNECT_RETRIES = 3;
const TOPIC_RESOURCE = 2;
const SHOWN_QUOTAS_MAX = 10;
const SHOWN_SETTINGS = [
  'cleanup.policy',
  'compression.type',
  'max.message.bytes',
  'min.insync.replicas',
  'retention.bytes',
  'retention.ms',
];

/** Adds `kafka check` to a service's command line. */
export function registerKafkaCheck(program: Command, check: () => KafkaCheck): void {
  program
    .command('kafka')
    .description('Kafka, as this service uses it')
    .command('check')
    .description(
      "connect with the service's credentials and list everything that is missing; exit code 1 if anything is",
    )
    .action(async () => {
      const logger = createLogger('check', { level: 'silent' });
      checkReport(await checkKafka(check(), { logger }));
    });
}

export async function checkKafka(
  { kafka, uses, acls, topics: planned = [] }: KafkaCheck,
  deps: { readonly logger: Logger },
): Promise<Finding[]> {
  const role = 'check';
  let direct: DirectClient;
  try {
    direct = await connectDirect(kafka, { ...deps, role, use: 'admin', retries: CONNECT_RETRIES });
  } catch (error) {
    return [{ state: 'missing', text: `connection: ${kafkaErrorOf(error, 'connect').message}` }];
  }
  const admin = createKafkaAdmin(kafka, { ...deps, role });
  try {
    const { brokers, findings } = await checkBrokers(direct, uses);
    const [broker] = brokers;
    if (broker === undefined) return findings;
    const topics = [
      ...new Set(acls.flatMap((acl) => (acl.resource === 'topic' ? [acl.name] : []))),
    ];
    for (const topic of topics) {
      const plan = planned.find(({ name }) => name === topic);
      findings.push(await checkTopic(topic, plan, () => admin.describeTopic(topic)));
      findings.push(await checkSettings(kafka, topic, plan, broker));
    }
    for (const acl of acls) {
      for (const operation of acl.operations) {
        // A note above names it when it is missing: the service works without it.
        if (operation === 'DescribeConfigs') continue;
        findings.push(
          await checkPermission(kafka, { ...acl, operations: [operation] }, direct, broker),
        );
      }
    }
    findings.push(await checkQuotas(kafka, broker), codecsOf(kafka));
    return findings;
  } finally {
    await Promise.all([admin.stop(), direct.destroy()]);
  }
}

async function checkBrokers(
  { cluster }: DirectClient,
  uses: readonly ClientUse[],
): Promise<{ brokers: DirectBroker[]; findings: Finding[] }> {
  const brokers: DirectBroker[] = [];
  const findings: Finding[] = [];
  await cluster.refreshMetadata();
  for (const nodeId of cluster.getNodeIds()) {
    try {
      const broker = await cluster.findBroker({ nodeId });
      const { host, port } = broker.connectionPool;
      const range = (key: number) => {
        const found = broker.versions[key];
        return found === undefined ? 'none' : `${found.minVersion} to ${found.maxVersion}`;
      };
      const lack = uses.map((use) => lackOf(broker.versions, use)).find((each) => each !== null);
      const text = `broker ${nodeId} at ${host}:${port}: Produce ${range(0)}, Fetch ${range(1)}`;
      findings.push(
        lack === undefined ? { state: 'ok', text } : { state: 'missing', text: `${text}; ${lack}` },
      );
      brokers.push(broker);
    } catch (error) {
      const { message } = kafkaErrorOf(error, `broker ${nodeId}`);
      findings.push({ state: 'missing', text: message });
    }
  }
  return { brokers, findings };
}

async function checkTopic(
  topic: string,
  plan: PlannedTopic | undefined,
  describe: () => Promise<readonly PartitionDescription[] | null>,
): Promise<Finding> {
  try {
    const partitions = await describe();
    if (partitions === null) {
      return {
        state: 'missing',
        text: `topic ${topic}: create it with \`topics ensure\` of ingest`,
      };
    }
    const replicas = Math.min(...partitions.map((each) => each.replicas.length));
    const leaderless = partitions.filter(({ leader }) => leader < 0).length;
    const behind = partitions.filter((each) => each.inSync.length < each.replicas.length).length;
    const text = `topic ${topic}: ${partitions.length} partitions, ${replicas} replicas`;
    if (leaderless > 0)
      return { state: 'missing', text: `${text}, ${leaderless} without a leader` };
    if (behind > 0) {
      return { state: 'note', text: `${text}, ${behind} partitions with replicas behind` };
    }
    const { partitions: count = partitions.length, replicationFactor = null } = plan ?? {};
    const missed = [];
    if (partitions.length !== count) missed.push(`${count} partitions`);
    if (replicas !== (replicationFactor ?? replicas)) missed.push(`${replicationFactor} replicas`);
    return besidePlan(text, missed);
  } catch (error) {
    return { state: 'missing', text: kafkaErrorOf(error, `topic ${topic}`).message };
  }
}

/** Notes settings of the topic that differ from the configuration. */
function besidePlan(text: string, missed: readonly string[]): Finding {
  return missed.length === 0
    ? { state: 'ok', text }
    : { state: 'note', text: `${text}; configured: ${missed.join(', ')}` };
}

async function checkSettings(
  kafka: KafkaConfig,
  topic: string,
  plan: PlannedTopic | undefined,
  broker: DirectBroker,
): Promise<Finding> {
  try {
    const { resources } = await broker.describeConfigs({
      resources: [{ type: TOPIC_RESOURCE, name: topic, configNames: SHOWN_SETTINGS }],
    });
    const entries = resources.flatMap(({ configEntries }) => configEntries);
    const shown = entries.map(({ configName, configValue }) => `${configName}=${configValue}`);
    const text = `settings of ${topic}: ${shown.join(', ')}`;
    const policy = entries.find(({ configName }) => configName === 'cleanup.policy')?.configValue;
    if (policy?.includes('compact') === true) {
      const advice = 'Set cleanup.policy=delete: compaction deletes events';
      return { state: 'missing', text: `${text}. ${advice}` };
    }
    const planned = Object.entries(plan?.settings ?? {}).map((setting) => setting.join('='));
    return besidePlan(
      text,
      planned.filter((setting) => !shown.includes(setting)),
    );
  } catch (cause) {
    const { message } = withGrant(cause, kafka, {
      resource: 'topic',
      name: topic,
      operations: ['DescribeConfigs'],
    });
    return { state: 'note', text: `settings of ${topic} are not visible: ${message}` };
  }
}

type OneAcl = KafkaCheck['acls'][number];

async function checkPermission(
  kafka: KafkaConfig,
  acl: OneAcl,
  direct: DirectClient,
  broker: DirectBroker,
): Promise<Finding> {
  const what = `permission ${acl.operations.join()} on ${acl.resource} ${acl.name}`;
  try {
    await tryPermission(acl, direct, broker);
  } catch (cause) {
    const error = withGrant(cause, kafka, acl);
    if (error.type?.endsWith('AUTHORIZATION_FAILED') === true) {
      return { state: 'missing', text: `${what}: ${error.message}` };
    }
    if (error.type === null)
      return { state: 'note', text: `${what}: not checked: ${error.message}` };
  }
  return { state: 'ok', text: what };
}

/** @throws the broker's answer, which is never a success. */
async function tryPermission(
  { resource, name, operations: [operation] }: OneAcl,
  { cluster }: DirectClient,
  broker: DirectBroker,
): Promise<void> {
  if (resource === 'group') {
    const coordinator = await cluster.findGroupCoordinator({ groupId: name });
    await coordinator.heartbeat({ groupId: name, groupGenerationId: 0, memberId: 'check' });
  } else if (operation === 'Write') {
    installProduceEncoder();
    const messages = [new PackedBatch(Buffer.alloc(0), NO_PARTITION, 1)];
    const partitions = [{ partition: NO_PARTITION, messages }];
    await broker.produce({ topicData: [{ topic: name, partitions }] });
  } else if (operation === 'Delete') {
    const partitions = [{ partition: NO_PARTITION, offset: '0' }];
    await broker.deleteRecords({ topics: [{ topic: name, partitions }] });
  } else {
    await broker.fetch(fetchRequest(name, NO_PARTITION, 0));
  }
}

async function checkQuotas(kafka: KafkaConfig, broker: DirectBroker): Promise<Finding> {
  try {
    const quotas = await describeQuotas(broker);
    if (quotas === null) {
      return { state: 'note', text: 'quotas: brokers before Kafka 2.6 do not report them' };
    }
    const ours = quotas.filter((each) => concerns(each, kafka.sasl_username, kafka.client_id));
    if (ours.length === 0) return { state: 'ok', text: 'quotas: none for this user or client id' };
    const shown = ours.slice(0, SHOWN_QUOTAS_MAX).map(quotaText).join('; ');
    return { state: 'note', text: `quotas: ${shown}. Brokers delay clients above them` };
  } catch (error) {
    const { type, message } = kafkaErrorOf(error, 'quotas');
    return type === 'CLUSTER_AUTHORIZATION_FAILED'
      ? { state: 'note', text: 'quotas: not visible without DescribeConfigs on the cluster' }
      : { state: 'note', text: message };
  }
}

function codecsOf({ compression }: KafkaConfig): Finding {
  const zstd = HAS_ZSTD ? 'zstd too' : 'zstd only for reading: writing it needs Node 22.15';
  return {
    state: 'ok',
    text: `codecs: ${compression} for events; reads gzip, snappy, lz4; ${zstd}`,
  };
}
