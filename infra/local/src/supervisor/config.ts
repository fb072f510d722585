import { clickhouseConfig } from '@sockscope/runtime/clickhouse';
import {
  CONFIG_FILE_ENV,
  durationMs,
  integer,
  listenAddress,
  loadConfig,
} from '@sockscope/runtime';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import { z } from 'zod';

const port = () => integer({ min: 0, max: 65_535 });

/**
 * The settings of `npm start`, besides the services' own. A port of 0 takes a free one.
 */
export const localConfig = z.object({
  local: z.object({
    data_dir: z.string().min(1).default('.local').meta({
      env: 'LOCAL_DATA_DIR',
      description: 'folder for data and logs, relative to the checkout; two copies need two',
    }),
    kafka_port: port()
      .default(9092)
      .meta({ env: 'LOCAL_KAFKA_PORT', description: 'port of the local Kafka' }),
    kafka_controller_port: port().default(0).meta({
      env: 'LOCAL_KAFKA_CONTROLLER_PORT',
      description: "port of the local Kafka's controller; 0: a free one",
    }),
    kafka_heap_mib: integer({ min: 256, max: 65_536 }).default(256).meta({
      env: 'LOCAL_KAFKA_HEAP_MIB',
      description: "heap of the local Kafka's JVM; it takes about 120 MiB more",
    }),
    clickhouse_http_port: port().default(8123).meta({
      env: 'LOCAL_CLICKHOUSE_HTTP_PORT',
      description: 'HTTP port of the local ClickHouse',
    }),
    clickhouse_memory_mib: integer({ min: 512, max: 1_048_576 }).default(4_096).meta({
      env: 'LOCAL_CLICKHOUSE_MEMORY_MIB',
      description: 'memory limit of the local ClickHouse',
    }),
    // On one machine the proxy's clients go first; a backlog waits in the spool and in Kafka.
    niceness: integer({ min: 0, max: 19 }).default(10).meta({
      env: 'LOCAL_NICENESS',
      description:
        'niceness of Kafka, ClickHouse, ingest and the API; the proxy has 0 (see nice(1))',
    }),
  }),
  proxy_listen: listenAddress()
    .default({ host: '127.0.0.1', port: 1080 })
    .meta({ env: 'PROXY_LISTEN', description: 'address for SOCKS5 clients' }),
  query_listen: listenAddress()
    .default({ host: '127.0.0.1', port: 8080 })
    .meta({ env: 'QUERY_LISTEN', description: 'address and port of the API and the dashboard' }),
  proxy_ops_listen: listenAddress()
    .default({ host: '127.0.0.1', port: 9101 })
    .meta({ env: 'PROXY_OPS_LISTEN', description: 'metrics and health of the proxy' }),
  ingest_ops_listen: listenAddress()
    .default({ host: '127.0.0.1', port: 9102 })
    .meta({ env: 'INGEST_OPS_LISTEN', description: 'metrics and health of ingest' }),
  query_ops_listen: listenAddress()
    .default({ host: '127.0.0.1', port: 9103 })
    .meta({ env: 'QUERY_OPS_LISTEN', description: 'metrics and health of the API' }),
  proxy_deadline_ms: durationMs({ min: 100, max: 7_200_000 }).default(30_000).meta({
    env: 'PROXY_SHUTDOWN_DEADLINE',
    description: 'how long a stop of the proxy may take; it is killed 15 s later',
  }),
  ingest_deadline_ms: durationMs({ min: 100, max: 600_000 }).default(25_000).meta({
    env: 'INGEST_SHUTDOWN_DEADLINE',
    description: 'how long a stop of ingest may take; it is killed 15 s later',
  }),
  query_deadline_ms: durationMs({ min: 1_000, max: 600_000 }).default(10_000).meta({
    env: 'SHUTDOWN_DEADLINE',
    description: 'how long a stop of query may take; it is killed 15 s later',
  }),
  kafka: kafkaConfig,
  clickhouse: clickhouseConfig,
});

export interface LocalConfig extends z.infer<typeof localConfig> {
  /** No local Kafka, because KAFKA_BROKERS names one. */
  readonly existingKafka: boolean;
  /** No local ClickHouse, because CLICKHOUSE_URL names one. */
  readonly existingClickHouse: boolean;
}

/** @throws ConfigError with every problem. */
export function loadLocalConfig(env: Readonly<Record<string, string | undefined>>): LocalConfig {
  // The YAML file is one service's own; here it would be full of unknown settings.
  return {
    ...loadConfig(localConfig, { ...env, [CONFIG_FILE_ENV]: undefined }),
    existingKafka: isSet(env['KAFKA_BROKERS']),
    existingClickHouse: isSet(env['CLICKHOUSE_URL']),
  };
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}
