/** Compares the sums with a recomputation, and marks the ones to make again. */
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { BUCKETS_TABLE, SHARED_SNAPSHOT, SLICE_MS, SPAN_MS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { RetentionConfig } from '../migrations/config.js';
import { ALL_SLICES, createBuckets, sliceStart } from './buckets.js';
import { dayOf, planOf, readWholeSince, weekOfS } from './expiry.js';
import type { Plan, SourceRetention } from './expiry.js';
import { countDifferences, SLICE } from './sql.js';
import { mayHaveSlices, NOTHING_EXPIRED } from './slices.js';

const HOURS_OF_ROWS = `
  SELECT toStartOfHour(started_at) AS hour FROM sessions GROUP BY hour
  UNION DISTINCT SELECT toStartOfHour(assumeNotNull(ended_at)) AS hour FROM sessions WHERE ended_at IS NOT NULL GROUP BY hour
  UNION DISTINCT SELECT toStartOfHour(bucket) AS hour FROM session_traffic_1m GROUP BY hour
  UNION DISTINCT SELECT bucket AS hour FROM rollup_1h GROUP BY hour`;

/**
 * Marks every hour whose sums can be made again exactly, and of older ones those whose day has none. Days
 * and weeks follow from their hours. Sums of the others stay as they are.
 */
export async function markAllHours(
  clickhouse: ClickHouse,
  retention: SourceRetention,
  timeoutMs: number,
): Promise<void> {
  const whole = await readWholeSince(clickhouse, { ...retention });
  await clickhouse.command({
    // With all slices: otherwise the present hour would be made from rows in every round until it is over.
    sql: `INSERT INTO ${BUCKETS_TABLE} (span, bucket, writer, changed_through, slices_changed)
      SELECT arrayJoin(['hour', 'detail_hour']), hour, {writer:UUID}, 1,
        mapFromArrays({slices:Array(UInt8)}, arrayMap(_ -> toUInt64(1), {slices:Array(UInt8)})) FROM (${HOURS_OF_ROWS})
      WHERE hour >= toDateTime({whole_since:UInt32}, 'UTC')
        OR toStartOfDay(hour) GLOBAL NOT IN (SELECT bucket FROM rollup_1d WHERE dimension = 'total')`,
    params: { writer: randomUUID(), slices: ALL_SLICES, whole_since: whole.sources },
    timeoutMs,
    settings: { async_insert: 0, distributed_foreground_insert: 1 },
  });
}

/** A table of sums and the number of its wrong rows. */
export interface RollupDifference {
  readonly table: string;
  /** Start of the bucket. */
  readonly bucket: string;
  readonly rows: number;
}

export interface DifferenceOptions {
  /** Rows that have expired are not looked for. */
  readonly retention: SourceRetention & Pick<RetentionConfig, 'rollup_pairs_1d'>;
  /** Buckets that are dirty, as `span start`, are not compared. */
  readonly dirty?: ReadonlySet<string>;
  readonly timeoutMs: number;
}

/**
 * Compares the sums of some hours, and of the days and weeks around them, with a recomputation as it
 * would be made now. Changes nothing. If a source has begun to expire, sums that are too small are
 * found, others are not.
 */
export async function findRollupDifferences(
  clickhouse: ClickHouse,
  hoursS: readonly number[],
  { retention, dirty = new Set(), timeoutMs }: DifferenceOptions,
): Promise<RollupDifference[]> {
  // A week's rows are kept as long as a day's, and until its last day has expired.
  const kept = { ...retention, rollup_1w: retention.rollup_1d };
  const whole = await readWholeSince(clickhouse, kept);
  const days = [...new Set(hoursS.map(dayOf))];
  const weeks = [...new Set(days.map(weekOfS))];
  const differences: RollupDifference[] = [];
  const buckets = createBuckets(clickhouse, { timeoutMs });

  async function compare(span: BucketSpan, starts: readonly number[]): Promise<void> {
    const settled = starts.filter((start) => !dirty.has(`${span} ${start}`));
    const [first] = settled;
    if (first === undefined) return;
    const plan = planOf(span, first, whole);
    if (first >= whole.of(plan.target.table)) {
      await compareStarts({ ...plan, starts: settled }, SPAN_MS[span]);
    }
  }

  async function compareStarts({ target, expired, starts }: Plan, lengthMs: number): Promise<void> {
    const [row] = await clickhouse.query({
      sql: countDifferences(target, expired),
      params: {
        buckets: starts,
        from: Math.min(...starts),
        to: Math.max(...starts) + lengthMs / 1_000,
      },
      row: z.object({ differences: int64 }),
      settings: {
        prefer_column_name_to_alias: 1,
        distributed_product_mode: 'local',
        ...SHARED_SNAPSHOT,
      },
      timeoutMs,
    });
    const rows = row?.differences ?? 0;
    if (rows > 0) {
      differences.push({
        table: target.table,
        bucket: new Date((starts[0] ?? 0) * 1_000).toISOString(),
        rows,
      });
    }
  }

  /** Slices of hours that may be made from slices; those that have changed since are summed before they are used. */
  async function compareSlices(hour: number): Promise<void> {
    if (!mayHaveSlices(hour, Date.now(), whole) || dirty.has(`hour ${hour}`)) return;
    const { changes, isComplete } = await buckets.slices(hour);
    if (!isComplete) return;
    const changed = new Set(changes.map(({ slice }) => slice));
    const starts = ALL_SLICES.filter((slice) => !changed.has(slice)).map((slice) =>
      sliceStart(hour, slice),
    );
    if (starts.length > 0)
      await compareStarts({ target: SLICE, expired: NOTHING_EXPIRED, starts }, SLICE_MS);
  }

  for (const hour of hoursS) await compareSlices(hour);
  for (const day of days) {
    const hours = hoursS.filter((hour) => dayOf(hour) === day);
    await compare('hour', hours);
    await compare('detail_hour', hours);
    await compare('day', [day]);
    await compare('detail_day', [day]);
  }
  for (const week of weeks) await compare('week', [week]);
  return differences;
}
