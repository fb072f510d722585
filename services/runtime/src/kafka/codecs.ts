/**
 * The compressions of record batches. All of them are read, because an estate may produce with any, and
 * each can be chosen for our own records.
 *
 * The output of each is bounded before anything is allocated, from the lengths that the formats state
 * of themselves: a few bytes may claim to be gigabytes.
 */
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { Decompress } from 'fzstd';
import { compressFrameSync, decompressFrame, decompressFrameSync } from 'lz4-napi';
import { compressSync, uncompress } from 'snappy';
import { messageOf } from '../errors.js';
import { KafkaError } from './errors.js';
import {
  lz4OutputMaxBytes,
  snappyOutputBytes,
  xerialBlocks,
  zstdOutputMaxBytes,
} from './expanded.js';

/** Codecs by their number in a batch's attributes. */
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;
export type Codec = (typeof CODECS)[number];

const gunzip = promisify(zlib.gunzip);
/** Least room that is made for gzip's output at once. */
const GUNZIP_CHUNK_MIN_BYTES = 64 * 1024;

/**
 * Batches of up to this many bytes are decompressed at once. A small one takes less CPU than handing it to the
 * thread pool, and a busy machine wakes that late. Of larger ones, the pool takes work off the thread that parses.
 */
const AT_ONCE_MAX_BYTES = 32 * 1024;
/** The same of what becomes of them: a few bytes may hold very many. */
const AT_ONCE_OUTPUT_MAX_BYTES = 1024 * 1024;

function isSmall(buffer: Buffer, outputBytes: number): boolean {
  return buffer.length <= AT_ONCE_MAX_BYTES && outputBytes <= AT_ONCE_OUTPUT_MAX_BYTES;
}

function unreadable(codec: Codec, why: string, cause?: unknown): KafkaError {
  return new KafkaError('kafka_rejected', `a ${codec} batch cannot be read: ${why}`, {
    retryable: false,
    cause,
  });
}

/** A batch that decompresses to more than it may. It can be read once the limit is raised. */
export class BatchTooLargeError extends KafkaError {
  constructor(codec: Codec, limit: number) {
    super('kafka_rejected', `a ${codec} batch decompresses to more than ${limit} bytes`, {
      retryable: false,
    });
  }
}

/**
 * The trailer of a gzip stream states the length of its content (RFC 1952, section 2.3.1). With
 * room for all of it zlib writes into one piece; else it makes many and copies them together. With
 * several members it states the length of the last one only. zlib checks the output against the
 * limit too.
 */
async function gunzipped(buffer: Buffer, limit: number): Promise<Buffer> {
  const stated = buffer.length < 4 ? 0 : buffer.readUInt32LE(buffer.length - 4);
  if (stated > limit) throw new BatchTooLargeError('gzip', limit);
  // One byte more, so that zlib sees the end without asking for another piece.
  const chunkSize = Math.max(GUNZIP_CHUNK_MIN_BYTES, stated + 1);
  const options = { maxOutputLength: limit, chunkSize };
  if (isSmall(buffer, stated)) return zlib.gunzipSync(buffer, options);
  return gunzip(buffer, options);
}

/** Snappy as Java's client frames it, or raw, as some other clients write it. */
async function snappyDecompress(buffer: Buffer, limit: number): Promise<Buffer> {
  const blocks = xerialBlocks(buffer) ?? [buffer];
  const bytes = blocks.reduce((sum, block) => sum + snappyOutputBytes(block), 0);
  if (bytes > limit) throw new BatchTooLargeError('snappy', limit);
  const outputs = await Promise.all(blocks.map((block) => uncompress(block, { asBuffer: true })));
  return Buffer.concat(outputs as Buffer[]);
}

/** LZ4 frames, as every client of the present record format writes them. */
async function lz4Decompress(buffer: Buffer, limit: number): Promise<Buffer> {
  const bytes = lz4OutputMaxBytes(buffer);
  if (bytes > limit) throw new BatchTooLargeError('lz4', limit);
  return isSmall(buffer, bytes) ? decompressFrameSync(buffer) : decompressFrame(buffer);
}

