import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openBatch, readBatches } from './record-batch.js';
import type { RecordBatch, StoredRecord } from './record-batch.js';

/** kafkajs's own encoder, which brokers and other clients read. */
const require = createRequire(import.meta.url);
const { RecordBatch: encodeBatch } = require('kafkajs/src/protocol/recordBatch/v0') as {
  RecordBatch: (batch: object) => Promise<{ buffer: Buffer }>;
};
const encodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0') as (
  record: object,
) => unknown;

interface Sent {
  readonly offsetDelta: number;
  readonly timestampDelta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer>>;
}

const RANGE = { logStartOffset: 0, endOffset: 1_000 };
const BASE_TIMESTAMP_MS = 1_790_000_000_000;

async function encode(
  records: readonly Sent[],
  options: { firstOffset?: string; compression?: number; transactional?: boolean } = {},
): Promise<Buffer> {
  const { buffer } = await encodeBatch({
    compression: options.compression ?? 0,
    firstOffset: options.firstOffset ?? '0',
    firstTimestamp: String(BASE_TIMESTAMP_MS),
    maxTimestamp: String(BASE_TIMESTAMP_MS + 1_000),
    lastOffsetDelta: records.at(-1)?.offsetDelta ?? 0,
    producerId: '77',
    transactional: options.transactional ?? false,
    records: records.map(encodeRecord),
  });
  return buffer;
}

async function read(batch: RecordBatch | undefined, from = 0): Promise<StoredRecord[]> {
  if (batch === undefined) throw new Error('no batch');
  const cursor = await openBatch(batch, from, 2 ** 28);
  const records: StoredRecord[] = [];
  while (cursor.next()) records.push(cursor.record());
  return records;
}

function one(value: string | null, offsetDelta = 0): Sent {
  return {
    offsetDelta,
    timestampDelta: 0,
    key: null,
    value: value === null ? null : Buffer.from(value),
    headers: {},
  };
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const sent = fc.record({
  timestampDelta: fc.integer({ min: -5_000_000, max: 5_000_000 }),
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.dictionary(fc.stringMatching(/^[a-z]{1,10}$/), bytes, {
    maxKeys: 4,
    noNullPrototype: true,
  }),
});

describe('record batches', () => {
  it('are read as they were written, with any content', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(sent, { minLength: 1, maxLength: 50 }),
        fc.constantFrom(0, 1),
        fc.integer({ min: 0, max: 2 ** 45 }),
        async (contents, compression, base) => {
          const records = contents.map((record, offsetDelta) => ({ ...record, offsetDelta }));
          const encoded = await encode(records, { compression, firstOffset: String(base) });
          const batches = readBatches(encoded, { logStartOffset: 5, endOffset: 2 ** 50 });
          expect(batches).toHaveLength(1);
          expect(batches[0]).toMatchObject({
            baseOffset: base,
            lastOffset: base + records.length - 1,
            count: records.length,
            logStartOffset: 5,
            producerId: '77',
          });
          expect(await read(batches[0])).toEqual(
            records.map((record) => ({
              offset: base + record.offsetDelta,
              timestampMs: BASE_TIMESTAMP_MS + record.timestampDelta,
              key: record.key,
              value: record.value,
              headers: Object.entries(record.headers),
            })),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('are passed over up to the offset that is asked for', async () => {
    const records = [0, 1, 2, 3].map((i) => one(`v${i}`, i));
    const [batch] = readBatches(await encode(records, { firstOffset: '100' }), RANGE);
    expect((await read(batch, 102)).map(({ offset }) => offset)).toEqual([102, 103]);
  });

  it('are several in one response, and one that was cut off is left for the next', async () => {
    const first = await encode([one('a'), one('b', 1)]);
    const second = await encode([one('c')], { firstOffset: '2' });
    const response = Buffer.concat([first, second, first.subarray(0, first.length - 1)]);
    expect(readBatches(response, RANGE).map(({ baseOffset }) => baseOffset)).toEqual([0, 2]);
    expect(readBatches(response.subarray(0, first.length + 30), RANGE)).toHaveLength(1);
  });

  it('are damaged if a bit has flipped, and end before the batch behind them', async () => {
    const encoded = await encode([one('a value of some length'), one('b', 1)]);
    const next = await encode([one('c')], { firstOffset: '2' });
    for (let at = 21; at < encoded.length; at += 1) {
      const flipped = Buffer.concat([encoded, next]);
      flipped[at] = (flipped[at] ?? 0) ^ 0x10;
      const batches = readBatches(flipped, RANGE);
      expect(batches).toHaveLength(1);
      expect(batches[0]).toMatchObject({ damage: 'the checksum does not match', lastOffset: 1 });
      await expect(read(batches[0])).rejects.toThrow(/checksum/);
    }
  });

  it('are damaged if their length or their offset makes no sense', async () => {
    const encoded = await encode([one('a value of some length')], { firstOffset: '7' });
    const damageWith = (change: (b: Buffer) => void) => {
      const bad = Buffer.from(encoded);
      change(bad);
      return readBatches(bad, RANGE)[0]?.damage;
    };
    expect(damageWith((b) => b.writeInt32BE(1_000_000, 8))).toMatch(/longer than/);
    expect(damageWith((b) => b.writeInt32BE(-5, 8))).toMatch(/shorter than/);
    expect(damageWith((b) => b.writeBigInt64BE(2n ** 60n, 0))).toMatch(/beyond the end/);
    expect(damageWith((b) => b.writeInt8(1, 16))).toMatch(/format 1 is not supported/);
  });

  it('are sound a little beyond the end that the broker names, which it reads apart from them', async () => {
    const encoded = await encode([one('abc')], { firstOffset: '532' });
    const [batch] = readBatches(encoded, { logStartOffset: 0, endOffset: 532 });
    expect(batch).toMatchObject({ damage: null, baseOffset: 532 });
  });

  it('never read beyond themselves if their lengths lie', async () => {
    const encoded = await encode([one('abc'), one('def', 1)]);
    const [batch] = readBatches(encoded, RANGE);
    if (batch === undefined) throw new Error('no batch');
    for (let at = 0; at < batch.payload.length; at += 1) {
      for (const byte of [0x00, 0x01, 0x7f, 0xfe, 0xff]) {
        const payload = Buffer.from(batch.payload);
        payload[at] = byte;
        const records = await read({ ...batch, payload }).catch((error: unknown) => error as Error);
        if (records instanceof Error) {
          expect(records.message).toMatch(/damaged/);
        } else {
          for (const { value } of records) {
            expect(value?.length ?? 0).toBeLessThanOrEqual(payload.length);
          }
        }
      }
    }
  });
});
