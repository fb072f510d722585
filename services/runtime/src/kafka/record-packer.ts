/**
 * Puts records together as a Produce request carries them: one batch for each partition,
 * compressed. A sender supplies a format, which writes its records' bytes directly into the batch
 * without an object per record. See ADR 0005.
 */
import { CODECS, compress } from './codecs.js';
import type { Codec } from './codecs.js';
import { crc32c } from './crc32c.js';
import { murmur2 } from './murmur2.js';

/** The form of a producer's records. */
export interface RecordFormat<T> {
  /** `murmur2` of the key, null for a record without one. */
  keyHash(record: T): number | null;
  /** Writes the key, the value, the number of headers and the headers. */
  write(record: T, writer: RecordWriter): void;
}

/** A batch of one partition. It stands where kafkajs has a message, because that is all it passes on. */
export class PackedBatch {
  /** The whole batch, header and all. */
  readonly value: Buffer;
  readonly partition: number;
  /** How many partitions the topic had when this one was chosen. */
  readonly partitions: number;

  constructor(value: Buffer, partition: number, partitions: number) {
    this.value = value;
    this.partition = partition;
    this.partitions = partitions;
  }
}

const MAGIC = 2;
/** Bytes before the records of a batch: offset, length, epoch, magic, CRC, and the header proper. */
const BATCH_HEADER_BYTES = 61;
const LENGTH_COVERS_FROM = 12;
const CRC_AT = 17;
const CRC_COVERS_FROM = 21;

/** Varints that lengths take at most. */
const VARINT_MAX_BYTES = 5;
/** A record's length mostly takes two bytes; otherwise its body is moved. */
const LENGTH_BYTES = 2;
const UTF8_MAX_BYTES = 3;
const NAMES_MAX = 1_000;

/** Spreads records over partitions by their keys and packs each partition's in their order. */
export function packRecords<T>(
  records: readonly T[],
  format: RecordFormat<T>,
  writer: RecordWriter,
  { partitions, codec }: { readonly partitions: number; readonly codec: Codec },
): PackedBatch[] {
  const chosen = new Int32Array(records.length);
  /** The start of each partition's records in `order`, then the end of the last ones. */
  const starts = new Int32Array(partitions + 1);
  records.forEach((record, i) => {
    const hash = format.keyHash(record) ?? writer.nextTurn();
    const partition = (hash & 0x7fff_ffff) % partitions;
    chosen[i] = partition;
    starts[partition + 1] = (starts[partition + 1] ?? 0) + 1;
  });
  for (let p = 0; p < partitions; p += 1) starts[p + 1] = (starts[p + 1] ?? 0) + (starts[p] ?? 0);
  const order = new Int32Array(records.length);
  const next = starts.slice();
  chosen.forEach((partition, i) => {
    const at = next[partition] ?? 0;
    order[at] = i;
    next[partition] = at + 1;
  });
  const nowMs = Date.now();
  const packed: PackedBatch[] = [];
  for (let p = 0; p < partitions; p += 1) {
    const from = starts[p] ?? 0;
    const to = starts[p + 1] ?? 0;
    if (from === to) continue;
    writer.at = 0;
    for (let i = from; i < to; i += 1) {
      writer.record(records[order[i] as number] as T, i - from, format);
    }
    packed.push(new PackedBatch(batchOf(writer, to - from, nowMs, codec), p, partitions));
  }
  return packed;
}

/** A record batch, version 2, around the records that were written. */
function batchOf(writer: RecordWriter, count: number, nowMs: number, codec: Codec): Buffer {
  const records = compress(codec, writer.buffer.subarray(0, writer.at));
  const batch = Buffer.allocUnsafe(BATCH_HEADER_BYTES + records.length);
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - LENGTH_COVERS_FROM, 8);
  batch.writeInt32BE(0, 12);
  batch[16] = MAGIC;
  // No transaction, the producer's own time, and the compression.
  batch.writeInt16BE(CODECS.indexOf(codec), CRC_COVERS_FROM);
  batch.writeInt32BE(count - 1, 23);
  batch.writeBigInt64BE(BigInt(nowMs), 27);
  batch.writeBigInt64BE(BigInt(nowMs), 35);
  // No producer id, so no epoch and no sequence.
  batch.writeBigInt64BE(-1n, 43);
  batch.writeInt16BE(0, 51);
  batch.writeInt32BE(0, 53);
  batch.writeInt32BE(count, 57);
  records.copy(batch, BATCH_HEADER_BYTES);
  batch.writeUInt32BE(crc32c(batch.subarray(CRC_COVERS_FROM)), CRC_AT);
  return batch;
}

