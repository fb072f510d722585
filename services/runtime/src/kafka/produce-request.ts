/**
 * Encodes what a producer sends, in place of kafkajs's own encoder, which makes some twenty buffers
 * per record (one per header, at least 512 bytes each) and compresses in the thread pool, where slow
 * name lookups queue too. This one writes all records of a partition into one buffer, and costs about
 * a tenth; see ADR 0006.
 *
 * kafkajs 2.2.4 has no setting for that: the encoder of the Produce request, version 7, is replaced.
 * The version is pinned; what is relied on is held by tests. What it does not know (transactions,
 * idempotence, timestamps of one's own, lists as headers, other codecs) goes to kafkajs's encoder.
 */
import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import kafkajs from 'kafkajs';
import type { Message } from 'kafkajs';
import { crc32c } from './crc32c.js';

interface PartitionData {
  readonly partition: number;
  readonly messages: readonly Message[];
}

interface ProduceArguments {
  readonly acks: number;
  readonly timeout: number;
  readonly transactionalId?: string | null | undefined;
  readonly producerId?: { readonly low: number; readonly high: number } | undefined;
  readonly compression?: number | undefined;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly PartitionData[];
  }[];
}

interface Encoder {
  buf: Buffer;
  offset: number;
}

interface ProduceRequest {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
  expectResponse(): boolean;
  encode(): Promise<Encoder>;
}

type BuildRequest = (args: ProduceArguments) => ProduceRequest;

const PRODUCE_API_KEY = 0;
const PRODUCE_VERSION = 7;
const MAGIC = 2;
/** No transaction, no compression, the producer's own time. */
const CODEC_GZIP = 1;
/** Speed before size: level 1 makes events a tenth larger than level 6 in a quarter of the time. */
const GZIP = { level: 1, memLevel: 9, chunkSize: 64 * 1024 } as const;

/** Bytes before the records of a batch: offset, length, epoch, magic, CRC, and the header proper. */
const BATCH_HEADER_BYTES = 61;
const LENGTH_COVERS_FROM = 12;
const CRC_AT = 17;
const CRC_COVERS_FROM = 21;

let installed = false;

/** Replaces the encoder, once. */
export function installProduceEncoder(): void {
  if (installed) return;
  installed = true;
  const require = createRequire(import.meta.url);
  const path = require.resolve('kafkajs/src/protocol/requests/produce/v7/request');
  const original = require(path) as BuildRequest;
  const EncoderClass = require('kafkajs/src/protocol/encoder') as new (size: number) => Encoder;
  const cached = require.cache[path];
  // kafkajs asks for this module anew with every request, so it finds what stands here.
  if (cached !== undefined) {
    cached.exports = (args: ProduceArguments): ProduceRequest => {
      if (!isPlain(args)) return original(args);
      return {
        apiKey: PRODUCE_API_KEY,
        apiVersion: PRODUCE_VERSION,
        apiName: 'Produce',
        expectResponse: () => args.acks !== 0,
        // A function of kafkajs stands here in others' hands: async, as it expects.
        encode: async () => {
          const encoder = new EncoderClass(1);
          encoder.buf = encodeProduceRequest(args);
          encoder.offset = encoder.buf.length;
          return encoder;
        },
      };
    };
  }
}

/** Whether this encoder knows everything in it. */
function isPlain(args: ProduceArguments): boolean {
  const { None, GZIP: gzip } = kafkajs.CompressionTypes;
  const compression: number = args.compression ?? None;
  if (compression !== (None as number) && compression !== (gzip as number)) return false;
  if (args.transactionalId !== undefined && args.transactionalId !== null) return false;
  if (args.producerId !== undefined && args.producerId.high >= 0) return false;
  return args.topicData.every(({ partitions }) =>
    partitions.every(({ messages }) =>
      messages.every((message) => message.timestamp === undefined && hasPlainHeaders(message)),
    ),
  );
}

/** In a loop, because this is asked for every record. */
function hasPlainHeaders({ headers }: Message): boolean {
  for (const name in headers) {
    const value = headers[name];
    if (typeof value !== 'string' && !Buffer.isBuffer(value)) return false;
  }
  return true;
}

/** The body of the request: `transactional_id acks timeout [topic [partition record_set]]`. */
export function encodeProduceRequest(args: ProduceArguments, nowMs: number = Date.now()): Buffer {
  const parts: Buffer[] = [];
  const head = Buffer.allocUnsafe(12);
  head.writeInt16BE(-1, 0);
  head.writeInt16BE(args.acks, 2);
  head.writeInt32BE(args.timeout, 4);
  head.writeInt32BE(args.topicData.length, 8);
  parts.push(head);
  const compresses = args.compression === (kafkajs.CompressionTypes.GZIP as number);
  for (const { topic, partitions } of args.topicData) {
    const topicBytes = Buffer.byteLength(topic);
    const topicHead = Buffer.allocUnsafe(2 + topicBytes + 4);
    topicHead.writeInt16BE(topicBytes, 0);
    topicHead.write(topic, 2);
    topicHead.writeInt32BE(partitions.length, 2 + topicBytes);
    parts.push(topicHead);
    for (const { partition, messages } of partitions) {
      const records = encodeRecords(messages);
      const body = compresses ? gzipSync(records, GZIP) : records;
      const batch = batchOf(body, messages.length, compresses, nowMs);
      const partitionHead = Buffer.allocUnsafe(8);
      partitionHead.writeInt32BE(partition, 0);
      partitionHead.writeInt32BE(batch.length, 4);
      parts.push(partitionHead, batch);
    }
  }
  return Buffer.concat(parts);
}

