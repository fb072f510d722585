/**
 * The changes of each bucket and the summed ones: one row per bucket and writer, whose numbers only
 * grow. So an insert that is repeated, late or out of order changes nothing. See round.ts.
 */
import { randomUUID } from 'node:crypto';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { BUCKETS_TABLE, SPANS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { z } from 'zod';
import type { TableBlock } from '../tables/block.js';

const COLUMNS = ['span', 'bucket', 'writer', 'changed_through'] as const;

export type Change = readonly [span: BucketSpan, bucketS: number];

/** One life of a process that changes rows. */
export interface Writer {
  readonly id: string;
  /**
   * Marks buckets as changed. Call it after the rows of the change were acknowledged: that is when
   * its number is drawn. Buckets are seconds since 1970. The rows may be sent again and again.
   */
  changes(buckets: readonly Change[]): TableBlock;
}

export function createWriter(): Writer {
  const id = randomUUID();
  let number = 0;
  return {
    id,
    changes(buckets) {
      number += 1;
      return rowBlock(
        COLUMNS,
        buckets.map(([span, bucket]) => [span, bucket, id, number]),
      );
    },
  };
}

/** An hour whose rows have changed, in both kinds of sums. */
export function changedHours(hoursS: Iterable<number>): Change[] {
  return [...hoursS].flatMap((hour) => [
    ['hour', hour],
    ['detail_hour', hour],
  ]);
}

function rowBlock(
  columns: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): TableBlock {
  return {
    table: BUCKETS_TABLE,
    columns,
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(rows.map((row) => JSON.stringify(row)).join('\n'))],
    rows: rows.length,
  };
}

export interface DirtyBucket {
  readonly span: BucketSpan;
  /** Seconds since 1970. */
  readonly bucket: number;
  /** When its newest finished sums were begun, milliseconds since 1970; 0 if there are none. */
  readonly summedMs: number;
  /** When it was last marked, milliseconds since 1970. */
  readonly changedMs: number;
}

/** Changes that a round has read, by bucket and writer. */
export interface SeenChange {
  readonly bucket: number;
  readonly writer: string;
  readonly changed: number;
}

export interface Buckets {
  /** Dirty buckets, those first whose sums are oldest; at most `DIRTY_MAX`. And the server's time. */
  dirty(): Promise<{ readonly nowMs: number; readonly buckets: readonly DirtyBucket[] }>;
  /** Changes of buckets that are not summed. */
  changes(span: BucketSpan, buckets: readonly number[]): Promise<SeenChange[]>;
  /** A unique version above every version that was drawn for these buckets before. */
  drawVersion(span: BucketSpan, buckets: readonly number[]): Promise<string>;
  finish(span: BucketSpan, buckets: readonly number[], version: string): Promise<void>;
  settle(span: BucketSpan, seen: readonly SeenChange[]): Promise<void>;
  mark(changes: readonly Change[]): Promise<void>;
}

/** Dirty buckets that are read at once; more wait until these are summed. Ten years of hours. */
export const DIRTY_MAX = 100_000;
const DRAWS_MAX = 10;

