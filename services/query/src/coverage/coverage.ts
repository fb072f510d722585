import { DAY_MS, HOUR_MS } from '@sockscope/schemas/sums';
import type { Coverage } from '../sums/plan.js';
import { coverageQuery } from '../sql/coverage.js';
import { remembered } from '../store/remembered.js';
import type { Retention } from '../store/retention.js';
import type { Store } from '../store/store.js';

/**
 * How far back the tables go, in milliseconds since 1970. Expired rows were there once: a table that holds
 * nothing before the first session has lost nothing. Null if nothing is gone.
 */
export interface Kept {
  /** The first session or sum that is known of; null if there is none. */
  readonly firstMs: number | null;
  readonly sessionsGoneMs: number | null;
  /** Expired before this time: minutes of traffic. */
  readonly minutesGoneMs: number | null;
  /** Expired before this time: sums per hour and value of one dimension. */
  readonly hoursGoneMs: number | null;
  /** Expired before this time: sums per hour, user and destination. */
  readonly pairHoursGoneMs: number | null;
}

/** A partition that waits: answers lack its later events. */
export interface WaitingPartition {
  readonly topic: string;
  readonly partition: number;
  readonly kind: string;
  readonly sinceMs: number;
  /** The newest event of it that was stored, milliseconds since 1970; null if there is none. */
  readonly dataUntilMs: number | null;
}

/** Missing data, as answers report it. */
export interface Known extends Kept {
  /** The first session that is kept; null if there is none. */
  readonly sessionsFromMs: number | null;
  /** The newest event of the partition that lags most; null if ingest has read all of this topic to their end. */
  readonly behindMs: number | null;
  readonly waiting: readonly WaitingPartition[];
}

export interface CoverageReader {
  /** The range that the rollups cover, as of at most a second ago. */
  read(): Promise<Coverage & Known>;
}

const REUSE_MS = 1_000;
/** Sums of slices are kept for three days; one is a margin for clocks. */
const SLICES_USED_MS = 2 * DAY_MS;
const NEVER = new AbortController().signal;

export function createCoverageReader(deps: {
  readonly store: Store;
  readonly retention: Retention;
  /** See coverageQuery. */
  readonly toleranceMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}): CoverageReader {
  async function ask(): Promise<Coverage & Known> {
    const [[row], keptFrom] = await Promise.all([
      deps.store.ask(coverageQuery(deps.toleranceMs, deps.now() - SLICES_USED_MS), {
        signal: NEVER,
      }),
      keptFromOf(deps.retention),
    ]);
    const starts = [msOf(row?.sessions_from), msOf(row?.sums_from)].filter((ms) => ms !== null);
    const firstMs = starts.length === 0 ? null : Math.min(...starts);
    const sessionsFromMs = msOf(row?.sessions_from);
    const goneOf = (table: (typeof RETAINED)[number], time: string | null | undefined) => {
      if (firstMs === null) return null;
      // Retention is in whole days; less than that is how the first sessions came.
      const storedMs = msOf(time) ?? firstMs;
      const lostMs = storedMs - firstMs < DAY_MS ? firstMs : storedMs;
      const goneMs = Math.max(lostMs, keptFrom[table] ?? firstMs);
      return goneMs > firstMs ? goneMs : null;
    };
    return {
      rollups: row?.rollups === 1,
      dirty: row?.dirty.map(([span, seconds]) => ({ span, bucketMs: seconds * 1_000 })) ?? [],
      slices: row?.slices.map((seconds) => seconds * 1_000) ?? [],
      newestMs: msOf(row?.newest),
      emptyFromMs: emptyFrom(msOf(row?.newest), msOf(row?.newest_hour)),
      behindMs: msOf(row?.behind),
      firstMs,
      sessionsFromMs:
        sessionsFromMs === null ? null : Math.max(sessionsFromMs, keptFrom.sessions ?? 0),
      sessionsGoneMs: goneOf('sessions', row?.sessions_from),
      minutesGoneMs: goneOf('session_traffic_1m', row?.minutes_from),
      hoursGoneMs: goneOf('rollup_1h', null),
      pairHoursGoneMs: goneOf('rollup_pairs_1h', row?.pair_hours_from),
      waiting:
        row?.waits.map(([topic, partition, kind, since, until]) => ({
          topic,
          partition,
          kind,
          sinceMs: Date.parse(since),
          dataUntilMs: msOf(until) === 0 ? null : msOf(until),
        })) ?? [],
    };
  }

  return {
    read: remembered(ask, REUSE_MS),
  };
}

/**
 * All rows lie before the newest event, unless ingest reads old events again: after `rewind`, or if a backfill comes
 * first after a restart. Then they lie before the end of the newest hour that ever changed.
 */
function emptyFrom(newestMs: number | null, newestHourMs: number | null): number | null {
  if (newestMs === null || newestHourMs === null || newestMs >= newestHourMs) return newestMs;
  return newestHourMs + HOUR_MS;
}

/** The tables whose oldest rows decide how a range is answered. */
const RETAINED = ['sessions', 'session_traffic_1m', 'rollup_1h', 'rollup_pairs_1h'] as const;

/** Returns the time since which each table is shown, milliseconds since 1970; null if its rows do not expire. */
async function keptFromOf(retention: Retention) {
  const kept = await Promise.all(RETAINED.map((table) => retention.keptFrom(table)));
  return Object.fromEntries(RETAINED.map((table, i) => [table, kept[i] ?? null])) as Readonly<
    Record<(typeof RETAINED)[number], number | null>
  >;
}

function msOf(time: string | null | undefined): number | null {
  return time === null || time === undefined ? null : Date.parse(time);
}
