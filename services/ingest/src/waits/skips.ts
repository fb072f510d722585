/** The operator's skips, as `ingest skip` has stored them. */
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';

/** A batch or record that begins at an offset in [from, to) of the partition is passed over. */
export interface Skip {
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

export interface Skips {
  has(partition: number, offset: number): boolean;
}

/** Decisions that are read at most. An operator makes each by hand. */
const SKIPS_MAX = 10_000;

export function skipsOf(decided: readonly Skip[]): Skips {
  return {
    has: (partition, offset) =>
      decided.some(
        (each) => each.partition === partition && each.from <= offset && offset < each.to,
      ),
  };
}

export async function readSkips(
  clickhouse: ClickHouse,
  topic: string,
  signal?: AbortSignal,
): Promise<Skip[]> {
  const rows = await clickhouse.query({
    sql: `SELECT partition, from_offset, to_offset FROM ingest_skips FINAL
      WHERE topic = {topic:String} ORDER BY partition, from_offset LIMIT {limit:UInt32}`,
    params: { topic, limit: SKIPS_MAX },
    row: z.object({ partition: z.int(), from_offset: int64, to_offset: int64 }),
    signal,
  });
  return rows.map(({ partition, from_offset, to_offset }) => ({
    partition,
    from: from_offset,
    to: to_offset,
  }));
}

export async function storeSkip(clickhouse: ClickHouse, topic: string, skip: Skip): Promise<void> {
  await clickhouse.insert({
    table: 'ingest_skips',
    columns: ['topic', 'partition', 'from_offset', 'to_offset'],
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(JSON.stringify([topic, skip.partition, skip.from, skip.to]))],
  });
}
