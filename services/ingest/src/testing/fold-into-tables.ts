import { randomBytes } from 'node:crypto';
import { createLogger, createRegistry, loadConfig } from '@sockscope/runtime';
import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { cloneDatabase } from '@sockscope/runtime/testing';
import type { SessionEvent } from '@sockscope/schemas';
import { inject } from 'vitest';
import { createDecoder } from '../decode/decode-event.js';
import { EventView } from '../decode/event-view.generated.js';
import { BatchFold } from '../fold/batch-fold.js';
import type { RetentionConfig } from '../migrations/config.js';
import { tablesConfig } from '../migrations/config.js';
import type { Bookkeeper } from '../pipeline/pipeline.js';
import type { TableBlock } from '../tables/block.js';

export const testLogger = createLogger('test', { level: 'fatal' });
export const testRegistry = () => createRegistry('test');

/** The tests' events have any time, so no table may expire them. */
export const NOTHING_EXPIRES = Object.fromEntries(
  Object.keys(loadConfig(tablesConfig, {}).retention).map((name) => [name, 0]),
) as RetentionConfig;

/** A database of its own with all tables on the server of the integration tests. */
export async function createTestTables(
  url: string,
): Promise<{ readonly clickhouse: ClickHouse; drop(): Promise<void> }> {
  const database = `tables_${randomBytes(5).toString('hex')}`;
  const config = clickhouseConfig.parse({ url });
  const admin = createClickHouse({ ...config, database: 'default' });
  await cloneDatabase(admin, inject('clickhouseTemplate'), database);
  const clickhouse = createClickHouse({ ...config, database });
  return {
    clickhouse,
    async drop() {
      await clickhouse.close();
      await admin.command({ sql: `DROP DATABASE ${database} SYNC` });
      await admin.close();
    },
  };
}

export async function insertBlocks(
  clickhouse: ClickHouse,
  blocks: readonly TableBlock[],
): Promise<void> {
  await Promise.all(
    blocks.map(({ table, columns, format, bytes }) =>
      clickhouse.insert({
        table,
        columns,
        format,
        bytes,
        // As the writer has it.
        settings: { date_time_input_format: 'best_effort', max_partitions_per_insert_block: 0 },
      }),
    ),
  );
}

/** The real decoder and fold. To be released. */
function foldOf(events: readonly SessionEvent[], partition = 0): BatchFold {
  const view = new EventView();
  const decoder = createDecoder(view);
  const fold = new BatchFold();
  for (const event of events) {
    const bytes = Buffer.from(JSON.stringify(event));
    const poison = decoder.decode(bytes, 0, bytes.length);
    if (poison !== null) throw new Error(`${poison.reason}: ${poison.detail}`);
    fold.add(view, partition);
  }
  return fold;
}

/** The rows of a batch, table by table. */
export function blocksOf(events: readonly SessionEvent[]): readonly TableBlock[] {
  return foldOf(events).encode();
}

/** The position of a test's batch in the topic, as the pipeline would report it. */
export interface TestPartition {
  readonly partition: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
}

/**
 * Treats a batch as the pipeline does, up to the commit: the real decoder, fold and encoder.
 *
 * @param bookkeepers none: the process died after the rows and before the books.
 */
export async function storeBatch(
  clickhouse: ClickHouse,
  events: readonly SessionEvent[],
  bookkeepers: readonly Bookkeeper[],
  at: TestPartition = { partition: 0, firstOffset: 0, nextOffset: 0 },
): Promise<void> {
  const fold = foldOf(events, at.partition);
  const times = events.map((event) => Date.parse(event.occurred_at));
  const summary = {
    sessions: fold.sessionsOf(),
    slices: fold.slices,
    partitions: [{ ...at, caughtUp: true, newestMs: Math.max(...times) }],
  };
  const books = await Promise.all(
    bookkeepers.map((bookkeeper) => bookkeeper.plan(summary, AbortSignal.timeout(BOOKS_MS))),
  );
  await insertBlocks(clickhouse, fold.encode());
  await insertBlocks(
    clickhouse,
    books.flatMap((book) => book.blocks()),
  );
  for (const book of books) book.acknowledge();
  fold.release();
}

const BOOKS_MS = 120_000;
