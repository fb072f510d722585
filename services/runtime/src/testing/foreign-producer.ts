/** Sends records that our own producer never makes, as other clients of the same topic may. */
import kafkajs from 'kafkajs';
import { compressFrameSync } from 'lz4-napi';
import { withoutContentSize } from './lz4-frame.js';

const { CompressionCodecs, CompressionTypes } = kafkajs;

CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: ({ buffer }: { buffer: Buffer }) =>
    Promise.resolve(withoutContentSize(compressFrameSync(buffer))),
  decompress: () => Promise.reject(new Error('only for writing')),
});

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  lz4: CompressionTypes.LZ4,
} as const;

export interface ForeignBatch {
  readonly topic: string;
  readonly partition: number;
  readonly values: readonly (string | Buffer)[];
  /** lz4 as Java's client writes it: its frames state no content size. Default: none. */
  readonly codec?: keyof typeof CODECS;
}

/** Sends one record batch to one partition. */
export async function sendForeignBatch(
  brokers: readonly string[],
  { topic, partition, values, codec = 'none' }: ForeignBatch,
): Promise<void> {
  const client = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
  const producer = client.producer();
  await producer.connect();
  const messages = values.map((value) => ({ partition, key: 'foreign', value }));
  await producer.send({ topic, compression: CODECS[codec], messages });
  await producer.disconnect();
}

/** Sends one record batch within a transaction and aborts it. The broker adds a control record. */
export async function abortForeignBatch(
  brokers: readonly string[],
  { topic, partition, values }: ForeignBatch,
): Promise<void> {
  const client = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
  const producer = client.producer({
    transactionalId: `${topic}-${partition}`,
    idempotent: true,
    maxInFlightRequests: 1,
  });
  await producer.connect();
  const transaction = await producer.transaction();
  const messages = values.map((value) => ({ partition, key: 'foreign', value }));
  await transaction.send({ topic, messages });
  await transaction.abort();
  await producer.disconnect();
}
