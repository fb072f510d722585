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
import { createGroupConsumer, createKafkaProducer } from '@sockscope/runtime/kafka';
import type { ConsumerEvents, GroupConsumer } from '@sockscope/runtime/kafka';
import { dlqTopicOf } from '@sockscope/schemas';
import type { IngestConfig } from './config.js';
import { createDlqPublisher } from './dlq/publisher.js';
import { createPipelineMetrics } from './pipeline/metrics.js';
import { createPipeline } from './pipeline/pipeline.js';
import type { Pipeline } from './pipeline/pipeline.js';
import { createWriterMetrics } from './write/metrics.js';
import { createWriter } from './write/writer.js';

const VERSION = '0.1.0';

export function createIngest(config: IngestConfig): Service {
  const logger = createLogger('ingest', config.log);
  const registry = createRegistry('ingest', VERSION);
  const health = createHealth();
  const clickhouse = createClickHouse(config.clickhouse);
  const producer = createKafkaProducer(config.kafka, { logger, role: 'ingest-dlq' });
  const writer = createWriter(config.writer, {
    clickhouse,
    logger,
    metrics: createWriterMetrics(registry),
  });
  const pipeline = createPipeline(config.batch, {
    topic: config.kafka.topic,
    writer,
    dlq: createDlqPublisher({ topic: dlqTopicOf(config.kafka.topic) }, { producer }),
    commit: (positions) => consumer.commit(positions),
    metrics: createPipelineMetrics(registry),
    logger,
  });
  const consumer: GroupConsumer = createGroupConsumer(config, {
    logger,
    sink: pipeline,
    events: consumerEvents(registry, logger),
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

function consumerEvents(registry: Registry, logger: Logger): ConsumerEvents {
  const registers = [registry];
  const starts = new Counter({
    name: 'sockscope_ingest_partition_starts_total',
    help: 'Partitions begun, by where: committed, new, expired, beyond_end.',
    labelNames: ['reason'],
    registers,
  });
  const lost = new Counter({
    name: 'sockscope_ingest_records_expired_total',
    help: 'Records that Kafka deleted before they were read.',
    registers,
  });
  const jumps = new Counter({
    name: 'sockscope_ingest_offset_jumps_total',
    help: 'Times that the offsets of a partition did not follow on each other.',
    labelNames: ['direction'],
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
      const line = { ...start };
      if (start.reason === 'expired')
        logger.error(line, 'records were deleted before they were read');
      else if (start.reason === 'beyond_end') {
        logger.error(
          line,
          'the partition is shorter than what was read of it: truncated or made anew',
        );
      } else logger.info(line, 'partition begins');
    },
    onJump(jump) {
      jumps.inc({ direction: jump.got < jump.expected ? 'back' : 'forward' });
      logger.warn(jump, 'offsets of a partition do not follow on each other');
    },
    onAssignment(partitions) {
      assigned.set(partitions.length);
      logger.info({ partitions }, 'partitions assigned');
    },
    onCrash() {
      crashes.inc();
      assigned.set(0);
    },
    onCommit(error) {
      commits.inc({ outcome: error === null ? 'ok' : 'failed' });
    },
  };
}
