import { durationMs, listenAddress, logConfig } from '@sockscope/runtime';
import { clickhouseConfig } from '@sockscope/runtime/clickhouse';
import { consumerConfig, kafkaConfig } from '@sockscope/runtime/kafka';
import { z } from 'zod';
import { dlqConfig } from './dlq/config.js';
import { lostConfig } from './lost/config.js';
import { tablesConfig } from './migrations/config.js';
import { pipelineConfig } from './pipeline/config.js';
import { rollupsConfig } from './rollups/config.js';
import { topicsConfig } from './topics/config.js';
import { writerConfig } from './write/config.js';

export const ingestConfig = z
  .object({
    kafka: kafkaConfig,
    consumer: consumerConfig,
    clickhouse: clickhouseConfig,
    topics: topicsConfig,
    tables: tablesConfig,
    batch: pipelineConfig,
    dlq: dlqConfig,
    writer: writerConfig,
    rollups: rollupsConfig,
    lost: lostConfig,
    ops: z.object({
      listen: listenAddress()
        .default({ host: '127.0.0.1', port: 9102 })
        .meta({ env: 'INGEST_OPS_LISTEN', description: 'address of /metrics, /healthz, /readyz' }),
    }),
    log: logConfig,
    shutdown_deadline_ms: durationMs({ min: 100, max: 600_000 }).default(25_000).meta({
      env: 'INGEST_SHUTDOWN_DEADLINE',
      description: 'a stop that takes longer ends at once; nothing is lost, some work is repeated',
    }),
  })
  .superRefine((config, ctx) => {
    if (config.writer.insert_timeout_ms >= config.consumer.session_timeout_ms) {
      ctx.addIssue({
        code: 'custom',
        path: ['writer', 'insert_timeout_ms'],
        message: 'must be below consumer.session_timeout_ms',
      });
    }
    if (config.tables.replicated && !config.tables.replicated_not_run_yet) {
      ctx.addIssue({
        code: 'custom',
        path: ['tables', 'replicated'],
        message:
          'was never run: it needs quorum inserts and sequential reads, which ingest neither sends nor checks. Set CLICKHOUSE_CLUSTER_REPLICATED_NOT_RUN_YET to try it anyway',
      });
    }
  });

export type IngestConfig = z.infer<typeof ingestConfig>;
