import { describe, expect, it } from 'vitest';
import type { BatchPartition, BatchSummary } from '../pipeline/pipeline.js';
import { createWatermarkKeeper } from './watermarks.js';

const NEVER = new AbortController().signal;
const NOW_MS = Date.parse('2026-03-01T12:00:00.000Z');

function batchOf(partitions: readonly BatchPartition[]): BatchSummary {
  return { partitions } as unknown as BatchSummary;
}

async function rowsOf(
  keeper: ReturnType<typeof createWatermarkKeeper>,
  partitions: readonly BatchPartition[],
) {
  const book = await keeper.plan(batchOf(partitions), NEVER);
  book.acknowledge();
  return book.blocks().flatMap(({ bytes }) =>
    Buffer.concat(bytes)
      .toString()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  );
}

describe('watermarks', () => {
  it('are the latest times of the partitions, with the offsets that come next', async () => {
    const keeper = createWatermarkKeeper({ topic: 't' }, () => NOW_MS);
    expect(
      await rowsOf(keeper, [
        { partition: 0, firstOffset: 0, nextOffset: 7, caughtUp: true, newestMs: NOW_MS - 1_000 },
        { partition: 3, firstOffset: 0, nextOffset: 9, caughtUp: false, newestMs: NOW_MS - 2_000 },
      ]),
    ).toEqual([
      ['t', 0, '2026-03-01T11:59:59.000Z', 7, 1],
      ['t', 3, '2026-03-01T11:59:58.000Z', 9, 0],
    ]);
  });

  it('never go back with a late event, nor ahead of the clock with a proxy whose clock is', async () => {
    const keeper = createWatermarkKeeper({ topic: 't' }, () => NOW_MS);
    const at = async (newestMs: number | null) =>
      (
        await rowsOf(keeper, [
          { partition: 0, firstOffset: 0, nextOffset: 1, caughtUp: true, newestMs },
        ])
      )[0];
    expect(await at(NOW_MS - 1_000)).toContain('2026-03-01T11:59:59.000Z');
    expect(await at(NOW_MS - 9_000)).toContain('2026-03-01T11:59:59.000Z');
    expect(await at(null)).toContain('2026-03-01T11:59:59.000Z');
    expect(await at(NOW_MS + 86_400_000)).toContain('2026-03-01T12:00:00.000Z');
  });

  it('are forgotten with the assignment, because another process may have continued', async () => {
    const keeper = createWatermarkKeeper({ topic: 't' }, () => NOW_MS);
    const batch: BatchPartition = {
      partition: 0,
      firstOffset: 0,
      nextOffset: 1,
      caughtUp: true,
      newestMs: NOW_MS - 5,
    };
    await rowsOf(keeper, [batch]);
    keeper.forget();
    expect((await rowsOf(keeper, [{ ...batch, newestMs: null }]))[0]).toContain(
      '1970-01-01T00:00:00.000Z',
    );
  });

  it('count only once their rows are stored', async () => {
    const keeper = createWatermarkKeeper({ topic: 't' }, () => NOW_MS);
    const batch: BatchPartition = {
      partition: 0,
      firstOffset: 0,
      nextOffset: 1,
      caughtUp: true,
      newestMs: NOW_MS - 5,
    };
    await keeper.plan(batchOf([batch]), NEVER);
    expect((await rowsOf(keeper, [{ ...batch, newestMs: null }]))[0]).toContain(
      '1970-01-01T00:00:00.000Z',
    );
  });
});
