import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import type { SessionRow } from '@sockscope/schemas';
import { toTimestamp } from '@sockscope/schemas';
import { BUCKETS_TABLE, SUM_NAMES } from '@sockscope/schemas/sums';
import type { SumName } from '@sockscope/schemas/sums';
import { insertRows } from './load.js';
import { countAtEndBy, countBy } from './truth.js';
import type { Counted, KeyOf, Range } from './truth.js';
import type { World } from './world.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const WEEK_MS = 7 * DAY_MS;
/** Weeks begin on Mondays; hours and days are as long from here as from 1970. */
const MONDAY_MS = Date.parse('2024-01-01');

const WRITER = '019c0f6e-7a00-7c3e-9d51-000000000001';
const SPANS_OF = {
  '1h': ['hour', 'detail_hour'],
  '1d': ['day', 'detail_day'],
  '1w': ['week'],
} as const;

const DIMENSIONS: Readonly<Record<string, { keyOf: KeyOf; atEnd?: true }>> = {
  total: { keyOf: () => '' },
  user: { keyOf: (row) => row.user },
  destination: { keyOf: (row) => row.dest_host },
  source: { keyOf: (row) => row.source_ip },
  port: { keyOf: (row) => String(row.dest_port) },
  protocol: { keyOf: (row) => row.protocol },
  proxy: { keyOf: (row) => row.proxy_id },
  acl_rule: { keyOf: (row) => row.acl_rule_matched ?? '', atEnd: true },
  close_reason: { keyOf: (row) => row.close_reason ?? '', atEnd: true },
  status: { keyOf: (row) => row.status, atEnd: true },
};

function sumsRow(counted: Counted, wrong: boolean): Counted {
  if (!wrong) return counted;
  const value = (name: SumName) =>
    name === 'sessions_started' && counted[name] === 0 ? 0 : counted[name] * 7 + 3;
  return Object.fromEntries(SUM_NAMES.map((name) => [name, value(name)])) as Counted;
}

/** Sums of a bucket by each dimension; wrong ones as if they were from before a change. */
export function sumRows(world: World, range: Range, wrong: boolean): Record<string, unknown>[] {
  return Object.entries(DIMENSIONS).flatMap(([dimension, { keyOf, atEnd }]) =>
    [...(atEnd === true ? countAtEndBy : countBy)(world, range, keyOf)].map(([key, counted]) => ({
      dimension,
      bucket: toTimestamp(range.fromMs),
      key,
      ...sumsRow(atEnd === true ? { ...counted, sessions_started: 0 } : counted, wrong),
    })),
  );
}

/** A key that is in no newer version, so it does not count. */
export function goneOf(row: Record<string, unknown>): Record<string, unknown> {
  return 'key' in row ? { ...row, key: `${String(row['key'])}9` } : { ...row, dest_port: 9 };
}

const bucketOf = (ms: number, lengthMs: number) => ms - ((ms - MONDAY_MS) % lengthMs);

/** Buckets of this length in which anything happened. */
function bucketsOf(world: World, lengthMs: number): number[] {
  const starts = new Set<number>();
  const add = (ms: number) => starts.add(bucketOf(ms, lengthMs));
  for (const row of world.sessions) {
    add(Date.parse(row.started_at));
    if (row.ended_at !== null) add(Date.parse(row.ended_at));
  }
  for (const minute of world.minutes) add(minute.bucketMs);
  return [...starts].toSorted((a, b) => a - b);
}

/**
 * Stores rollups as the ingest service keeps them, computed plainly. Older versions of them are
 * wrong; so are the newest ones of hours that are marked as changed, and of their days and weeks.
 */
