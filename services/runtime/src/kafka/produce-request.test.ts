import { createRequire } from 'node:module';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import kafkajs from 'kafkajs';
import type { Message } from 'kafkajs';
import { describe, expect, it } from 'vitest';
import { keyPartitioner } from './partitioner.js';
import { encodeProduceRequest } from './produce-request.js';

/** kafkajs's own encoder, the oracle. */
const original = createRequire(import.meta.url)(
  'kafkajs/src/protocol/requests/produce/v7/request',
) as (args: object) => { encode(): Promise<{ buffer: Buffer }> };

const { None, GZIP } = kafkajs.CompressionTypes;

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 60 }),
  // Around the lengths at which a varint grows.
  fc.constantFrom(62, 63, 64, 65, 8_190, 8_191, 8_192, 8_193).map((n) => 'ü'.repeat(n)),
  fc.constantFrom(63, 64, 8_191, 8_192, 100_000).map((n) => 'x'.repeat(n)),
);
const content: fc.Arbitrary<string | Buffer> = fc.oneof(text, bytes);
const message = fc.record({
  key: fc.option(content),
  value: fc.option(content),
  headers: fc.dictionary(fc.string({ minLength: 1, maxLength: 20 }), content, { maxKeys: 4 }),
});
const topicData = fc.array(
  fc.record({
    topic: fc.string({ minLength: 1, maxLength: 20 }),
    partitions: fc.array(
      fc.record({
        partition: fc.nat(11),
        messages: fc.array(message, { minLength: 1, maxLength: 8 }),
      }),
      { maxLength: 3 },
    ),
  }),
  { maxLength: 2 },
);

/** kafkajs takes the time itself, so the encodings may differ in it, and then in the checksum. */
function withoutTimes(request: Buffer, topics: readonly { partitions: readonly unknown[] }[]) {
  const copy = Buffer.from(request);
  let at = 12;
  for (const { partitions } of topics) {
    at += 2 + copy.readInt16BE(at) + 4;
    for (let i = 0; i < partitions.length; i += 1) {
      const size = copy.readInt32BE(at + 4);
      copy.fill(0, at + 8 + 17, at + 8 + 21);
      copy.fill(0, at + 8 + 27, at + 8 + 43);
      at += 8 + size;
    }
  }
  expect(at).toBe(copy.length);
  return copy;
}

describe('the encoder of Produce requests', () => {
  it('writes the same bytes as kafkajs', async () => {
    await fc.assert(
      fc.asyncProperty(topicData, async (data) => {
        const args = { acks: -1, timeout: 30_000, compression: None, topicData: data };
        const theirs = (await original(args).encode()).buffer;
        expect(
          withoutTimes(encodeProduceRequest(args), data).equals(withoutTimes(theirs, data)),
        ).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('compresses what it would write without', () => {
    const messages: Message[] = Array.from({ length: 500 }, (_, i) => ({
      key: `key ${i}`,
      value: JSON.stringify({ i, text: 'x'.repeat(i) }),
      headers: { a: 'b' },
    }));
    const data = [{ topic: 't', partitions: [{ partition: 3, messages }] }];
    const args = { acks: -1, timeout: 1, topicData: data };
    const plain = encodeProduceRequest({ ...args, compression: None }, 5);
    const gzip = encodeProduceRequest({ ...args, compression: GZIP }, 5);
    const recordsAt = 12 + 2 + 1 + 4 + 8 + 61;
    expect(gunzipSync(gzip.subarray(recordsAt)).equals(plain.subarray(recordsAt))).toBe(true);
    expect(gzip.length).toBeLessThan(plain.length / 3);
  });
});

describe('the partitioner', () => {
  it('chooses as kafkajs and Java do', () => {
    const theirs = kafkajs.Partitioners.DefaultPartitioner();
    const ours = keyPartitioner();
    const key = fc.oneof(
      fc.uuid(),
      fc.string({ unit: 'binary', maxLength: 500 }),
      fc.uint8Array({ maxLength: 20 }).map((array) => Buffer.from(array)),
    );
    fc.assert(
      fc.property(key, fc.integer({ min: 1, max: 50 }), (each, count) => {
        const partitionMetadata = Array.from({ length: count }, (_, partitionId) => ({
          partitionErrorCode: 0,
          partitionId,
          leader: 1,
          replicas: [1],
          isr: [1],
        }));
        const args = { topic: 't', partitionMetadata, message: { key: each, value: null } };
        expect(ours(args)).toBe(theirs(args));
      }),
      { numRuns: 500 },
    );
  });

  it('lets records without a key take turns', () => {
    const partitionMetadata = [0, 1, 2].map((partitionId) => ({
      partitionErrorCode: 0,
      partitionId,
      leader: 1,
      replicas: [1],
      isr: [1],
    }));
    const choose = keyPartitioner();
    const args = { topic: 't', partitionMetadata, message: { value: null } };
    expect(new Set([choose(args), choose(args), choose(args)]).size).toBe(3);
  });
});
