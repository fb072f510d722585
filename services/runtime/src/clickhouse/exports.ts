export { registerClickHouseCheck, tryReading, tryWriting } from './check.js';
export * from './clickhouse.js';
export * from './columns.js';
export * from './config.js';
export * from './errors.js';
