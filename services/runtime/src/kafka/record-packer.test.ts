import { createRequire } from 'node:module';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import kafkajs from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { crc32c } from './crc32c.js';
import { outgoingRecordFormat } from './producer.js';
import type { OutgoingRecord } from './producer.js';
import { packRecords, RecordWriter } from './record-packer.js';

/** kafkajs's own encoder, the oracle. */
const original = createRequire(import.meta.url)(
  'kafkajs/src/protocol/requests/produce/v7/request',
) as (args: object) => { encode(): Promise<{ buffer: Buffer }> };
const theirPartitioner = kafkajs.Partitioners.DefaultPartitioner();

const HEADER_BYTES = 61;
const BATCH_AT = 12 + 2 + 't'.length + 4 + 8;

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 60 }),
  // Around the lengths at which a varint grows.
  fc.constantFrom(62, 63, 64, 65, 8_190, 8_191, 8_192, 8_193).map((n) => 'ü'.repeat(n)),
  fc.constantFrom(63, 64, 8_191, 8_192).map((n) => 'x'.repeat(n)),
);
const large = fc.constant('x'.repeat(100_000));
// kafkajs takes long for the large ones.
const content: fc.Arbitrary<string | Buffer> = fc.oneof(
  { arbitrary: text, weight: 30 },
  { arbitrary: bytes, weight: 30 },
  { arbitrary: large, weight: 1 },
);
const record: fc.Arbitrary<OutgoingRecord> = fc.record({
  key: fc.oneof(content, fc.uuid()),
  value: fc.option(content),
  headers: fc.dictionary(fc.string({ minLength: 1, maxLength: 20 }), content, { maxKeys: 4 }),
});

function partitionMetadata(count: number) {
  return Array.from({ length: count }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 1,
    replicas: [1],
    isr: [1],
  }));
}

/** kafkajs's batch, not compressed. */
async function theirBatch(messages: readonly OutgoingRecord[]): Promise<Buffer> {
  const request = await original({
    acks: -1,
    timeout: 1,
    compression: kafkajs.CompressionTypes.None,
    topicData: [{ topic: 't', partitions: [{ partition: 0, messages }] }],
  }).encode();
  return request.buffer.subarray(BATCH_AT);
}

/** The fields that are the same with and without compression: not the length, the checksum, the codec and the time. */
function constantPart(batch: Buffer): Buffer {
  return Buffer.concat([
    batch.subarray(0, 8),
    batch.subarray(12, 17),
    batch.subarray(23, 27),
    batch.subarray(43, HEADER_BYTES),
  ]);
}

describe('packed records', () => {
  it('are in the partitions, in the order and in the bytes that kafkajs would send', async () => {
    const writer = new RecordWriter();
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 50 }),
        async (records, partitions) => {
          const packed = packRecords(records, outgoingRecordFormat, writer, {
            partitions,
            codec: 'gzip',
          });
          const metadata = partitionMetadata(partitions);
          const grouped = new Map<number, OutgoingRecord[]>();
          for (const each of records) {
            const chosen = theirPartitioner({
              topic: 't',
              partitionMetadata: metadata,
              message: each,
            });
            grouped.set(chosen, [...(grouped.get(chosen) ?? []), each]);
          }
          expect(packed.map(({ partition }) => partition)).toEqual(
            [...grouped.keys()].toSorted((a, b) => a - b),
          );
          for (const { partition, value } of packed) {
            const theirs = await theirBatch(grouped.get(partition) ?? []);
            expect(constantPart(value).equals(constantPart(theirs))).toBe(true);
            expect(
              gunzipSync(value.subarray(HEADER_BYTES)).equals(theirs.subarray(HEADER_BYTES)),
            ).toBe(true);
          }
        },
      ),
      { numRuns: 80 },
    );
  });

  it('are in a batch with the right length, checksum, codec and time', () => {
    const records = Array.from({ length: 500 }, (_, i) => ({
      key: `key ${i}`,
      value: JSON.stringify({ i, text: 'x'.repeat(i) }),
      headers: { a: 'b' },
    }));
    const [batch] = packRecords(records, outgoingRecordFormat, new RecordWriter(), {
      partitions: 1,
      codec: 'gzip',
    });
    const bytesOf = batch?.value ?? Buffer.alloc(0);
    expect(bytesOf.readInt32BE(8)).toBe(bytesOf.length - 12);
    expect(bytesOf.readUInt32BE(17)).toBe(crc32c(bytesOf.subarray(21)));
    expect(bytesOf.readInt16BE(21)).toBe(kafkajs.CompressionTypes.GZIP);
    for (const at of [27, 35]) {
      expect(Math.abs(Number(bytesOf.readBigInt64BE(at)) - Date.now())).toBeLessThan(60_000);
    }
    const plain = gunzipSync(bytesOf.subarray(HEADER_BYTES));
    expect(bytesOf.length).toBeLessThan(plain.length / 3);
  });

  it('take turns if they have no key', () => {
    const records = [1, 2, 3].map((i) => ({ key: null, value: String(i), headers: {} }));
    const packed = packRecords(records, outgoingRecordFormat, new RecordWriter(), {
      partitions: 3,
      codec: 'none',
    });
    expect(packed.map(({ partition }) => partition)).toEqual([0, 1, 2]);
  });
});
