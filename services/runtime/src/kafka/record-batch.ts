/**
 * Record batches (Kafka's message format 2), read without an object per record. A consumer that
 * folds needs the bytes of the values and little else, and kafkajs's own decoder costs about 8 µs
 * for each record, most of it for headers that nobody reads.
 *
 * Format: https://kafka.apache.org/documentation/#recordbatch
 */
import { CODECS, decompress } from './codecs.js';
import { crc32c } from './crc32c.js';
import { KafkaError } from './errors.js';

/** A record as it was stored, copied out of its batch. */
export interface StoredRecord {
  readonly offset: number;
  /**
   * Milliseconds since 1970, set by the producer, or by the broker if the topic is configured so.
   */
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Headers in their order; a name may come several times. */
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
}

/** A batch as a broker sent it: still compressed. */
export interface RecordBatch {
  /** Why it cannot be read, or null. The offsets of a damaged batch are a guess. */
  readonly damage: string | null;
  /** Epoch of the leader that wrote the batch. */
  readonly leaderEpoch: number;
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly count: number;
  readonly isControl: boolean;
  readonly isTransactional: boolean;
  /** -1 if the producer was neither idempotent nor transactional. */
  readonly producerId: string;
  /** Checksum of its content: with the base offset it names the batch. */
  readonly crc: number;
  /** First offset of the partition when the batch was fetched. */
  readonly logStartOffset: number;
  readonly attributes: number;
  readonly baseTimestampMs: number;
  readonly maxTimestampMs: number;
  readonly payload: Buffer;
}

/** Bytes from the base offset up to the payload. */
export const BATCH_HEADER_BYTES = 61;
/** Length of the part that the batch's own length does not count. */
const LENGTH_PREFIX_BYTES = 12;
const CRC_AT = 17;
const CRC_COVERS_FROM = 21;
const SUPPORTED_MAGIC = 2;
/** No batch holds as many; a damaged one that claims it is taken for one of a single record. */
const RECORDS_MAX = 10_000_000;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;

const NO_BYTES = Buffer.alloc(0);

function damaged(what: string): KafkaError {
  return new KafkaError('kafka_rejected', `a record batch is damaged: ${what}`, {
    retryable: false,
  });
}

/**
 * The whole batches in a part of a fetch response; one that was cut off at its end comes again with
 * the next fetch. A damaged one is the last: the reader decides whether to skip it.
 *
 * @param logStartOffset of the partition, as is `endOffset`: up to where records may be read.
 */
export function readBatches(
  bytes: Buffer,
  { logStartOffset, endOffset }: { readonly logStartOffset: number; readonly endOffset: number },
): RecordBatch[] {
  const batches: RecordBatch[] = [];
  for (let at = 0; at + BATCH_HEADER_BYTES <= bytes.length;) {
    const end = at + LENGTH_PREFIX_BYTES + bytes.readInt32BE(at + 8);
    if (end > bytes.length && at > 0) break;
    const damage = damageOf(bytes, at, end, endOffset);
    const baseOffset = Number(bytes.readBigInt64BE(at));
    const headerOffset = baseOffset + bytes.readInt32BE(at + 23);
    const attributes = bytes.readInt16BE(at + 21);
    batches.push({
      damage,
      baseOffset,
      lastOffset:
        damage === null
          ? headerOffset
          : damagedLastOffset(bytes, { baseOffset, headerOffset, end }),
      leaderEpoch: bytes.readInt32BE(at + 12),
      attributes,
      isTransactional: (attributes & TRANSACTIONAL) !== 0,
      isControl: (attributes & CONTROL) !== 0,
      crc: bytes.readUInt32BE(at + CRC_AT),
      logStartOffset,
      baseTimestampMs: Number(bytes.readBigInt64BE(at + 27)),
      maxTimestampMs: Number(bytes.readBigInt64BE(at + 35)),
      producerId: String(bytes.readBigInt64BE(at + 43)),
      count: bytes.readInt32BE(at + 57),
      payload: bytes.subarray(at + BATCH_HEADER_BYTES, Math.max(end, at + BATCH_HEADER_BYTES)),
    });
    if (damage !== null) break;
    at = end;
  }
  return batches;
}

/**
 * How far sound records may lie beyond the end that the same response names. A broker reads that end
 * apart from the records, and right after its start the end is the older of the two.
 */
const END_LAG_OFFSETS = 1_000_000;

/** The fault of the batch at `at`, or null. */
function damageOf(bytes: Buffer, at: number, end: number, endOffset: number): string | null {
  const magic = bytes.readInt8(at + 16);
  if (magic !== SUPPORTED_MAGIC) {
    return `message format ${magic} is not supported: from before Kafka 0.11, or damaged`;
  }
  if (end - at < BATCH_HEADER_BYTES) return 'the batch is shorter than its header';
  // A broker sends the first batch whole, at any length.
  if (end > bytes.length) return "the batch is longer than the broker's answer";
  if (crc32c(bytes.subarray(at + CRC_COVERS_FROM, end)) !== bytes.readUInt32BE(at + CRC_AT)) {
    return 'the checksum does not match';
  }
  // Not under the checksum.
  const baseOffset = bytes.readBigInt64BE(at);
  if (baseOffset + BigInt(bytes.readInt32BE(at + 23)) >= endOffset + END_LAG_OFFSETS) {
    return `its offset ${baseOffset} lies beyond the end of the partition`;
  }
  return null;
}

