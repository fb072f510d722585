/** The ingest service, put together. What runs is read from top to bottom. */
import {
  Counter,
  createHealth,
  createLogger,
  createOpsServer,
  createRegistry,
  createService,
  Gauge,
} from '@sockscope/runtime';
import type { Component, Logger, Registry, Service } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import {
  createGroupConsumer,
  createKafkaAdmin,
  createKafkaProducer,
} from '@sockscope/runtime/kafka';
import type {
  ConsumerEvents,
  GroupConsumer,
  KafkaProducer,
  StartReason,
} from '@sockscope/runtime/kafka';
import { dlqTopicOf } from '@sockscope/schemas';
import type { IngestConfig } from './config.js';
import { createDlqPublisher } from './dlq/publisher.js';
import { createLostMetrics, createLostSessions } from './lost/index.js';
import { createPipelineMetrics } from './pipeline/metrics.js';
import { createPipeline } from './pipeline/pipeline.js';
import type { Pipeline } from './pipeline/pipeline.js';
import { createMarkKeeper, createRollupMetrics, createRollups } from './rollups/index.js';
import { createWatermarkKeeper } from './watermarks/index.js';
import { createWriterMetrics } from './write/metrics.js';
import { createWriter } from './write/writer.js';

const VERSION = '0.1.0';

/** Where tests cut in: each is given the real thing and returns what takes its place. */
export interface IngestSeams {
  clickhouse(real: ClickHouse): ClickHouse;
  producer(real: KafkaProducer): KafkaProducer;
  consumer(create: typeof createGroupConsumer): typeof createGroupConsumer;
}

const NO_SEAMS: IngestSeams = {
  clickhouse: (real) => real,
  producer: (real) => real,
  consumer: (create) => create,
};

export function createIngest(config: IngestConfig, seams: IngestSeams = NO_SEAMS): Service {
  const logger = createLogger('ingest', config.log);
  const registry = createRegistry('ingest', VERSION);
  const health = createHealth();
  const clickhouse = seams.clickhouse(createClickHouse(config.clickhouse));
  const producer = seams.producer(
    createKafkaProducer(config.kafka, { logger, role: 'ingest-dlq' }),
  );
  const writer = createWriter(config.writer, {
    clickhouse,
    logger,
    metrics: createWriterMetrics(registry),
  });
  const marks = createMarkKeeper(config.rollups);
  const watermarks = createWatermarkKeeper({ topic: config.kafka.topic });
  const pipeline = createPipeline(config.batch, {
    topic: config.kafka.topic,
    writer,
    dlq: createDlqPublisher({ topic: dlqTopicOf(config.kafka.topic) }, { producer }),
    bookkeepers: [marks, watermarks],
    commit: (positions) => consumer.commit(positions),
    metrics: createPipelineMetrics(registry),
    logger,
  });
  const consumer: GroupConsumer = seams.consumer(createGroupConsumer)(config, {
    logger,
    sink: pipeline,
    events: consumerEvents(registry, logger, (partitions) => {
      assigned = partitions;
      // Another process may have gone on where this one had stopped.
      marks.forget();
      watermarks.forget();
    }),
  });
  const admin = createKafkaAdmin(config.kafka, { logger, role: 'ingest-lost' });
  let assigned: readonly number[] = [];
  // Some process reads partition 0, and only one does: no other election is needed.
  const leads = () => assigned.includes(0);
  const rollups = createRollups(config.rollups, {
    clickhouse,
    retention: config.tables.retention,
    leads,
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
  const ops = createOpsServer(config.ops, { health, metrics: registry, logger });

  health.add('ready', 'clickhouse', () => {
    const trouble = writer.trouble();
    return trouble === null ? { ok: true } : { ok: false, detail: trouble };
  });
  health.add('ready', 'consumer', () => ({
    ok: consumer.state() === 'running',
    detail: consumer.state(),
  }));

  const components: (readonly [string, Component])[] = [
    ['ops server', ops],
    ['clickhouse', { start: () => undefined, stop: () => clickhouse.close() }],
    [
      'dead-letter producer',
      {
        start: () => undefined,
        stop: () => {
          producer.stop();
        },
      },
    ],
    ['kafka admin', { start: () => undefined, stop: () => admin.stop() }],
    ['rollups', rollups],
    ['lost sessions', lost],
    ['consumer', drainingConsumer(consumer, pipeline, config.shutdown_deadline_ms)],
  ];
  return createService(
    { name: 'ingest', shutdown_deadline_ms: config.shutdown_deadline_ms },
    components,
    { logger },
  );
}

/** A stop takes no more, writes and commits what is held, then leaves the group. */
function drainingConsumer(
  consumer: GroupConsumer,
  pipeline: Pipeline,
  deadlineMs: number,
): Component {
  return {
    start: () => {
      consumer.start();
    },
    async stop() {
      consumer.quiesce();
      try {
        // Leaving the group needs some of the time, so that the others need not wait for a timeout.
        await pipeline.drain(AbortSignal.timeout(deadlineMs * 0.7));
      } finally {
        pipeline.abort();
        await consumer.stop();
      }
    },
  };
}

/** What is logged where a partition begins; the errors are for somebody to look at. */
const START_LOG: Record<StartReason, readonly ['info' | 'error', string]> = {
  committed: ['info', 'partition begins'],
  new: ['info', 'partition begins for the first time'],
  expired: ['error', 'records were deleted by Kafka before they were read'],
  beyond_end: [
    'error',
    'the partition is shorter than what was read of it; all of it is read again',
  ],
  replaced: ['error', 'the partition is not the one that was read; all of it is read again'],
};

function consumerEvents(
  registry: Registry,
  logger: Logger,
  onAssignment: (partitions: readonly number[]) => void,
): ConsumerEvents {
  const registers = [registry];
  const starts = new Counter({
    name: 'sockscope_ingest_partition_starts_total',
    help: 'Partitions begun, by where: committed, new, expired, beyond_end, replaced.',
    labelNames: ['reason'],
    registers,
  });
  const lost = new Counter({
    name: 'sockscope_ingest_records_expired_total',
    help: 'Records that Kafka deleted before they were read.',
    registers,
  });
  const crashes = new Counter({
    name: 'sockscope_ingest_consumer_restarts_total',
    help: 'Times that the consumer ended by an error and was started again.',
    registers,
  });
  const commits = new Counter({
    name: 'sockscope_ingest_commits_total',
    help: 'Commits of offsets.',
    labelNames: ['outcome'],
    registers,
  });
  const assigned = new Gauge({
    name: 'sockscope_ingest_assigned_partitions',
    help: 'Partitions that this process reads.',
    registers,
  });
  return {
    onStart(start) {
      starts.inc({ reason: start.reason });
      lost.inc(start.lost);
      const [level, text] = START_LOG[start.reason];
      logger[level](start, text);
    },
    onAssignment(partitions) {
      assigned.set(partitions.length);
      logger.info({ partitions }, 'partitions assigned');
      onAssignment(partitions);
    },
    onCrash() {
      crashes.inc();
      assigned.set(0);
      onAssignment([]);
    },
    onCommit(error) {
      commits.inc({ outcome: error === null ? 'ok' : 'failed' });
    },
  };
}
