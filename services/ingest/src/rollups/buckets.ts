/**
 * The changes of each bucket and the summed ones: one row per bucket and writer, whose numbers only
 * grow. So an insert that is repeated, late or out of order changes nothing. See round.ts.
 */
import { randomUUID } from 'node:crypto';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { BUCKETS_TABLE, HOUR_MS, NAMES_SLICES_SQL, SLICE_MS, SPANS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { z } from 'zod';
import type { TableBlock } from '../tables/block.js';
import type { Lane } from './choose.js';

const COLUMNS = ['span', 'bucket', 'writer', 'changed_through', 'slices_changed'] as const;

const SLICE_S = SLICE_MS / 1_000;
const HOUR_S = HOUR_MS / 1_000;
/** Numbers of the slices of an hour. */
export const ALL_SLICES = Array.from({ length: HOUR_S / SLICE_S }, (_, slice) => slice);

/** A change of an hour names the slices of ten minutes that have changed, from 0 to 5. */
export type Change = readonly [span: BucketSpan, bucketS: number, slices?: readonly number[]];

/** One life of a process, or of a lane of sums in it, that changes rows. */
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
        buckets.map(([span, bucket, slices = []]) => [
          span,
          bucket,
          id,
          number,
          Object.fromEntries(slices.map((slice) => [slice, number])),
        ]),
      );
    },
  };
}

/** Hours whose rows have changed anywhere, in both kinds of sums. */
export function changedHours(hoursS: Iterable<number>): Change[] {
  return [...hoursS].flatMap((hour) => [
    ['hour', hour, ALL_SLICES],
    ['detail_hour', hour],
  ]);
}

/** The hours of slices of ten minutes whose rows have changed. @param slicesS starts, seconds since 1970. */
export function changedSlices(slicesS: Iterable<number>): Change[] {
  const hours = new Map<number, number[]>();
  for (const start of slicesS) {
    const hour = start - (start % HOUR_S);
    hours.set(hour, [...(hours.get(hour) ?? []), (start - hour) / SLICE_S]);
  }
  return [...hours].flatMap(([hour, slices]) => [
    ['hour', hour, slices],
    ['detail_hour', hour],
  ]);
}

/** Start of a slice of an hour, seconds since 1970. */
export function sliceStart(hourS: number, slice: number): number {
  return hourS + slice * SLICE_S;
}

type Cell = string | number | Readonly<Record<string, number>>;

function rowBlock(columns: readonly string[], rows: readonly (readonly Cell[])[]): TableBlock {
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
  /** Changed slices of an hour by number, each with `summedMs`; null if a change named none, or if it is no hour. */
  readonly slices: ReadonlyMap<number, number> | null;
}

/** Changes that a round has read, by bucket and writer. */
export interface SeenChange {
  readonly bucket: number;
  readonly writer: string;
  readonly changed: number;
}

/** A change of a slice that a round has read. */
export interface SeenSlice {
  readonly writer: string;
  /** Number of the slice in its hour. */
  readonly slice: number;
  readonly changed: number;
}

/** The slices of one hour, as a round has read them. */
export interface SeenSlices {
  /** Changes that are not summed. */
  readonly changes: readonly SeenSlice[];
  /** Whether every change of the hour named its slices, and every round knew of them. */
  readonly isComplete: boolean;
}

export interface Finished {
  readonly version: string;
  /** A time before the round read its marks, milliseconds since 1970; null if it left out some of them. */
  readonly begunMs: number | null;
}

export interface Buckets {
  /**
   * Dirty buckets, those first whose sums are oldest; at most `DIRTY_MAX`. And the server's time. Of the lane
   * `present` only the hours that are not over are read.
   */
  dirty(
    lane?: Lane | 'all',
  ): Promise<{ readonly nowMs: number; readonly buckets: readonly DirtyBucket[] }>;
  /** Changes of buckets that are not summed. */
  changes(span: BucketSpan, buckets: readonly number[]): Promise<SeenChange[]>;
  /** A unique version above every version that was drawn for these buckets before. */
  drawVersion(span: BucketSpan, buckets: readonly number[]): Promise<string>;
  finish(span: BucketSpan, buckets: readonly number[], finished: Finished): Promise<void>;
  settle(span: BucketSpan, seen: readonly SeenChange[]): Promise<void>;
  mark(changes: readonly Change[]): Promise<void>;
  /** Marks hours as changed without naming slices: every round that draws its version later makes them from rows. */
  leaveSlices(hoursS: readonly number[]): Promise<void>;
  slices(hourS: number): Promise<SeenSlices>;
  finishSlices(hourS: number, slices: readonly number[], finished: Finished): Promise<void>;
  settleSlices(hourS: number, seen: readonly SeenSlice[]): Promise<void>;
}

const byNumber = z.record(z.string(), int64);

/** Dirty buckets that are read at once; more wait until these are summed. Ten years of hours. */
export const DIRTY_MAX = 100_000;
const DRAWS_MAX = 10;
const IS_PRESENT = "span = 'hour' AND bucket > now() - toIntervalHour(1)";

