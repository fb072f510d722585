import { gzipSync } from 'node:zlib';
import { compressFrameSync } from 'lz4-napi';
import { compressSync } from 'snappy';
import { describe, expect, it } from 'vitest';
import { decompress } from './codecs.js';

const TEXT = Buffer.from('{"type":"SessionStarted","user":"user-1"}'.repeat(1_000));

/** As snappy-java frames it, which Kafka's own client uses. */
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

/** `zstd` of "sockscope sockscope sockscope sockscope\n", made by ClickHouse. */
const ZSTD = Buffer.from('KLUv/QRYjAAAWHNvY2tzY29wZSAKAQC9CxIBAABF/2rV', 'base64');

describe('decompress', () => {
  it.each([
    ['gzip', gzipSync(TEXT)],
    ['snappy', compressSync(TEXT)],
    ['snappy', xerial([TEXT.subarray(0, 20_000), TEXT.subarray(20_000)])],
    ['lz4', compressFrameSync(TEXT)],
    ['none', TEXT],
  ] as const)('gives back what was compressed with %s', async (codec, compressed) => {
    expect((await decompress(codec, compressed)).equals(TEXT)).toBe(true);
  });

  it('gives back what was compressed with zstd', async () => {
    expect((await decompress('zstd', ZSTD)).toString()).toBe(
      'sockscope sockscope sockscope sockscope\n',
    );
  });

  it('gives back a gzip of several members, whose trailer states the last length alone', async () => {
    const members = Buffer.concat([gzipSync(TEXT), gzipSync(Buffer.from('x'))]);
    expect((await decompress('gzip', members)).toString()).toBe(`${TEXT.toString()}x`);
  });

  it.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'refuses damaged %s with an error that no repetition heals',
    async (codec) => {
      await expect(decompress(codec, Buffer.from('not compressed at all'))).rejects.toMatchObject({
        code: 'kafka_rejected',
        retryable: false,
      });
    },
  );

  it.each([
    ['gzip', gzipSync(Buffer.alloc(100_001))],
    ['snappy', compressSync(Buffer.alloc(100_001))],
    ['snappy', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0x00])],
    ['lz4', compressFrameSync(Buffer.alloc(100_001))],
  ] as const)('refuses a bomb of %s', async (codec, bomb) => {
    await expect(decompress(codec, bomb, 100_000)).rejects.toMatchObject({ retryable: false });
  });

  it('refuses a bomb of zstd', async () => {
    await expect(decompress('zstd', ZSTD, 10)).rejects.toMatchObject({ retryable: false });
  });
});
