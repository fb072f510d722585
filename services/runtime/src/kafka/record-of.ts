import { RecordCursor } from './record-batch.js';
import type { StoredRecord } from './record-batch.js';
import { RecordWriter } from './record-packer.js';
import type { RecordFormat } from './record-packer.js';

const ALONE = {
  damage: null,
  leaderEpoch: 0,
  baseOffset: 0,
  lastOffset: 0,
  count: 1,
  isControl: false,
  isTransactional: false,
  producerId: '-1',
  crc: 0,
  logStartOffset: 0,
  attributes: 0,
  baseTimestampMs: 0,
  maxTimestampMs: 0,
  payload: Buffer.alloc(0),
} as const;

/** Key, value and headers as a format writes them, for callers that keep a record that was not sent. */
export function recordOf<T>(
  record: T,
  format: RecordFormat<T>,
): Pick<StoredRecord, 'key' | 'value' | 'headers'> {
  const writer = new RecordWriter();
  writer.record(record, 0, format);
  const cursor = new RecordCursor(ALONE, writer.buffer.subarray(0, writer.at), 0);
  cursor.next();
  const { key, value, headers } = cursor.record();
  return { key, value, headers };
}