/** @param call limits of one statement. */
export function createBuckets(
  clickhouse: Pick<ClickHouse, 'query' | 'command' | 'insert'>,
  call: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Buckets {
  const writer = createWriter();
  const settings = {
    async_insert: 0,
    distributed_foreground_insert: 1,
    insert_deduplicate: 0,
    date_time_input_format: 'best_effort',
    // The numbers of buckets are compared with each other: all must be read from one server.
    load_balancing: 'in_order',
  };

  async function insert(
    columns: readonly string[],
    rows: readonly (readonly (string | number)[])[],
  ): Promise<void> {
    if (rows.length === 0) return;
    await clickhouse.insert({ ...rowBlock(columns, rows), settings, ...call });
  }

  async function draw(span: BucketSpan, buckets: readonly number[]): Promise<string | null> {
    const among = "span = {span:String} AND bucket IN {buckets:Array(DateTime('UTC'))}";
    // In the table before anything is read: a version that is drawn later is higher, even if the clock was set back.
    await clickhouse.command({
      sql: `INSERT INTO ${BUCKETS_TABLE} (span, bucket, writer, drawn)
        SELECT {span:String}, arrayJoin({buckets:Array(DateTime('UTC'))}), {writer:UUID},
          greatest(now64(6, 'UTC'), (SELECT max(drawn) FROM ${BUCKETS_TABLE} WHERE ${among}) + toIntervalMicrosecond(1))`,
      params: { span, buckets, writer: writer.id },
      settings,
      ...call,
    });
    const [row] = await clickhouse.query({
      sql: `WITH (SELECT max(drawn) FROM ${BUCKETS_TABLE} WHERE ${among} AND writer = {writer:UUID}) AS own
        SELECT toString(own) AS version, countIf(writer != {writer:UUID} AND drawn = own) AS others
        FROM ${BUCKETS_TABLE} WHERE ${among}`,
      params: { span, buckets, writer: writer.id },
      row: z.object({ version: z.string(), others: int64 }),
      settings,
      ...call,
    });
    return row === undefined || row.others > 0 ? null : row.version;
  }

  return {
    async dirty() {
      const rows = await clickhouse.query({
        sql: `SELECT span, toUnixTimestamp(bucket) AS bucket_s, toUnixTimestamp64Micro(max(version)) AS summed_us,
            toUnixTimestamp(maxIf(at, is_dirty)) AS changed_s, toUnixTimestamp64Milli(now64(3)) AS now_ms
          FROM (
            SELECT span, bucket, max(finished) AS version, max(written_at) AS at,
              max(changed_through) > max(summed_through) AS is_dirty
            FROM ${BUCKETS_TABLE} GROUP BY span, bucket, writer
          )
          GROUP BY span, bucket HAVING max(is_dirty) ORDER BY summed_us, bucket_s DESC LIMIT {limit:UInt32}`,
        params: { limit: DIRTY_MAX },
        row: z.object({
          span: z.enum(SPANS),
          bucket_s: int64,
          summed_us: int64,
          changed_s: int64,
          now_ms: int64,
        }),
        settings,
        ...call,
      });
      return {
        nowMs: rows[0]?.now_ms ?? 0,
        buckets: rows.map((row) => ({
          span: row.span,
          bucket: row.bucket_s,
          summedMs: row.summed_us / 1_000,
          changedMs: row.changed_s * 1_000,
        })),
      };
    },
    changes: (span, buckets) =>
      clickhouse.query({
        sql: `SELECT toUnixTimestamp(bucket) AS bucket, toString(writer) AS writer, max(changed_through) AS changed
          FROM ${BUCKETS_TABLE} AS b WHERE span = {span:String} AND b.bucket IN {buckets:Array(DateTime('UTC'))}
          GROUP BY b.bucket, b.writer HAVING changed > max(summed_through)`,
        params: { span, buckets },
        row: z.object({ bucket: int64, writer: z.string(), changed: int64 }),
        settings,
        ...call,
      }),
    async drawVersion(span, buckets) {
      for (let draws = 0; draws < DRAWS_MAX; draws += 1) {
        const version = await draw(span, buckets);
        if (version !== null) return version;
      }
      throw new Error(`no version of its own after ${DRAWS_MAX} draws`);
    },
    finish: (span, buckets, version) =>
      insert(
        ['span', 'bucket', 'writer', 'finished'],
        buckets.map((bucket) => [span, bucket, writer.id, version]),
      ),
    settle: (span, seen) =>
      insert(
        ['span', 'bucket', 'writer', 'summed_through'],
        seen.map((each) => [span, each.bucket, each.writer, each.changed]),
      ),
    async mark(changes) {
      if (changes.length === 0) return;
      await clickhouse.insert({ ...writer.changes(changes), settings, ...call });
    },
  };
}