/** The buffer of a batch; it is reused and grows to the largest partition. */
export class RecordWriter {
  buffer = Buffer.allocUnsafeSlow(256 * 1024);
  /** The position of the next byte. */
  at = 0;
  #turn = 0;
  /** Names of headers come again and again: their bytes with their length before them. */
  readonly #names = new Map<string, Buffer>();

  /** Ensures room for this many bytes behind `at`. */
  room(bytes: number): void {
    const needed = this.at + bytes;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }

  /** Spreads records without a key: each goes to the next partition. */
  nextTurn(): number {
    this.#turn = (this.#turn + 1) & 0x7fff_ffff;
    return this.#turn;
  }

  record<T>(record: T, index: number, format: RecordFormat<T>): void {
    const bodyAt = this.begin();
    // No attributes, and the time of the batch.
    this.buffer[bodyAt] = 0;
    this.buffer[bodyAt + 1] = 0;
    this.at = bodyAt + 2;
    this.varint(index);
    format.write(record, this);
    this.finish(bodyAt);
  }

  /** Begins bytes that have their length before them. Returns their offset, for `finish`. */
  begin(): number {
    this.room(LENGTH_BYTES + 2);
    this.at += LENGTH_BYTES;
    return this.at;
  }

  /** Writes the length of the bytes from an offset on before them. */
  finish(bodyAt: number): void {
    const start = bodyAt - LENGTH_BYTES;
    const length = this.at - bodyAt;
    const lengthBytes = varintBytes(length);
    if (lengthBytes !== LENGTH_BYTES) {
      this.room(VARINT_MAX_BYTES);
      this.buffer.copyWithin(start + lengthBytes, bodyAt, this.at);
    }
    this.at = writeVarint(this.buffer, start, length) + length;
  }

  /** A number from 0 to 2^30, zigzag and in groups of seven bits, as Kafka writes lengths. */
  varint(value: number): void {
    this.room(VARINT_MAX_BYTES);
    this.at = writeVarint(this.buffer, this.at, value);
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** The length as a varint and the bytes; -1 for null. */
  value(value: string | Buffer | null): void {
    if (value === null) {
      this.room(1);
      this.buffer[this.at] = 1;
      this.at += 1;
      return;
    }
    if (typeof value !== 'string') {
      this.varint(value.length);
      this.bytes(value);
      return;
    }
    this.room(VARINT_MAX_BYTES + value.length * UTF8_MAX_BYTES);
    // Short texts are nearly always ASCII: as many bytes as characters.
    const guess = varintBytes(value.length);
    const bytes = this.buffer.write(value, this.at + guess);
    const actual = varintBytes(bytes);
    if (actual !== guess) {
      this.buffer.copyWithin(this.at + actual, this.at + guess, this.at + guess + bytes);
    }
    this.at = writeVarint(this.buffer, this.at, bytes) + bytes;
  }

  headers(headers: Readonly<Record<string, string | Buffer>>): void {
    const names = Object.keys(headers);
    this.varint(names.length);
    for (const name of names) {
      this.bytes(this.#nameBytes(name));
      this.value(headers[name] ?? null);
    }
  }

  #nameBytes(name: string): Buffer {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const bytes = withLength(name);
    if (this.#names.size >= NAMES_MAX) this.#names.clear();
    this.#names.set(name, bytes);
    return bytes;
  }
}

/** A text as UTF-8 with its length before it. */
export function withLength(text: string): Buffer {
  const content = Buffer.from(text);
  const bytes = Buffer.allocUnsafeSlow(varintBytes(content.length) + content.length);
  content.copy(bytes, writeVarint(bytes, 0, content.length));
  return bytes;
}

/** The hash of a key by which Java's clients and kafkajs choose a partition. */
export function keyHashOf(key: string | Buffer | null): number | null {
  if (key === null) return null;
  return murmur2(typeof key === 'string' ? Buffer.from(key) : key);
}

/** Does the same as `RecordWriter.varint` in any buffer that has room. Returns the offset behind it. */
export function writeVarint(buffer: Buffer, offset: number, value: number): number {
  let rest = value << 1;
  let at = offset;
  while (rest > 0x7f) {
    buffer[at] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
    at += 1;
  }
  buffer[at] = rest;
  return at + 1;
}

function varintBytes(value: number): number {
  if (value < 0x40) return 1;
  if (value < 0x2000) return 2;
  if (value < 0x10_0000) return 3;
  if (value < 0x800_0000) return 4;
  return VARINT_MAX_BYTES;
}
