import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { compressFrameSync } from 'lz4-napi';
import { compressSync } from 'snappy';
import { describe, expect, it } from 'vitest';
import { withoutContentSize } from '../testing/lz4-frame.js';
import { BatchTooLargeError, decompress, HAS_ZSTD } from './codecs.js';
import { kafkaConfig } from './config.js';

const LIMIT = 64 * 1024 ** 2;

const TEXT = Buffer.from('{"type":"SessionStarted","user":"user-1"}'.repeat(1_000));

/** Frames blocks as snappy-java does, which Kafka's own client uses. */
function xerial(blocks: readonly Buffer[]): Buffer {
  const header = Buffer.from('82534e41505059000000000100000001', 'hex');
  const framed = blocks.flatMap((block) => {
    const compressed = compressSync(block);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(compressed.length);
    return [length, compressed];
  });
  return Buffer.concat([header, ...framed]);
}

function withContentSize(frame: Buffer, size: bigint): Buffer {
  const bare = withoutContentSize(frame);
  const head = Buffer.alloc(14);
  bare.copy(head, 0, 0, 6);
  head[4] = (head[4] ?? 0) | 0x08;
  head.writeBigUInt64LE(size, 6);
  return Buffer.concat([head, bare.subarray(6)]);
}

/** One byte, repeated `times` times: a frame with a window of 1 KiB and one block that repeats it. */
function zstdOfRepeated(times: number): Buffer {
  const block = Buffer.alloc(4);
  block.writeUIntLE((times << 3) | (1 << 1) | 1, 0, 3);
  return Buffer.concat([Buffer.from('28b52ffd0000', 'hex'), block]);
}

/** `zstd` of "sockscope sockscope sockscope sockscope\n", made by ClickHouse. */
const ZSTD = Buffer.from('KLUv/QRYjAAAWHNvY2tzY29wZSAKAQC9CxIBAABF/2rV', 'base64');

describe('decompress', () => {
  it.each([
    ['gzip', gzipSync(TEXT)],
    ['snappy', compressSync(TEXT)],
    ['snappy', xerial([TEXT.subarray(0, 20_000), TEXT.subarray(20_000)])],
    ['lz4', compressFrameSync(TEXT)],
    ['none', TEXT],
  ] as const)('restores data that was compressed with %s', async (codec, compressed) => {
    expect((await decompress(codec, compressed, LIMIT)).equals(TEXT)).toBe(true);
  });

  it('restores data that was compressed with zstd', async () => {
    expect((await decompress('zstd', ZSTD, LIMIT)).toString()).toBe(
      'sockscope sockscope sockscope sockscope\n',
    );
  });

  it.skipIf(HAS_ZSTD)('zstd is refused in words by a Node that cannot produce it', () => {
    const { error } = kafkaConfig.safeParse({ compression: 'zstd' });
    expect(error?.issues).toMatchObject([
      { path: ['compression'], message: 'zstd needs Node 22.15 or later; use auto or lz4' },
    ]);
  });

  it('restores a gzip of several members, whose trailer has the length of the last one only', async () => {
    const members = Buffer.concat([gzipSync(TEXT), gzipSync(Buffer.from('x'))]);
    expect((await decompress('gzip', members, LIMIT)).toString()).toBe(`${TEXT.toString()}x`);
  });

  it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'refuses damaged %s with an error that no repetition heals',
    async (codec) => {
      await expect(
        decompress(codec, Buffer.from('not compressed at all'), LIMIT),
      ).rejects.toMatchObject({
        code: 'kafka_rejected',
        retryable: false,
      });
    },
  );

  it('reads an lz4 frame without a content size, however large it is when compressed', async () => {
    // Java's client states none. Random bytes stay as large as they are, beyond the limit by 255.
    const text = randomBytes(1_200_000);
    const frame = withoutContentSize(compressFrameSync(text));
    expect(frame.length).toBeGreaterThan(1_052_688);
    expect((await decompress('lz4', frame, 2 * 1024 ** 2)).equals(text)).toBe(true);
  });

  it.each([
    ['gzip', gzipSync(Buffer.alloc(100_001))],
    ['gzip', Buffer.concat([gzipSync(Buffer.alloc(100_001)), gzipSync(Buffer.from('x'))])],
    ['snappy', compressSync(Buffer.alloc(100_001))],
    ['snappy', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0x00])],
    ['lz4', compressFrameSync(Buffer.alloc(200_001))],
    ['lz4', withoutContentSize(compressFrameSync(Buffer.alloc(200_001)))],
    ['zstd', zstdOfRepeated(100_001)],
    // A window of 2 GiB, which a decoder would make room for.
    ['zstd', Buffer.from('28b52ffd00a8010000', 'hex')],
  ] as const)('refuses a bomb of %s before it makes room for it', async (codec, bomb) => {
    await expect(decompress(codec, bomb, 100_000)).rejects.toThrow(BatchTooLargeError);
  });

  it.each([
    ['lz4', withContentSize(compressFrameSync(TEXT), 2n ** 40n)],
    ['zstd', Buffer.from('28b52ffde0ffffffffffffff00010000', 'hex')],
  ] as const)('does not believe the size that %s states', async (codec, liar) => {
    await expect(decompress(codec, liar, LIMIT)).rejects.toThrow(/cannot be read/);
  });
});