/** Last offset of a damaged batch: before the next batch, else from the length in its header, else its base offset. */
function damagedLastOffset(
  bytes: Buffer,
  { baseOffset, headerOffset, end }: { baseOffset: number; headerOffset: number; end: number },
): number {
  const isPlausible = (last: number) => last >= baseOffset && last - baseOffset < RECORDS_MAX;
  if (end > 0 && end + 8 <= bytes.length) {
    const before = Number(bytes.readBigInt64BE(end)) - 1;
    if (isPlausible(before)) return before;
  }
  return isPlausible(headerOffset) ? headerOffset : baseOffset;
}

/**
 * Decompresses a batch and stands before its first record at or after `fromOffset`.
 *
 * @param maxBytes most bytes that it may decompress to.
 * @throws KafkaError; BatchTooLargeError if it exceeds `maxBytes`.
 */
export async function openBatch(
  batch: RecordBatch,
  fromOffset: number,
  maxBytes: number,
): Promise<RecordCursor> {
  if (batch.damage !== null) throw damaged(batch.damage);
  if (batch.count === 0) return new RecordCursor(batch, NO_BYTES, fromOffset);
  const codec = CODECS[batch.attributes & 0x07];
  if (codec === undefined) throw damaged(`compression ${batch.attributes & 0x07} is unknown`);
  return new RecordCursor(batch, await decompress(codec, batch.payload, maxBytes), fromOffset);
}

/**
 * Walks over the records of a batch. Its fields speak of the present record and change with every
 * `next`; they are numbers into `bytes`, so that nothing is allocated.
 */
export class RecordCursor {
  offset = -1;
  timestampMs = 0;
  /** A length of -1 is null. */
  keyStart = 0;
  keyLength = -1;
  valueStart = 0;
  valueLength = -1;
  #headersStart = 0;
  #at = 0;
  #left: number;

  readonly #batch: RecordBatch;
  #fromOffset: number;

  constructor(
    batch: RecordBatch,
    readonly bytes: Buffer,
    /** A fetch may begin in the middle of a batch; earlier records are passed over. */
    fromOffset: number,
  ) {
    this.#batch = batch;
    this.#fromOffset = fromOffset;
    this.#left = batch.count;
  }

  /** Goes to the next record; false after the last one. @throws KafkaError if the bytes make no sense. */
  next(): boolean {
    while (this.#left > 0) {
      this.#step();
      if (this.offset >= this.#fromOffset) return true;
    }
    return false;
  }

  /** Passes over the records before this offset too. */
  skipTo(offset: number): void {
    this.#fromOffset = Math.max(this.#fromOffset, offset);
  }

  #step(): void {
    this.#left -= 1;
    const length = this.#varint();
    const end = this.#at + length;
    if (length < 0 || end > this.bytes.length) throw damaged('a record exceeds it');
    this.#at += 1; // attributes of a record: unused
    const timestampDelta = this.#varint();
    this.offset = this.#batch.baseOffset + this.#varint();
    this.timestampMs =
      (this.#batch.attributes & LOG_APPEND_TIME) === 0
        ? this.#batch.baseTimestampMs + timestampDelta
        : this.#batch.maxTimestampMs;
    this.keyLength = this.#varint();
    this.keyStart = this.#at;
    this.#at += Math.max(0, this.keyLength);
    this.valueLength = this.#varint();
    this.valueStart = this.#at;
    this.#at += Math.max(0, this.valueLength);
    this.#headersStart = this.#at;
    if (this.#at > end) throw damaged('a key or value exceeds its record');
    this.#at = end;
  }

  /** A copy of the present record, headers included. */
  record(): StoredRecord {
    const resumeAt = this.#at;
    this.#at = this.#headersStart;
    const headers: [string, Buffer | null][] = [];
    for (let count = this.#varint(); count > 0; count -= 1) {
      const name = this.#copy(this.#varint());
      headers.push([name?.toString('utf8') ?? '', this.#copy(this.#varint())]);
    }
    if (this.#at > resumeAt) throw damaged('a header exceeds its record');
    this.#at = resumeAt;
    return {
      offset: this.offset,
      timestampMs: this.timestampMs,
      key: this.#slice(this.keyStart, this.keyLength),
      value: this.#slice(this.valueStart, this.valueLength),
      headers,
    };
  }

  #copy(length: number): Buffer | null {
    const bytes = this.#slice(this.#at, length);
    this.#at += Math.max(0, length);
    return bytes;
  }

  #slice(start: number, length: number): Buffer | null {
    return length < 0 ? null : Buffer.from(this.bytes.subarray(start, start + length));
  }

  /** A zigzag number of up to 10 bytes. Beyond 2^53 it is not exact; no length or delta of sense is. */
  #varint(): number {
    const bytes = this.bytes;
    let at = this.#at;
    let byte = bytes[at++] ?? 0;
    let value = byte & 0x7f;
    // Four bytes fit into a small integer; longer ones are rare.
    for (let shift = 7; byte >= 0x80 && shift < 28; shift += 7) {
      byte = bytes[at++] ?? 0;
      value |= (byte & 0x7f) << shift;
    }
    if (byte >= 0x80) {
      let factor = 2 ** 28;
      for (let more = 0; byte >= 0x80 && more < 6; more += 1) {
        byte = bytes[at++] ?? 0;
        value += (byte & 0x7f) * factor;
        factor *= 128;
      }
      if (byte >= 0x80) throw damaged('a number has no end');
      this.#at = at;
      return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    this.#at = at;
    return (value >>> 1) ^ -(value & 1);
  }
}