/** @param call limits of one statement. */
export function createBuckets(
  clickhouse: Pick<ClickHouse, 'query' | 'command' | 'insert'>,
  call: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Buckets {
  const writer = createWriter();
  /** A writer that never names slices, so that its changes stay known by their numbers. */
  const leaver = createWriter();
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
    rows: readonly (readonly Cell[])[],
  ): Promise<void> {
    if (rows.length === 0) return;
    await clickhouse.insert({ ...rowBlock(columns, rows), settings, ...call });
  }

  async function draw(span: BucketSpan, buckets: readonly number[]): Promise<string | null> {
    const among = "span = {span:String} AND bucket IN {buckets:Array(DateTime('UTC'))}";
    // In the table before anything is read: a version that is drawn later is higher, even if the clock was set back.
    await clickhouse.command({
      sql: `INSERT INTO ${BUCKETS_TABLE} (span, bucket, writer, knows_slices, drawn)
        SELECT {span:String}, arrayJoin({buckets:Array(DateTime('UTC'))}), {writer:UUID}, 1,
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
    async dirty(lane = 'all') {
      const rows = await clickhouse.query({
        sql: `SELECT span, toUnixTimestamp(bucket) AS bucket_s, if(max(began_ms) = 0, max(version_ms), max(began_ms)) AS summed_ms,
            toUnixTimestamp(maxIf(at, is_dirty)) AS changed_s, toUnixTimestamp64Milli(now64(3)) AS now_ms,
            span = 'hour' AND min(names_slices) AS has_slices,
            arrayMap(slice -> (slice, intDiv(maxMap(finished_slices)[slice], 1000)),
              groupUniqArrayArray(mapKeys(mapFilter((slice, number) -> number > through[slice], marked)))) AS slices
          FROM (
            SELECT span, bucket, toUnixTimestamp64Milli(max(finished)) AS version_ms,
              toUnixTimestamp64Milli(max(begun)) AS began_ms, max(written_at) AS at,
              max(changed_through) > max(summed_through) AS is_dirty, ${NAMES_SLICES_SQL} AS names_slices,
              maxMap(slices_changed) AS marked, maxMap(slices_summed) AS through,
              maxMap(slices_finished) AS finished_slices
            FROM ${BUCKETS_TABLE} WHERE ${lane === 'present' ? IS_PRESENT : 'true'} GROUP BY span, bucket, writer
          )
          GROUP BY span, bucket HAVING max(is_dirty) ORDER BY summed_ms, bucket_s DESC LIMIT {limit:UInt32}`,
        params: { limit: DIRTY_MAX },
        row: z.object({
          span: z.enum(SPANS),
          bucket_s: int64,
          summed_ms: int64,
          changed_s: int64,
          now_ms: int64,
          has_slices: z.coerce.number(),
          slices: z.array(z.tuple([z.int(), int64])),
        }),
        settings,
        ...call,
      });
      return {
        nowMs: rows[0]?.now_ms ?? 0,
        buckets: rows.map((row) => ({
          span: row.span,
          bucket: row.bucket_s,
          summedMs: row.summed_ms,
          changedMs: row.changed_s * 1_000,
          slices: row.has_slices === 1 ? new Map(row.slices) : null,
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
    finish: (span, buckets, { version, begunMs }) =>
      insert(
        ['span', 'bucket', 'writer', 'finished', 'begun'],
        buckets.map((bucket) => [span, bucket, writer.id, version, toTimestamp(begunMs ?? 0)]),
      ),
    settle: (span, seen) =>
      insert(
        ['span', 'bucket', 'writer', 'summed_through'],
        seen.map((each) => [span, each.bucket, each.writer, each.changed]),
      ),
    async slices(hourS) {
      const rows = await clickhouse.query({
        sql: `SELECT toString(writer) AS writer, maxMap(slices_changed) AS changed, maxMap(slices_summed) AS summed,
            ${NAMES_SLICES_SQL} AS names_slices
          FROM ${BUCKETS_TABLE} WHERE span = 'hour' AND bucket = toDateTime({hour:UInt32}, 'UTC') GROUP BY writer`,
        params: { hour: hourS },
        row: z.object({
          writer: z.string(),
          changed: byNumber,
          summed: byNumber,
          names_slices: z.coerce.number(),
        }),
        settings,
        ...call,
      });
      return {
        changes: rows.flatMap(({ writer: by, changed, summed }) =>
          Object.entries(changed)
            .filter(([slice, number]) => number > (summed[slice] ?? 0))
            .map(([slice, number]) => ({ writer: by, slice: Number(slice), changed: number })),
        ),
        isComplete: rows.every((row) => row.names_slices === 1),
      };
    },
    finishSlices: (hourS, slices, { version, begunMs }) =>
      clickhouse.command({
        sql: `INSERT INTO ${BUCKETS_TABLE} (span, bucket, writer, begun, slices_finished)
          SELECT 'hour', toDateTime({hour:UInt32}, 'UTC'), {writer:UUID}, fromUnixTimestamp64Milli({begun:Int64}, 'UTC'),
            mapFromArrays({slices:Array(UInt8)},
              arrayMap(_ -> toUInt64(toUnixTimestamp64Micro({version:DateTime64(6, 'UTC')})), {slices:Array(UInt8)}))`,
        params: { hour: hourS, slices, version, begun: begunMs ?? 0, writer: writer.id },
        settings,
        ...call,
      }),
    settleSlices: (hourS, seen) =>
      insert(
        ['span', 'bucket', 'writer', 'slices_summed'],
        seen.map((each) => ['hour', hourS, each.writer, { [each.slice]: each.changed }]),
      ),
    async leaveSlices(hoursS) {
      if (hoursS.length === 0) return;
      const changes = hoursS.map((hour): Change => ['hour', hour]);
      await clickhouse.insert({ ...leaver.changes(changes), settings, ...call });
    },
    async mark(changes) {
      if (changes.length === 0) return;
      await clickhouse.insert({ ...writer.changes(changes), settings, ...call });
    },
  };
}
