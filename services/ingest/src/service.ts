/** The wiring of the ingest service. The steps are in order, from top to bottom. */
import {
  createHealth,
  createLogger,
  createOpsServer,
  createRegistry,
  createService,
  measureCertificates,
} from '@sockscope/runtime';
import type { Component, Service } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import {
  createGroupConsumer,
  createKafkaAdmin,
  createKafkaProducer,
} from '@sockscope/runtime/kafka';
import type { CommitPosition, GroupConsumer } from '@sockscope/runtime/kafka';
import type { IngestConfig } from './config.js';
import { createIngestion } from './consume/ingestion.js';
import { createConsumerEvents } from './consume/events.js';
import { createLag } from './consume/lag.js';
import { PoisonBudget } from './dlq/budget.js';
import { dlqTopicNameOf } from './dlq/config.js';
import { createDeadLetterCounts } from './dlq/counts.js';
import { createDeadLetters } from './dlq/dead-letters.js';
import { createDlqPublisher } from './dlq/publisher.js';
import { createDlqTopic } from './dlq/topic.js';
import { createForgotten } from './forget/forgotten.js';
import { createLostMetrics } from './lost/metrics.js';
import { createLostSessions } from './lost/lost.js';
import { createPipelineMetrics } from './pipeline/metrics.js';
import { createPipeline } from './pipeline/pipeline.js';
import { createMarkKeeper } from './rollups/marks.js';
import { createRollupMetrics } from './rollups/metrics.js';
import { createRollups } from './rollups/rollups.js';
import { checkTables } from './tables/check-tables.js';
import { claimSource } from './tables/source.js';
import { createWatermarkKeeper } from './watermarks/watermarks.js';
import { createWaitsMetrics } from './waits/metrics.js';
import { createWaits } from './waits/waits.js';
import { createWriterMetrics } from './write/metrics.js';
import { createWriter } from './write/writer.js';

/** Leaving the group needs some of the time of a shutdown too, so that the others need not wait for a timeout. */
const DRAIN_SHARE = 0.7;

/** How the clients of Kafka and ClickHouse are made. */
export interface IngestClients {
  readonly createClickHouse: typeof createClickHouse;
  readonly createKafkaProducer: typeof createKafkaProducer;
  readonly createGroupConsumer: typeof createGroupConsumer;
}

const CLIENTS: IngestClients = { createClickHouse, createKafkaProducer, createGroupConsumer };