/** Node's functions for Zstandard, which it has since 22.15. */
interface NativeZstd {
  readonly zstdDecompress?: (
    buffer: Buffer,
    options: { maxOutputLength: number },
    callback: (error: Error | null, result: Buffer) => void,
  ) => void;
  readonly zstdDecompressSync?: (buffer: Buffer, options: { maxOutputLength: number }) => Buffer;
  readonly zstdCompressSync?: (
    buffer: Buffer,
    options: { params: Readonly<Record<number, number>> },
  ) => Buffer;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

/** Zstandard. Native if Node has it (22.15), else in JavaScript. */
async function zstdDecompress(buffer: Buffer, limit: number): Promise<Buffer> {
  const bytes = zstdOutputMaxBytes(buffer);
  if (bytes > limit) throw new BatchTooLargeError('zstd', limit);
  const { zstdDecompress: native, zstdDecompressSync: atOnce } = zlib as NativeZstd;
  if (atOnce !== undefined && isSmall(buffer, bytes)) {
    return atOnce(buffer, { maxOutputLength: limit });
  }
  if (native !== undefined) return promisify(native)(buffer, { maxOutputLength: limit });
  const chunks: Uint8Array[] = [];
  const stream = new Decompress((chunk) => {
    chunks.push(chunk);
  });
  stream.push(buffer, true);
  return Buffer.concat(chunks);
}

/**
 * The bytes that a batch's records were compressed from.
 *
 * @param limit most bytes of the output.
 * @throws BatchTooLargeError, or KafkaError if they are damaged; neither is retryable.
 */
export async function decompress(codec: Codec, buffer: Buffer, limit: number): Promise<Buffer> {
  try {
    switch (codec) {
      case 'none':
        return buffer;
      case 'gzip':
        return await gunzipped(buffer, limit);
      case 'snappy':
        return await snappyDecompress(buffer, limit);
      case 'lz4':
        return await lz4Decompress(buffer, limit);
      case 'zstd':
        return await zstdDecompress(buffer, limit);
    }
  } catch (cause) {
    if (cause instanceof KafkaError) throw cause;
    if (isBufferTooLarge(cause)) throw new BatchTooLargeError(codec, limit);
    throw unreadable(codec, messageOf(cause), cause);
  }
}

/** The code that zlib throws if the output exceeds `maxOutputLength`. */
function isBufferTooLarge(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE';
}

export const HAS_ZSTD = (zlib as NativeZstd).zstdCompressSync !== undefined;

/**
 * Speed before size: level 1 makes events a tenth larger than level 6 in a quarter of the time. With
 * more memory, or larger pieces, a call costs more before its first byte than compressing a small
 * partition does.
 */
const GZIP = { level: 1, memLevel: 8, chunkSize: 16 * 1024 } as const;
const ZSTD_LEVEL = 1;

/**
 * Compresses the records of a batch at once, as every client reads them. Not in the thread pool, where
 * slow name lookups queue as well.
 *
 * @throws TypeError for zstd if Node has none.
 */
export function compress(codec: Codec, bytes: Buffer): Buffer {
  switch (codec) {
    case 'none':
      return bytes;
    case 'gzip':
      return zlib.gzipSync(bytes, GZIP);
    case 'lz4':
      return compressFrameSync(bytes);
    case 'snappy':
      // Raw, as librdkafka writes: not every client reads the framing of snappy-java.
      return compressSync(bytes);
    case 'zstd': {
      const { zstdCompressSync, constants } = zlib as NativeZstd;
      const level = constants.ZSTD_c_compressionLevel;
      if (zstdCompressSync === undefined || level === undefined) {
        throw new TypeError('this Node has no zstd');
      }
      return zstdCompressSync(bytes, { params: { [level]: ZSTD_LEVEL } });
    }
  }
}
