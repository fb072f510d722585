/** The tables are a function of the set of events: of neither their order, nor their number, nor their batches. */
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import type { Random } from '@sockscope/schemas/testing';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import '@sockscope/runtime/testing';
import { createTestTables, storeBatch } from '../testing/fold-into-tables.js';
import { expectTablesEqualFold } from '../testing/table-state.js';

let tables: Awaited<ReturnType<typeof createTestTables>>;

beforeEach(async () => {
  tables = await createTestTables(inject('clickhouseUrl'));
});

afterEach(async () => {
  await tables.drop();
});

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

/** Cuts into batches of 1 to `max`. */
function batched<T>(items: readonly T[], max: number, random: Random): T[][] {
  const batches: T[][] = [];
  for (let at = 0; at < items.length;) {
    const size = 1 + Math.floor(random() * max);
    batches.push(items.slice(at, at + size));
    at += size;
  }
  return batches;
}

function logOf(random: Random): SessionEvent[] {
  const startMs = Date.UTC(2026, 4, 31, 23, 58);
  return Array.from({ length: 40 }, () =>
    sessionLog({
      random,
      startMs: startMs + Math.floor(random() * 240_000),
      intervals: Math.floor(random() * 40),
    }),
  ).flat();
}

describe('the tables', () => {
  it.each([1, 2, 3, 4])(
    'hold the fold of the events, however they were shuffled, repeated, cut off and batched (seed %i)',
    async (seed) => {
      const random = seededRandom(seed);
      const log = logOf(random);
      // Some never come.
      const arrived = log.filter(() => random() > 0.1);
      expect(arrived.length).toBeLessThan(log.length);
      const repeated = arrived.filter(() => random() < 0.3);
      const deliveries = shuffled([...arrived, ...repeated], random);
      const batches = batched(deliveries, 120, random);
      const again = batches.filter(() => random() < 0.3);
      for (const batch of shuffled([...batches, ...again], random)) {
        // One after the other: which parts exist when a batch comes is a part of the test.
        await storeBatch(tables.clickhouse, batch, []);
      }
      await expectTablesEqualFold(tables.clickhouse, arrived);
      for (const table of ['sessions', 'session_traffic_1m', 'session_events']) {
        await tables.clickhouse.command({ sql: `OPTIMIZE TABLE ${table} FINAL` });
      }
      await expectTablesEqualFold(tables.clickhouse, arrived);
    },
  );
});