export async function storeRollups(
  clickhouse: ClickHouse,
  world: World,
  dirtyHours: readonly number[],
  /** The later round wins. */
  round: 1 | 2 = 1,
): Promise<void> {
  const computedAt = `2026-03-0${2 * round}T00:00:00.000Z`;
  for (const [suffix, lengthMs] of [
    ['1h', HOUR_MS],
    ['1d', DAY_MS],
    ['1w', WEEK_MS],
  ] as const) {
    const dirty = dirtyHours.map((hour) => bucketOf(hour, lengthMs));
    const rows: Record<string, unknown>[] = [];
    const pairs: Record<string, unknown>[] = [];
    const sketches: Sketched[] = [];
    for (const fromMs of bucketsOf(world, lengthMs)) {
      const range = { fromMs, toMs: fromMs + lengthMs };
      const bucket = toTimestamp(fromMs);
      const wrong = dirty.includes(fromMs);
      for (const row of sumRows(world, range, wrong))
        rows.push({ ...row, computed_at: computedAt });
      const pairOf = (row: SessionRow) => JSON.stringify([row.user, row.dest_host, row.dest_port]);
      for (const [key, counted] of countBy(world, range, pairOf)) {
        const [user, dest_host, dest_port] = JSON.parse(key) as [string, string, number];
        const of = { user, bucket, dest_host, dest_port };
        pairs.push({ ...of, ...sumsRow(counted, wrong), computed_at: computedAt });
      }
      const durations = world.sessions
        .filter((row) => row.ended_at !== null)
        .filter((row) => {
          const endedMs = Date.parse(row.ended_at ?? '');
          return endedMs >= range.fromMs && endedMs < range.toMs;
        })
        .map((row) => (row.duration_ms ?? 0) * (wrong ? 50 : 1));
      const begun = world.sessions.filter((row) => {
        const startedMs = Date.parse(row.started_at);
        return startedMs >= range.fromMs && startedMs < range.toMs;
      });
      const shown = (key: string) => (wrong ? `${key} ${fromMs}` : key);
      sketches.push({
        bucket: fromMs / 1_000,
        durations,
        users: begun.map((row) => shown(row.user)),
        destinations: begun.map((row) => shown(row.dest_host)),
        sources: begun.map((row) => (wrong ? '192.0.2.77' : row.source_ip)),
      });
    }
    const older = (row: Record<string, unknown>) => ({
      ...row,
      bytes_sent: 1,
      sessions_closed: 99,
      computed_at: `2026-03-0${2 * round - 1}T00:00:00.000Z`,
    });
    await insertRows(clickhouse, `rollup_${suffix}`, [...rows, ...rows.map(goneOf)].map(older));
    await insertRows(clickhouse, `rollup_${suffix}`, rows);
    const finished = (span: string) =>
      bucketsOf(world, lengthMs).map((ms) => ({
        span,
        bucket: toTimestamp(ms),
        writer: WRITER,
        knows_slices: 1,
        drawn: computedAt,
        finished: computedAt,
      }));
    await insertRows(clickhouse, BUCKETS_TABLE, finished(SPANS_OF[suffix][0]));
    if (suffix === '1w') continue;
    await insertRows(clickhouse, BUCKETS_TABLE, finished(SPANS_OF[suffix][1]));
    await insertRows(
      clickhouse,
      `rollup_pairs_${suffix}`,
      [...pairs, ...pairs.map(goneOf)].map(older),
    );
    await insertRows(clickhouse, `rollup_pairs_${suffix}`, pairs);
    await storeSketches(clickhouse, `rollup_sketches_${suffix}`, sketches, round);
  }
  await insertRows(clickhouse, BUCKETS_TABLE, marksOf(dirtyHours, 'changed_through'));
}

/** Does the same again, with no hour left, and returns the time of the newest event. */
export async function refreshRollups(
  clickhouse: ClickHouse,
  world: World,
  dirtyHours: readonly number[],
  watermarkMs: number,
): Promise<void> {
  await storeRollups(clickhouse, world, [], 2);
  await insertRows(clickhouse, BUCKETS_TABLE, marksOf(dirtyHours, 'summed_through'));
  await insertRows(
    clickhouse,
    'ingest_watermarks',
    [watermarkMs - 60_000, watermarkMs].map((ms, partition) => ({
      topic: 'sockscope.session-events.v1',
      partition,
      watermark: toTimestamp(ms),
      next_offset: 1_000,
      caught_up: 1,
    })),
  );
}

/** The slices of a changed hour that have changed. */
export const CHANGED_SLICES = [1, 4] as const;

function marksOf(dirtyHours: readonly number[], column: 'changed_through' | 'summed_through') {
  const ofSlices = column === 'changed_through' ? 'slices_changed' : 'slices_summed';
  return dirtyHours.flatMap((hour) =>
    ['hour', 'detail_hour'].map((span) => ({
      span,
      bucket: toTimestamp(hour),
      writer: WRITER,
      [column]: 1,
      [ofSlices]: span === 'hour' ? byNumber(CHANGED_SLICES, 1) : {},
    })),
  );
}

/** The same number for each slice. */
export function byNumber(slices: readonly number[], number: number): Record<string, number> {
  return Object.fromEntries(slices.map((slice) => [slice, number]));
}

interface Sketched {
  /** Seconds since 1970. */
  readonly bucket: number;
  readonly durations: readonly number[];
  readonly users: readonly string[];
  readonly destinations: readonly string[];
  readonly sources: readonly string[];
}

/** The sketches of each bucket, after an older version that is wrong. */
async function storeSketches(
  clickhouse: ClickHouse,
  table: 'rollup_sketches_1h' | 'rollup_sketches_1d',
  sketches: readonly Sketched[],
  round: 1 | 2,
): Promise<void> {
  for (const [factor, computedAt] of [
    [9, `2026-03-0${2 * round - 1} 00:00:00`],
    [1, `2026-03-0${2 * round} 00:00:00`],
  ] as const) {
    const older = factor === 9 ? ['older'] : [];
    await clickhouse.command({
      sql: `INSERT INTO ${table} (bucket, sessions, duration_sketch, users_sketch, destinations_sketch, sources_sketch, computed_at)
        SELECT toDateTime(r.1, 'UTC'), length(r.2),
          arrayReduce('quantilesDDState(0.01, 0.5)', r.2),
          arrayReduce('uniqCombined64State(17)', r.3),
          arrayReduce('uniqCombined64State(17)', r.4),
          arrayReduce('uniqCombined64State(17)', arrayMap(text -> toIPv6(text), r.5)),
          toDateTime64({computed_at:String}, 6, 'UTC')
        FROM (SELECT arrayJoin(JSONExtract(
          {sketches:String},
          'Array(Tuple(UInt32, Array(UInt64), Array(String), Array(String), Array(String)))'
        )) AS r)`,
      params: {
        computed_at: computedAt,
        sketches: JSON.stringify(
          sketches.map((s) => [
            s.bucket,
            s.durations.map((ms) => ms * factor),
            [...s.users, ...older],
            [...s.destinations, ...older],
            s.sources,
          ]),
        ),
      },
    });
  }
}
