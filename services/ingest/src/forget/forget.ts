/**
 * Removes the history of one person from every table and sum.
 *
 * The order makes it safe to end at any place and to run again:
 *
 * 1. The decision is stored, with the hours whose sums will change. From then on events of these sessions
 *    are passed over; inserts that were under way are waited for.
 * 2. Rows are deleted, `sessions` last: the others are found through it.
 * 3. The hours are marked as changed and summed again. A mark before the deletion could be settled by a
 *    round that still read the rows.
 * 4. Sums with the person's key are deleted: all of buckets that were over at the time of the decision, because
 *    no session that is kept counts there. Of other buckets those whose version is older than the deletion: a newer
 *    version was drawn before its rows were read, so it has none of the deleted rows.
 * 5. All of this is repeated while rows are found. A search for lost sessions may have read some before they were
 *    deleted, and stored them again.
 *
 * A run that ended early left the hours in the decision, so the next one marks them although their rows
 * are gone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { SockscopeError } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, SqlValue } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { DAY_MS, floorTo, HOUR_MS, keySql, SLICE_MS, WEEK_MS } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { onCluster, storageTable } from '../migrations/layout.js';
import type { Layout } from '../migrations/layout.js';
import { changedHours, createBuckets } from '../rollups/buckets.js';
import { FORGOTTEN_MAX, FORGOTTEN_REFRESH_MS } from './forgotten.js';
import type { Person } from './forgotten.js';

export class ForgetError extends SockscopeError {
  declare readonly code: 'forget_refused';
}

/** Rows with a column `user`, a `source_ip` and a `started_at`. `sessions` is the last: see above. */
const TABLES = [
  'session_traffic_1m',
  'session_events',
  'ended_sessions',
  'sessions_by_user',
  'sessions_by_destination',
  'long_sessions',
  'sessions',
] as const;
/** Tables of sums, with the length of their buckets in milliseconds. */
const ROLLUPS = {
  rollup_10m: SLICE_MS,
  rollup_1h: HOUR_MS,
  rollup_1d: DAY_MS,
  rollup_1w: WEEK_MS,
} as const;
const PAIRS = { rollup_pairs_1h: HOUR_MS, rollup_pairs_1d: DAY_MS } as const;
/** Something else than a search stores rows if they are found again and again: an ingest that cannot read decisions. */
const PASSES_MAX = 5;
/** End of a decision if the topic keeps events permanently: the year 2100. */
const NEVER_MS = Date.UTC(2100, 0);
/** Hours that one decision may change: 100 years. */
const HOURS_MAX = 876_000;
const MARKED_AT_ONCE = 10_000;

export interface ForgetConfig {
  /** Longest time that an insert of ingest takes, milliseconds. */
  readonly insertTimeoutMs: number;
  /** Deadline of one statement, milliseconds. */
  readonly timeoutMs: number;
  /** How long the topic keeps its records, milliseconds; null: permanently. */
  readonly topicRetentionMs: number | null;
}

export interface ForgetDeps {
  readonly clickhouse: ClickHouse;
  /** The other nodes that store rows, if the layout does not send deletions to them; else none. */
  readonly others: readonly ClickHouse[];
  readonly layout: Layout;
  readonly onProgress: (what: string) => void;
  /** Sums everything that is marked. */
  readonly sumAll: () => Promise<void>;
  /** Waits until no insert is under way that began before the decision was known. */
  readonly settled?: (ms: number) => Promise<void>;
}

/** The stored data of a person. */
export interface Found {
  /** Rows by table, unmerged ones included. */
  readonly rows: Readonly<Record<string, number>>;
  /** Hours whose sums it changes. */
  readonly hours: readonly number[];
  /** When the topic no longer has the events, milliseconds since 1970; null: never. */
  readonly topicUntilMs: number | null;
}

/** Counts the stored data of a person, and changes nothing. */
export async function findPerson(
  person: Person,
  config: ForgetConfig,
  deps: Pick<ForgetDeps, 'clickhouse'>,
): Promise<Found> {
  const nowMs = await serverTimeMs(deps.clickhouse);
  return found(person, nowMs, config, deps.clickhouse);
}