export function createIngest(config: IngestConfig, clients = CLIENTS): Service {
  const logger = createLogger('ingest', config.log);
  const registry = createRegistry('ingest');
  const health = createHealth();
  measureCertificates(registry, {
    presented: {
      KAFKA_TLS_CERT_FILE: config.kafka.tls_cert_file,
      CLICKHOUSE_CERT_FILE: config.clickhouse.cert_file,
    },
    trusted: {
      KAFKA_TLS_CA_FILE: config.kafka.tls_ca_file,
      CLICKHOUSE_CA_FILE: config.clickhouse.ca_file,
    },
  });
  const clickhouse = clients.createClickHouse(config.clickhouse);
  const dlqTopicName = dlqTopicNameOf(config);
  let deadLetterTrouble: string | null = null;
  const dlqTopic = createDlqTopic(
    { ...config.dlq, topic: dlqTopicName, kafka: config.kafka },
    {
      createAdmin: () => createKafkaAdmin(config.kafka, { logger, role: 'ingest-dlq-topic' }),
      logger,
    },
  );
  const producer = clients.createKafkaProducer(config.kafka, {
    logger,
    role: 'ingest-dlq',
    // A refused record is cut and sent again.
    believesRefusals: true,
    hooks: {
      onAcknowledged() {
        deadLetterTrouble = null;
      },
      onFailure(error) {
        if (deadLetterTrouble === null) logger.error({ err: error }, 'dead letters wait for Kafka');
        deadLetterTrouble = error.message;
        if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION') dlqTopic.check();
      },
    },
  });
  // All other parts read their own writes, so they stay with the one node that has a name.
  const inserts =
    config.clickhouse.failover_urls.length === 0
      ? clickhouse
      : clients.createClickHouse(config.clickhouse, { failover: true });
  const writer = createWriter(config.writer, {
    clickhouse: inserts,
    logger,
    metrics: createWriterMetrics(registry),
  });
  // Thrown where nobody catches it, so that the process ends: uncommitted records are delivered
  // again to the next one.
  const fail = (error: Error) =>
    setImmediate(() => {
      throw error;
    });
  const metrics = createPipelineMetrics(registry);
  const marks = createMarkKeeper(config.rollups, {
    clickhouse,
    logger,
    headerChanged: (field) => {
      metrics.headerChanges.inc({ field });
    },
  });
  const watermarks = createWatermarkKeeper({ topic: config.kafka.topic });
  const waits = createWaits(
    { topic: config.kafka.topic },
    { clickhouse, logger, metrics: createWaitsMetrics(registry) },
  );
  const forgotten = createForgotten({ clickhouse, logger });
  const commit = (positions: readonly CommitPosition[]) => consumer.commit(positions);
  const deadLetterCounts = createDeadLetterCounts({ clickhouse, logger });
  const deadLetters = createDeadLetters(
    {},
    {
      publisher: createDlqPublisher({ topic: dlqTopicName }, { producer, logger }),
      waits,
      commit,
      onDelivered: (letter) => {
        metrics.poison.inc({ reason: letter.poison.reason });
        deadLetterCounts.add(letter);
      },
    },
  );
  const pipeline = createPipeline(
    { ...config.batch, topic: config.kafka.topic },
    {
      writer,
      deadLetters,
      budget: new PoisonBudget(config.dlq),
      waits,
      isForgotten: forgotten.has,
      bookkeepers: [marks, watermarks],
      commit,
      metrics,
      logger,
      fail,
    },
  );
  const consumer: GroupConsumer = clients.createGroupConsumer(config, {
    logger,
    sink: pipeline,
    events: {
      ...createConsumerEvents(registry, logger, (partitions) => {
        assigned = partitions;
        marks.keep(partitions);
        // Another process may have continued where this one had stopped.
        watermarks.forget();
        waits.retain(partitions);
        deadLetters.retain(partitions);
      }),
      onHopeless: fail,
    },
  });
  const admin = createKafkaAdmin(config.kafka, { logger, role: 'ingest-lost' });
  let assigned: readonly number[] = [];
  /** Number of known partitions. Without a reader, a worker's place would stay undone. */
  let partitions = 1;
  // Some process reads partition 0, and only one does: no other election is needed.
  const leads = () => assigned.includes(0);
  const rollups = createRollups(config.rollups, {
    clickhouse,
    retention: config.tables.retention,
    share() {
      const workers = Math.min(config.rollups.workers, partitions);
      return { workers, places: assigned.filter((partition) => partition < workers) };
    },
    logger,
    metrics: createRollupMetrics(registry),
  });
  const lost = createLostSessions(config.lost, {
    topic: config.kafka.topic,
    clickhouse,
    admin,
    leads,
    logger,
    metrics: createLostMetrics(registry),
  });
  const lag = createLag(
    { topic: config.kafka.topic, group_id: config.consumer.group_id },
    {
      admin,
      registry,
      logger,
      assigned: () => assigned,
      newestMs: (partition) => watermarks.newestMs(partition),
      onPartitions: (count) => {
        partitions = count;
      },
      onRetention: (retentionMs) => {
        waits.setRetention(retentionMs);
      },
    },
  );
  const ops = createOpsServer(config.ops, { health, metrics: registry, logger });

  const ingestion = createIngestion(
    { drain_ms: config.shutdown_deadline_ms * DRAIN_SHARE },
    {
      consumer,
      pipeline,
      async checkTables(signal) {
        await checkTables(clickhouse, signal);
        await forgotten.load(signal);
        const source = { topic: config.kafka.topic, clusterId: await admin.clusterId() };
        await claimSource(clickhouse, source, signal);
      },
      fail,
      logger,
    },
  );

  const okUnless = (trouble: string | null) =>
    trouble === null ? { ok: true } : { ok: false, detail: trouble };
  health.add('ready', 'tables', () => okUnless(ingestion.tableProblem()));
  health.add('ready', 'clickhouse', () => okUnless(writer.trouble()));
  health.add('ready', 'dead_letters', () => okUnless(dlqTopic.trouble() ?? deadLetterTrouble));
  health.add('ready', 'partitions', () => okUnless(waits.trouble()));
  health.add('ready', 'consumer', () => ({
    ok: consumer.state() === 'running' && consumer.problem() === null,
    detail: consumer.problem() ?? consumer.state(),
  }));

  const components: (readonly [string, Component])[] = [
    ['ops server', ops],
    ['clickhouse', { start: () => undefined, stop: () => clickhouse.close() }],
    ['inserts', { start: () => undefined, stop: () => inserts.close() }],
    ['dead-letter topic', dlqTopic],
    [
      'dead-letter producer',
      {
        start: () => undefined,
        stop: () => {
          producer.stop();
        },
      },
    ],
    ['counts of dead letters', deadLetterCounts],
    ['dead letters', deadLetters],
    ['waiting partitions', waits],
    ['forgotten persons', forgotten],
    ['kafka admin', { start: () => undefined, stop: () => admin.stop() }],
    ['lag', lag],
    ['rollups', rollups],
    ['lost sessions', lost],
    ['consumer', ingestion],
  ];
  return createService(
    { name: 'ingest', shutdown_deadline_ms: config.shutdown_deadline_ms },
    components,
    { logger },
  );
}
