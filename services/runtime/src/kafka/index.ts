export * from './admin.js';
export * from './client.js';
export * from './config.js';
export * from './consumer-config.js';
export * from './errors.js';
export * from './group-consumer.js';
export * from './producer.js';
export type { RecordBatch, RecordCursor, StoredRecord } from './record-batch.js';
export type { StartReason } from './start-offset.js';
