/**
 * Has kafkajs hand over record batches whole, in place of a message per record. Its consumer then
 * carries some ten objects per fetch instead of ten thousand, and the records are read where they are
 * needed, straight from the bytes (record-batch.ts).
 *
 * kafkajs 2.2.4 has no setting for that: the decoder of the Fetch response, version 11, is replaced,
 * for all consumers of the process. The version is pinned; what is relied on is held by tests. Each
 * batch stands in for a message whose offset is the batch's last one, which is also how Kafka's own
 * client treats aborted transactions: by batch.
 */
import { createRequire } from 'node:module';
import type { KafkaMessage } from 'kafkajs';
import { KafkaError } from './errors.js';
import { readBatches } from './record-batch.js';
import type { RecordBatch } from './record-batch.js';

/** What stands in for a message in kafkajs's hands. */
interface BatchMessage {
  readonly offset: string;
  /** kafkajs looks here for the marker that ends a transaction; see `controlKey`. */
  readonly key: Buffer | null;
  readonly isControlRecord: boolean;
  readonly batchContext: { readonly producerId: string; readonly inTransaction: boolean };
  readonly recordBatch: RecordBatch;
}

interface FetchDecoder {
  decode(raw: Buffer): Promise<unknown>;
}

let installed = false;

/** Replaces the decoder, once. */
export function installBatchDecoder(): void {
  if (installed) return;
  installed = true;
  const require = createRequire(import.meta.url);
  const response = require('kafkajs/src/protocol/requests/fetch/v11/response') as FetchDecoder;
  // A function of kafkajs stands here in others' hands: async, as it expects.
  response.decode = async (raw) => decodeFetchResponse(raw);
}

/** The batch behind a message that this decoder made. @throws KafkaError where another decoder made it. */
export function batchOf(message: KafkaMessage): RecordBatch {
  const { recordBatch } = message as Partial<BatchMessage>;
  if (recordBatch !== undefined) return recordBatch;
  throw new KafkaError(
    'kafka_rejected',
    'the broker does not know version 11 of Fetch: Kafka 2.4 or later is needed',
    { retryable: false },
  );
}

class Reader {
  #at = 0;

  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int16(): number {
    this.#at += 2;
    return this.#bytes.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }

  int64(): bigint {
    this.#at += 8;
    return this.#bytes.readBigInt64BE(this.#at - 8);
  }

  string(): string {
    const length = this.int16();
    this.#at += Math.max(0, length);
    return this.#bytes.toString('utf8', this.#at - Math.max(0, length), this.#at);
  }

  take(length: number): Buffer {
    this.#at += Math.max(0, length);
    return this.#bytes.subarray(this.#at - Math.max(0, length), this.#at);
  }

  array<T>(item: () => T): T[] {
    const length = this.int32();
    return Array.from({ length: Math.max(0, length) }, item);
  }
}

/**
 * FetchResponse v11 => throttle_time_ms error_code session_id [topic [partition error_code
 * high_watermark last_stable_offset log_start_offset [producer_id first_offset]
 * preferred_read_replica records]], with the names that kafkajs gives to them.
 */
function decodeFetchResponse(raw: Buffer): unknown {
  const reader = new Reader(raw);
  const clientSideThrottleTime = reader.int32();
  const errorCode = reader.int16();
  const sessionId = reader.int32();
  const responses = reader.array(() => ({
    topicName: reader.string(),
    partitions: reader.array(() => {
      const partition = reader.int32();
      const partitionError = reader.int16();
      const highWatermark = String(reader.int64());
      const lastStableOffset = String(reader.int64());
      const logStartOffset = reader.int64();
      const abortedTransactions = reader.array(() => ({
        producerId: String(reader.int64()),
        firstOffset: String(reader.int64()),
      }));
      const preferredReadReplica = reader.int32();
      const records = reader.take(reader.int32());
      return {
        partition,
        errorCode: partitionError,
        highWatermark,
        lastStableOffset,
        lastStartOffset: String(logStartOffset),
        abortedTransactions,
        preferredReadReplica,
        messages: readBatches(records, Number(logStartOffset)).map(messageOf),
      };
    }),
  }));
  return { throttleTime: 0, clientSideThrottleTime, errorCode, sessionId, responses };
}

function messageOf(batch: RecordBatch): BatchMessage {
  return {
    offset: String(batch.lastOffset),
    key: batch.isControl ? controlKey(batch) : null,
    isControlRecord: batch.isControl,
    batchContext: { producerId: batch.producerId, inTransaction: batch.isTransactional },
    recordBatch: batch,
  };
}

/**
 * The key of a control batch's only record, which tells an abort from a commit. Control batches are
 * never compressed: length, attributes, timestamp delta, offset delta, then the key with its length.
 */
function controlKey({ payload }: RecordBatch): Buffer | null {
  let at = 0;
  const skipVarint = () => {
    while ((payload[at++] ?? 0) >= 0x80);
  };
  skipVarint();
  at += 1;
  skipVarint();
  skipVarint();
  const length = (payload[at] ?? 0) >> 1;
  return payload.subarray(at + 1, at + 1 + length);
}