/** Forgets a person. Returns the former counts. @throws ForgetError if it cannot be done now. */
export async function forgetPerson(
  person: Person,
  config: ForgetConfig,
  deps: ForgetDeps,
): Promise<Found> {
  const { clickhouse, layout, onProgress } = deps;
  const call = { timeoutMs: config.timeoutMs };
  await refuseBesideRebuild(clickhouse);
  const nowMs = await serverTimeMs(clickhouse);
  const before = await found(person, nowMs, config, clickhouse);
  const unfinished = await unfinishedHours(clickhouse, person);
  // The present hour too: its sums lose the person's key, and may have sessions that are not forgotten.
  const presentS = floorTo(nowMs, HOUR_MS) / 1_000;
  let hours = [...new Set([...before.hours, ...unfinished, presentS])];

  const store = async (isFinished: boolean) => {
    const untilMs = Math.min(NEVER_MS, before.topicUntilMs ?? NEVER_MS);
    const cells = {
      kind: person.kind,
      value: person.value,
      through: toTimestamp(nowMs),
      hours: isFinished ? [] : hours,
      keep_until: Math.ceil(untilMs / 1_000),
      finished_at: isFinished ? toTimestamp(await serverTimeMs(clickhouse)) : null,
    };
    await clickhouse.insert({
      table: 'ingest_forgotten',
      columns: Object.keys(cells),
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(`${JSON.stringify(Object.values(cells))}\n`)],
      settings: {
        async_insert: 0,
        distributed_foreground_insert: 1,
        date_time_input_format: 'best_effort',
      },
      ...call,
    });
  };

  await store(false);
  onProgress('waiting until running ingests know it and their inserts have ended');
  await (deps.settled ?? delay)(FORGOTTEN_REFRESH_MS + config.insertTimeoutMs);
  // One that began before the decision was stored.
  await refuseBesideRebuild(clickhouse);
  // Rows that were stored meanwhile.
  const late = await found(person, nowMs, config, clickhouse);
  hours = [...new Set([...hours, ...late.hours])];
  await store(false);

  const params = { value: person.value, through: nowMs };
  const remove = async (table: string, where: string, more: Readonly<Record<string, SqlValue>>) => {
    onProgress(`removing from ${table}`);
    for (const node of [clickhouse, ...deps.others]) {
      await node.command({
        sql: `ALTER TABLE ${storageTable(layout, table)}${onCluster(layout)} DELETE WHERE ${where}`,
        params: { ...params, ...more },
        settings: { mutations_sync: 2 },
        ...call,
      });
    }
  };
  const isTheirs = conditionOf(person);
  const removeRows = async () => {
    await remove(
      'session_ends',
      `(started_at, session_id) IN (
        SELECT started_at, session_id FROM ${storageTable(layout, 'sessions')} WHERE ${isTheirs})`,
      {},
    );
    for (const table of TABLES) await remove(table, isTheirs, {});
  };
  const removeSums = async (computedBeforeUs: number) => {
    const removeFrom = async (tables: Readonly<Record<string, number>>, key: string) => {
      for (const [table, lengthMs] of Object.entries(tables)) {
        const isOld = `(bucket <= fromUnixTimestamp64Milli({through:Int64} - ${lengthMs}, 'UTC')
          OR (bucket <= fromUnixTimestamp64Milli({through:Int64}, 'UTC')
            AND computed_at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')))`;
        await remove(table, `${key} AND ${isOld}`, { before: computedBeforeUs });
      }
    };
    const dimension = person.kind === 'user' ? 'user' : 'source';
    await removeFrom(ROLLUPS, `dimension = '${dimension}' AND key = ${keyOf(person)}`);
    if (person.kind === 'user') await removeFrom(PAIRS, 'user = {value:String}');
  };
  const buckets = createBuckets(clickhouse, call);
  const removeAll = async () => {
    await removeRows();
    // Before the marks: sums whose source has expired keep their figures, and these must not be the person's.
    const deletedUs = (await serverTimeMs(clickhouse)) * 1_000 + 999;
    await removeSums(deletedUs);
    for (let at = 0; at < hours.length; at += MARKED_AT_ONCE) {
      await buckets.mark(changedHours(hours.slice(at, at + MARKED_AT_ONCE)));
    }
    onProgress(`summing ${hours.length} hours again`);
    await deps.sumAll();
    await removeSums(deletedUs);
  };
  for (let passes = 1; ; passes += 1) {
    await removeAll();
    const back = await found(person, nowMs, config, clickhouse);
    if (Object.values(back.rows).every((rows) => rows === 0)) break;
    if (passes === PASSES_MAX) {
      throw new ForgetError(
        'forget_refused',
        'rows are stored again and again. Check that every ingest is of this version and that its log has no warning of forgotten persons, then run forget again',
      );
    }
    hours = [...new Set([...hours, ...back.hours])];
    await store(false);
  }
  await store(true);
  return { ...late, hours };
}

