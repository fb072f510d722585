/**
 * The compressions of record batches, for reading. An estate that already produces with any of them
 * must be readable; our own producer uses gzip.
 *
 * Every output is bounded: a batch that claims to be larger is an error, and the partition stands
 * still with it in the log rather than the process running out of memory.
 */
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { Decompress } from 'fzstd';
import { decompressFrame } from 'lz4-napi';
import { uncompress } from 'snappy';
import { messageOf } from '../errors.js';
import { KafkaError } from './errors.js';

/** Most bytes that one record batch may decompress to. Brokers take 1 MiB of compressed batch by default. */
const BATCH_MAX_BYTES = 256 * 1024 ** 2;

/** By the number that stands in a batch's attributes. */
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type Codec = (typeof CODECS)[number];

const gunzip = promisify(zlib.gunzip);
/** Least and most room that is made for gzip's output at once. */
const GUNZIP_CHUNK_MIN_BYTES = 64 * 1024;
const GUNZIP_CHUNK_MAX_BYTES = 32 * 1024 ** 2;

/** Framing of snappy-java: this magic, two versions of 4 bytes, then blocks, each led by its length. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

function unreadable(codec: Codec, why: string, cause?: unknown): KafkaError {
  return new KafkaError('kafka_rejected', `a ${codec} batch cannot be read: ${why}`, {
    retryable: false,
    cause,
  });
}

function tooLarge(codec: Codec, limit: number): KafkaError {
  return unreadable(codec, `it exceeds ${limit} bytes`);
}

/** The length of a raw snappy block's output, which stands at its start as a varint. */
function snappyLength(block: Buffer): number {
  let length = 0;
  for (let i = 0; i < 5; i += 1) {
    const byte = block[i];
    if (byte === undefined) break;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return length;
  }
  throw unreadable('snappy', 'it has no length');
}

/**
 * The trailer of a gzip stream states the length of its content (RFC 1952, section 2.3.1). With room
 * for all of it zlib writes into one piece; else it makes many and copies them together. It is a
 * hint alone: a wrong one costs time.
 */
function gunzipChunkBytes(buffer: Buffer): number {
  const stated = buffer.length < 4 ? 0 : buffer.readUInt32LE(buffer.length - 4);
  // One byte more, so that zlib sees the end without asking for another piece.
  return Math.min(GUNZIP_CHUNK_MAX_BYTES, Math.max(GUNZIP_CHUNK_MIN_BYTES, stated + 1));
}

/** Snappy as Java's client frames it, or raw, as some other clients write it. */
async function snappyDecompress(buffer: Buffer, limit: number): Promise<Buffer> {
  const blocks: Buffer[] = [];
  if (buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) {
    for (let at = XERIAL_HEADER_BYTES; at + 4 <= buffer.length;) {
      const length = buffer.readUInt32BE(at);
      blocks.push(buffer.subarray(at + 4, at + 4 + length));
      at += 4 + length;
    }
  } else {
    blocks.push(buffer);
  }
  if (blocks.reduce((sum, block) => sum + snappyLength(block), 0) > limit) {
    throw tooLarge('snappy', limit);
  }
  const outputs = await Promise.all(blocks.map((block) => uncompress(block, { asBuffer: true })));
  return Buffer.concat(outputs.map((output) => Buffer.from(output)));
}

/** LZ4 frames, as every client of the present record format writes them. */
async function lz4Decompress(buffer: Buffer, limit: number): Promise<Buffer> {
  // Bounded before anything is allocated: by what the frame states, or by the format's highest ratio.
  const most = lz4ContentBytes(buffer) ?? buffer.length * 255;
  if (most > limit) throw tooLarge('lz4', limit);
  return decompressFrame(buffer);
}

/** The content size of a frame that states it, else null. LZ4 frame format 1.6: flags at byte 4, bit 3. */
function lz4ContentBytes(buffer: Buffer): number | null {
  if (buffer.length < 15 || ((buffer[4] ?? 0) & 0x08) === 0) return null;
  return Number(buffer.readBigUInt64LE(6));
}

type NativeZstd = (
  buffer: Buffer,
  options: { maxOutputLength: number },
  callback: (error: Error | null, result: Buffer) => void,
) => void;

/** Zstandard. Native where Node has it (22.15), else in JavaScript. */
async function zstdDecompress(buffer: Buffer, limit: number): Promise<Buffer> {
  const native = (zlib as { zstdDecompress?: NativeZstd }).zstdDecompress;
  if (native !== undefined) {
    return promisify(native)(buffer, { maxOutputLength: limit });
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream = new Decompress((chunk) => {
    bytes += chunk.length;
    if (bytes > limit) throw tooLarge('zstd', limit);
    chunks.push(chunk);
  });
  stream.push(buffer, true);
  return Buffer.concat(chunks, bytes);
}

/**
 * The bytes that a batch's records were compressed from.
 *
 * @throws KafkaError not retryable, where they are damaged or too large.
 */
export async function decompress(
  codec: Codec,
  buffer: Buffer,
  limit: number = BATCH_MAX_BYTES,
): Promise<Buffer> {
  try {
    switch (codec) {
      case 'none':
        return buffer;
      case 'gzip':
        return await gunzip(buffer, {
          maxOutputLength: limit,
          chunkSize: gunzipChunkBytes(buffer),
        });
      case 'snappy':
        return await snappyDecompress(buffer, limit);
      case 'lz4':
        return await lz4Decompress(buffer, limit);
      case 'zstd':
        return await zstdDecompress(buffer, limit);
    }
  } catch (cause) {
    if (cause instanceof KafkaError) throw cause;
    throw unreadable(codec, messageOf(cause), cause);
  }
}
