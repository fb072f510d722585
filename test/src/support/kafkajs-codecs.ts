/** Lets kafkajs read our records: by itself it knows only gzip. */
import { decompress } from '@sockscope/runtime/kafka';
import kafkajs from 'kafkajs';

const BATCH_MAX_BYTES = 64 * 1024 ** 2;
const { CompressionCodecs, CompressionTypes } = kafkajs;

const reading = (codec: 'snappy' | 'lz4' | 'zstd') => () => ({
  compress: () => Promise.reject(new Error('only for reading')),
  decompress: (bytes: Buffer) => decompress(codec, bytes, BATCH_MAX_BYTES),
});
CompressionCodecs[CompressionTypes.Snappy] = reading('snappy');
CompressionCodecs[CompressionTypes.LZ4] = reading('lz4');
CompressionCodecs[CompressionTypes.ZSTD] = reading('zstd');
