/**
 * Makes kafkajs pass on complete record batches instead of a message per record. Its consumer then
 * handles about ten objects per fetch instead of ten thousand, and records are read directly from
 * the bytes (record-batch.ts).
 *
 * kafkajs 2.2.4 has no setting for that: the decoder of the Fetch response, version 11, is
 * replaced, for all consumers of the process. The version is pinned; tests cover the internals that
 * we use. Each batch stands in for a message whose offset is the batch's last one.
 *
 * A fault of a partition stays in it: a damaged batch, and an error of the broker about
 * the partition's log, come as a batch that cannot be read. Aborted transactions and their markers
 * come as batches without records, so readers see every offset.
 */
import { createRequire } from 'node:module';
import type { KafkaMessage } from 'kafkajs';
import { KafkaError } from './errors.js';
import { readBatches } from './record-batch.js';
import type { RecordBatch } from './record-batch.js';

/** The batch that replaces a message inside kafkajs. */
interface BatchMessage {
  readonly offset: string;
  readonly key: null;
  readonly isControlRecord: false;
  readonly recordBatch: RecordBatch;
}

interface FetchDecoder {
  decode(raw: Buffer): Promise<unknown>;
}

/** Replaces the decoder. */
export function installBatchDecoder(): void {
  const require = createRequire(import.meta.url);
  const response = require('kafkajs/src/protocol/requests/fetch/v11/response') as FetchDecoder;
  // kafkajs expects an async function here.
  response.decode = async (raw) => decodeFetchResponse(raw);
}

/** The batch behind a message that this decoder made. @throws KafkaError if another decoder made it. */
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
      const highWatermark = reader.int64();
      const lastStableOffset = reader.int64();
      const logStartOffset = Number(reader.int64());
      const aborted = reader.array(() => ({
        producerId: String(reader.int64()),
        firstOffset: Number(reader.int64()),
      }));
      const preferredReadReplica = reader.int32();
      const records = reader.take(reader.int32());
      const ownError = LOG_ERRORS.get(partitionError);
      const range = { logStartOffset, endOffset: Number(highWatermark) };
      const batches =
        ownError === undefined
          ? withoutAborted(readBatches(records, range), aborted)
          : [unreadable(`the broker answers ${ownError}`, logStartOffset)];
      return {
        partition,
        errorCode: ownError === undefined ? partitionError : 0,
        highWatermark: String(highWatermark),
        lastStableOffset: String(lastStableOffset),
        lastStartOffset: String(logStartOffset),
        // Done here.
        abortedTransactions: [],
        preferredReadReplica,
        messages: batches.map(messageOf),
      };
    }),
  }));
  return { throttleTime: 0, clientSideThrottleTime, errorCode, sessionId, responses };
}

/**
 * Errors about the log of one partition. kafkajs would throw for the whole response. Errors that
 * kafkajs repairs by itself (another leader, an offset out of range) are left to it.
 */
const LOG_ERRORS: ReadonlyMap<number, string> = new Map([
  [-1, 'UNKNOWN_SERVER_ERROR'],
  [2, 'CORRUPT_MESSAGE'],
  [56, 'KAFKA_STORAGE_ERROR'],
  [87, 'INVALID_RECORD'],
]);

/** Its offset is known to the reader only. */
function unreadable(damage: string, logStartOffset: number): RecordBatch {
  return {
    damage,
    baseOffset: -1,
    lastOffset: -1,
    leaderEpoch: -1,
    attributes: 0,
    isTransactional: false,
    isControl: false,
    crc: 0,
    logStartOffset,
    baseTimestampMs: 0,
    maxTimestampMs: 0,
    producerId: '-1',
    count: 0,
    payload: Buffer.alloc(0),
  };
}

/** kafkajs drops records before the offset that it asked for; the offset of a damaged batch is a guess. */
const BEHIND_ALL = String(Number.MAX_SAFE_INTEGER);

function messageOf(recordBatch: RecordBatch): BatchMessage {
  const offset = recordBatch.damage === null ? String(recordBatch.lastOffset) : BEHIND_ALL;
  return { offset, key: null, isControlRecord: false, recordBatch };
}

/**
 * The batches without the records that a reader of committed ones must not see: records of transactions
 * that were aborted, and the markers that end transactions.
 *
 * @param aborted the transactions that were aborted within this range, in the order of their offsets.
 */
export function withoutAborted(
  batches: readonly RecordBatch[],
  aborted: readonly { readonly producerId: string; readonly firstOffset: number }[],
): RecordBatch[] {
  const toCome = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const open = new Set<string>();
  return batches.map((batch) => {
    if (batch.damage !== null) return batch;
    while ((toCome[0]?.firstOffset ?? Number.POSITIVE_INFINITY) <= batch.lastOffset) {
      open.add(toCome.shift()?.producerId ?? '');
    }
    if (batch.isControl) {
      if (isAbort(batch)) open.delete(batch.producerId);
      return { ...batch, count: 0 };
    }
    return batch.isTransactional && open.has(batch.producerId) ? { ...batch, count: 0 } : batch;
  });
}

/**
 * Whether a control batch aborts its transaction. Its only record has a key of a version and a type, 0
 * for an abort. Control batches are never compressed: length, attributes, timestamp delta, offset
 * delta, then the key with its length.
 */
function isAbort({ payload }: RecordBatch): boolean {
  let at = 0;
  const skipVarint = () => {
    while ((payload[at++] ?? 0) >= 0x80);
  };
  skipVarint();
  at += 1;
  skipVarint();
  skipVarint();
  return payload.length >= at + 5 && payload.readInt16BE(at + 3) === 0;
}
