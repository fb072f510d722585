/** How a poison record stands in the dead-letter topic: its own key, value and headers, and where it came from. */
import type { ConsumedRecord, OutgoingRecord } from '@sockscope/runtime/kafka';
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
  readonly record: ConsumedRecord;
  readonly poison: Poison;
}

/** The first value of a header that came several times: kafkajs gives an array then. */
function headerValue(
  value: Buffer | string | (Buffer | string)[] | undefined,
): Buffer | string | null {
  return (Array.isArray(value) ? value[0] : value) ?? null;
}

export function dlqRecordOf({ topic, partition, record, poison }: PoisonRecord): OutgoingRecord {
  const headers: Record<string, string | Buffer> = {};
  for (const [name, value] of Object.entries(record.headers ?? {})) {
    const first = headerValue(value);
    if (first !== null) headers[name] = first;
  }
  return {
    key: record.key,
    value: record.value,
    headers: {
      ...headers,
      [DLQ_HEADERS.topic]: topic,
      [DLQ_HEADERS.partition]: String(partition),
      [DLQ_HEADERS.offset]: record.offset,
      [DLQ_HEADERS.timestamp]: record.timestamp,
      [DLQ_HEADERS.reason]: poison.reason,
      [DLQ_HEADERS.detail]: poison.detail,
    },
  };
}
