export {
  type ClickHouseServer,
  startClickHouse,
  type StartClickHouseOptions,
} from './clickhouse/clickhouse.js';
export { LocalError, type LocalErrorCode } from './errors.js';
export {
  type KafkaBroker,
  type KafkaCluster,
  startKafka,
  startKafkaCluster,
  type StartKafkaClusterOptions,
  type StartKafkaOptions,
} from './kafka/kafka.js';
export { pickFreePort } from './net/ports.js';
export { guardProcess } from './process/guard.js';
export type { ProcessExit } from './process/owned.js';
