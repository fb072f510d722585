import { createRequire } from 'node:module';
import fc from 'fast-check';
import kafkajs from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { encodeProduceRequest, packedPartitioner } from './produce-request.js';
import { PackedBatch } from './record-packer.js';

/** kafkajs's own encoder, the oracle. */
const original = createRequire(import.meta.url)(
  'kafkajs/src/protocol/requests/produce/v7/request',
) as (args: object) => { encode(): Promise<{ buffer: Buffer }> };

const topicData = fc.array(
  fc.record({
    topic: fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
    partitions: fc.array(
      fc.record({
        partition: fc.nat(11),
        messages: fc.array(fc.record({ value: fc.string() }), { minLength: 1, maxLength: 8 }),
      }),
      { maxLength: 3 },
    ),
  }),
  { maxLength: 2 },
);

/** The batches that kafkajs made, in their order. */
function batchesIn(request: Buffer, topics: readonly { partitions: readonly unknown[] }[]) {
  const batches: Buffer[] = [];
  let at = 12;
  for (const { partitions } of topics) {
    at += 2 + request.readInt16BE(at) + 4;
    for (let i = 0; i < partitions.length; i += 1) {
      const size = request.readInt32BE(at + 4);
      batches.push(request.subarray(at + 8, at + 8 + size));
      at += 8 + size;
    }
  }
  expect(at).toBe(request.length);
  return batches;
}

describe('the encoder of Produce requests', () => {
  it('puts batches at the same positions as kafkajs', async () => {
    await fc.assert(
      fc.asyncProperty(topicData, async (data) => {
        const args = { acks: -1, timeout: 30_000, topicData: data };
        const compression = kafkajs.CompressionTypes.None;
        const theirs = (await original({ ...args, compression }).encode()).buffer;
        const batches = batchesIn(theirs, data);
        const packed = data.map(({ topic, partitions }) => ({
          topic,
          partitions: partitions.map(({ partition }) => ({
            partition,
            messages: [new PackedBatch(batches.shift() ?? Buffer.alloc(0), partition, 12)],
          })),
        }));
        expect(encodeProduceRequest({ ...args, topicData: packed }).equals(theirs)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });
});

describe('the partitioner', () => {
  const metadata = (count: number) =>
    Array.from({ length: count }, (_, partitionId) => ({
      partitionErrorCode: 0,
      partitionId,
      leader: 1,
      replicas: [1],
      isr: [1],
    }));
  const batch = new PackedBatch(Buffer.alloc(0), 2, 4);

  it('leaves a batch in the partition that it was packed for', () => {
    const choose = packedPartitioner(new Map())();
    expect(choose({ topic: 't', partitionMetadata: metadata(4), message: batch })).toBe(2);
  });

  it('refuses a batch of a topic that has grown, and returns the number of partitions', () => {
    const counts = new Map<string, number>();
    const choose = packedPartitioner(counts)();
    expect(() => choose({ topic: 't', partitionMetadata: metadata(8), message: batch })).toThrow(
      '8 partitions',
    );
    expect(counts.get('t')).toBe(8);
  });

  it('refuses a batch whose partition the broker does not name: kafkajs would leave it out silently', () => {
    const choose = packedPartitioner(new Map())();
    const partitionMetadata = metadata(5).filter(({ partitionId }) => partitionId !== 2);
    expect(() => choose({ topic: 't', partitionMetadata, message: batch })).toThrow(
      'partition 2 of 4',
    );
  });
});