/** A record batch, version 2, around its records. */
function batchOf(records: Buffer, count: number, isGzip: boolean, nowMs: number): Buffer {
  const batch = Buffer.allocUnsafe(BATCH_HEADER_BYTES + records.length);
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - LENGTH_COVERS_FROM, 8);
  batch.writeInt32BE(0, 12);
  batch[16] = MAGIC;
  batch.writeInt16BE(isGzip ? CODEC_GZIP : 0, CRC_COVERS_FROM);
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

/** Where records are put together; grows to the largest partition of a batch. */
let scratch = Buffer.allocUnsafeSlow(256 * 1024);

function ensure(bytes: number): void {
  if (bytes <= scratch.length) return;
  const larger = Buffer.allocUnsafeSlow(Math.max(bytes, scratch.length * 2));
  scratch.copy(larger);
  scratch = larger;
}

/** Varints that lengths take at most. */
const VARINT_MAX_BYTES = 5;
/** A record's length mostly takes two bytes; its body is moved where it does not. */
const LENGTH_BYTES = 2;
const UTF8_MAX_BYTES = 3;

/** The records as they stand in a batch. Valid until the next call. */
function encodeRecords(messages: readonly Message[]): Buffer {
  let at = 0;
  messages.forEach((message, index) => {
    const bodyAt = at + LENGTH_BYTES;
    ensure(bodyAt + 16);
    let end = bodyAt;
    scratch[end] = 0;
    scratch[end + 1] = 0;
    end = writeVarint(end + 2, index);
    end = writeValue(end, message.key ?? null);
    end = writeValue(end, message.value);
    const headers = message.headers ?? {};
    const headerNames = Object.keys(headers);
    ensure(end + VARINT_MAX_BYTES);
    end = writeVarint(end, headerNames.length);
    for (const name of headerNames) {
      end = writeBytes(end, nameBytes(name));
      const value = headers[name];
      end = writeValue(end, typeof value === 'string' || Buffer.isBuffer(value) ? value : null);
    }
    const length = end - bodyAt;
    const lengthBytes = varintBytes(length);
    if (lengthBytes !== LENGTH_BYTES) {
      ensure(end + VARINT_MAX_BYTES);
      scratch.copyWithin(at + lengthBytes, bodyAt, end);
    }
    writeVarint(at, length);
    at += lengthBytes + length;
  });
  return scratch.subarray(0, at);
}

/** Names of headers come again and again: their bytes with their length before them. */
const names = new Map<string, Buffer>();
const NAMES_MAX = 1_000;

function nameBytes(name: string): Buffer {
  const known = names.get(name);
  if (known !== undefined) return known;
  const text = Buffer.from(name);
  const bytes = Buffer.allocUnsafe(varintBytes(text.length) + text.length);
  writeVarintTo(bytes, 0, text.length);
  text.copy(bytes, bytes.length - text.length);
  if (names.size >= NAMES_MAX) names.clear();
  names.set(name, bytes);
  return bytes;
}

function writeBytes(offset: number, bytes: Buffer): number {
  ensure(offset + bytes.length);
  scratch.set(bytes, offset);
  return offset + bytes.length;
}

/** A length as a varint and the bytes; -1 for null. */
function writeValue(offset: number, value: string | Buffer | null): number {
  if (value === null) {
    ensure(offset + 1);
    scratch[offset] = 1;
    return offset + 1;
  }
  if (typeof value !== 'string') {
    ensure(offset + VARINT_MAX_BYTES);
    return writeBytes(writeVarint(offset, value.length), value);
  }
  ensure(offset + VARINT_MAX_BYTES + value.length * UTF8_MAX_BYTES);
  // Short texts are ASCII but for strange names: as many bytes as characters.
  const guess = varintBytes(value.length);
  const bytes = scratch.write(value, offset + guess);
  const actual = varintBytes(bytes);
  if (actual !== guess) {
    scratch.copyWithin(offset + actual, offset + guess, offset + guess + bytes);
  }
  return writeVarint(offset, bytes) + bytes;
}

/** A number from 0 to 2^30, zigzag and in groups of seven bits, as Kafka writes lengths. */
function writeVarint(offset: number, value: number): number {
  return writeVarintTo(scratch, offset, value);
}

function writeVarintTo(buffer: Buffer, offset: number, value: number): number {
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
