/** How a poison record stands in the dead-letter topic: its own key, value and headers, and where it came from. */
import type { OutgoingRecord, StoredRecord } from '@sockscope/runtime/kafka';
import type { Poison } from '../decode/decode-event.js';

export const DLQ_HEADERS = {
  topic: 'sockscope_dlq_topic',
  partition: 'sockscope_dlq_partition',
  offset: 'sockscope_dlq_offset',
  timestamp: 'sockscope_dlq_timestamp',
  reason: 'sockscope_dlq_reason',
  detail: 'sockscope_dlq_detail',
} as const;

export interface PoisonRecord {
  readonly topic: string;
  readonly partition: number;
  readonly record: StoredRecord;
  readonly poison: Poison;
}

export function dlqRecordOf({ topic, partition, record, poison }: PoisonRecord): OutgoingRecord {
  const headers: Record<string, string | Buffer> = {};
  // Of a name that came several times, the last one is kept: kafkajs's own form has no order for them.
  for (const [name, value] of record.headers) if (value !== null) headers[name] = value;
  return {
    key: record.key,
    value: record.value,
    headers: {
      ...headers,
      [DLQ_HEADERS.topic]: topic,
      [DLQ_HEADERS.partition]: String(partition),
      [DLQ_HEADERS.offset]: String(record.offset),
      [DLQ_HEADERS.timestamp]: new Date(record.timestampMs).toISOString(),
      [DLQ_HEADERS.reason]: poison.reason,
      [DLQ_HEADERS.detail]: poison.detail,
    },
  };
}
