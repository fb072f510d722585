/**
 * How many bytes compressed data can become at most, from its own format: only headers
 * and lengths are read, nothing is decompressed.
 *
 * @throws RangeError if the bytes have another format, or end too early.
 */

/** Framing of snappy-java: this magic, two versions of 4 bytes, then blocks, each led by its length. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

/** The blocks of snappy in snappy-java's framing; null if it has another framing. */
export function xerialBlocks(buffer: Buffer): Buffer[] | null {
  if (!buffer.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return null;
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at + 4 <= buffer.length;) {
    const length = buffer.readUInt32BE(at);
    blocks.push(buffer.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return blocks;
}

/** The length of a raw snappy block's output, which stands at its start as a varint. */
export function snappyOutputBytes(block: Buffer): number {
  let length = 0;
  for (let i = 0; i < 5; i += 1) {
    const byte = block.readUInt8(i);
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return length;
  }
  throw new RangeError('it has no length');
}

const LZ4_MAGIC = 0x184d2204;
/** The most bytes of output that one compressed byte can stand for, in LZ4. */
const LZ4_RATIO_MAX = 255;

/** LZ4 frame format 1.6: a block's output is at most the frame's block size. */
export function lz4OutputMaxBytes(buffer: Buffer): number {
  if (buffer.readUInt32LE(0) !== LZ4_MAGIC) throw new RangeError('it is not an LZ4 frame');
  const flags = buffer.readUInt8(4);
  const blockChecksumBytes = (flags & 0x10) === 0 ? 0 : 4;
  const hasContentSize = (flags & 0x08) !== 0;
  const blockMaxBytes = 2 ** (8 + 2 * ((buffer.readUInt8(5) >> 4) & 0x07));
  let at = 6 + (hasContentSize ? 8 : 0) + ((flags & 0x01) === 0 ? 0 : 4) + 1;
  let most = 0;
  for (;;) {
    const word = buffer.readUInt32LE(at);
    if (word === 0) break;
    const bytes = word & 0x7fff_ffff;
    const isStored = word >>> 31 === 1;
    most += isStored ? bytes : Math.min(blockMaxBytes, bytes * LZ4_RATIO_MAX);
    at += 4 + bytes + blockChecksumBytes;
  }
  // A decoder makes room for the size that is stated, so a false one is refused here.
  if (hasContentSize && buffer.readBigUInt64LE(6) > most) {
    throw new RangeError('its blocks are smaller than its stated size');
  }
  return most;
}

const ZSTD_MAGIC = 0xfd2fb528;
/** The last four bits of a skippable frame's magic number are free. */
const ZSTD_SKIPPABLE_MAGIC = 0x184d2a50;
const ZSTD_BLOCK_MAX_BYTES = 128 * 1024;
const ZSTD_DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const ZSTD_CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
const ZSTD_RAW = 0;
const ZSTD_RLE = 1;

/** RFC 8878, section 3.1. The window counts too: a decoder makes room for it. */
export function zstdOutputMaxBytes(buffer: Buffer): number {
  let most = 0;
  for (let at = 0; at < buffer.length;) {
    const magic = buffer.readUInt32LE(at);
    if ((magic & 0xffff_fff0) >>> 0 === ZSTD_SKIPPABLE_MAGIC) {
      at += 8 + buffer.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== ZSTD_MAGIC) throw new RangeError('it is not a Zstandard frame');
    const frame = zstdFrame(buffer, at + 4);
    most += Math.max(frame.outputMaxBytes, frame.windowBytes);
    at = frame.end;
  }
  return most;
}

/** @param start of the frame's header, behind the magic number. */
function zstdFrame(buffer: Buffer, start: number) {
  const descriptor = buffer.readUInt8(start);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const contentFlag = descriptor >> 6;
  let at = start + 1;
  let windowBytes = 0;
  if (!isSingleSegment) {
    const window = buffer.readUInt8(at);
    windowBytes = 2 ** (10 + (window >> 3)) * (1 + (window & 0x07) / 8);
    at += 1;
  }
  at += ZSTD_DICTIONARY_ID_BYTES[(descriptor & 0x03) as 0];
  const sizeBytes =
    contentFlag === 0 && isSingleSegment ? 1 : ZSTD_CONTENT_SIZE_BYTES[contentFlag as 0];
  const statedBytes = sizeBytes === 0 ? null : zstdContentBytes(buffer, at, sizeBytes);
  at += sizeBytes;
  // A whole frame that is smaller than its window needs no more room than its content.
  if (statedBytes !== null) windowBytes = Math.min(windowBytes, statedBytes);
  let outputMaxBytes = 0;
  for (let isLast = false; !isLast;) {
    const header = buffer.readUIntLE(at, 3);
    isLast = (header & 1) === 1;
    const type = (header >> 1) & 3;
    const bytes = header >> 3;
    outputMaxBytes += type === ZSTD_RAW || type === ZSTD_RLE ? bytes : ZSTD_BLOCK_MAX_BYTES;
    at += 3 + (type === ZSTD_RLE ? 1 : bytes);
  }
  if (statedBytes !== null && statedBytes > outputMaxBytes) {
    throw new RangeError('its blocks are smaller than its stated size');
  }
  return {
    outputMaxBytes: statedBytes ?? outputMaxBytes,
    windowBytes,
    end: at + ((descriptor & 0x04) === 0 ? 0 : 4),
  };
}

function zstdContentBytes(buffer: Buffer, at: number, bytes: number): number {
  if (bytes === 8) return Number(buffer.readBigUInt64LE(at));
  return buffer.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}