/** Sessions of the person that the decision is about. */
function conditionOf({ kind }: Person): string {
  const who = kind === 'user' ? 'user = {value:String}' : 'source_ip = toIPv6({value:String})';
  return `${who} AND started_at < fromUnixTimestamp64Milli({through:Int64}, 'UTC')`;
}

/** The key of the person's sums, as they hold it. */
function keyOf({ kind }: Person): string {
  return kind === 'user'
    ? '{value:String}'
    : keySql('source').replaceAll('source_ip', 'toIPv6({value:String})');
}

async function found(
  person: Person,
  throughMs: number,
  config: ForgetConfig,
  clickhouse: ClickHouse,
): Promise<Found> {
  const params = { value: person.value, through: throughMs };
  const where = conditionOf(person);
  const counts = await clickhouse.query({
    sql: TABLES.map(
      (table) => `SELECT '${table}' AS name, count() AS n FROM ${table} WHERE ${where}`,
    ).join(' UNION ALL '),
    params,
    row: z.object({ name: z.string(), n: int64 }),
    timeoutMs: config.timeoutMs,
  });
  const hours = await clickhouse.query({
    sql: `SELECT DISTINCT toUnixTimestamp(hour) AS hour_s FROM (
        SELECT toStartOfHour(started_at) AS hour FROM sessions WHERE ${where}
        UNION ALL SELECT toStartOfHour(assumeNotNull(ended_at)) FROM sessions
          WHERE ${where} AND ended_at IS NOT NULL
        UNION ALL SELECT toStartOfHour(bucket) FROM session_traffic_1m WHERE ${where})
      ORDER BY hour_s LIMIT {limit:UInt32}`,
    params: { ...params, limit: HOURS_MAX },
    row: z.object({ hour_s: int64 }),
    timeoutMs: config.timeoutMs,
  });
  const { topicRetentionMs } = config;
  return {
    rows: Object.fromEntries(counts.map(({ name, n }) => [name, n])),
    hours: hours.map(({ hour_s }) => hour_s),
    topicUntilMs: topicRetentionMs === null ? null : throughMs + topicRetentionMs,
  };
}

/** Hours of a run that ended early. */
async function unfinishedHours(clickhouse: ClickHouse, person: Person): Promise<number[]> {
  const rows = await clickhouse.query({
    sql: `SELECT hours, kind = {kind:String} AND value = {value:String} AS is_theirs
      FROM ingest_forgotten FINAL LIMIT {limit:UInt32}`,
    params: { kind: person.kind, value: person.value, limit: FORGOTTEN_MAX },
    row: z.object({ hours: z.array(int64), is_theirs: z.coerce.number() }),
  });
  const own = rows.find(({ is_theirs }) => is_theirs === 1);
  if (own === undefined && rows.length >= FORGOTTEN_MAX) {
    throw new ForgetError(
      'forget_refused',
      `${FORGOTTEN_MAX} persons are forgotten, the most that ingest remembers; wait until the topic no longer has the events of some`,
    );
  }
  return own?.hours ?? [];
}

/** `rebuild` copies rows into tables that are exchanged later: it would restore deleted rows. */
async function refuseBesideRebuild(clickhouse: ClickHouse): Promise<void> {
  const [row] = await clickhouse.query({
    sql: `SELECT count() AS n FROM system.tables
      WHERE database = currentDatabase() AND endsWith(name, '_rebuild')`,
    params: {},
    row: z.object({ n: int64 }),
  });
  if ((row?.n ?? 0) === 0) return;
  throw new ForgetError(
    'forget_refused',
    'a rebuild runs or was interrupted (tables whose names end in _rebuild). Let it end, or run rebuild again, and then forget',
  );
}

async function serverTimeMs(clickhouse: ClickHouse): Promise<number> {
  const [row] = await clickhouse.query({
    sql: 'SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms',
    params: {},
    row: z.object({ now_ms: int64 }),
  });
  return row?.now_ms ?? 0;
}
