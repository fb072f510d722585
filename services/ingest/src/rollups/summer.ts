/**
 * Sums groups of buckets. Each statement has a limit of time and of memory; work that exceeds it is cut into
 * smaller statements. See round.ts for why the sums cannot be wrong.
 */
import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { SLICE_MS, SPAN_MS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { createBuckets, sliceStart } from './buckets.js';
import type { Buckets, Change, Finished, SeenChange, SeenSlice } from './buckets.js';
import { LANES } from './choose.js';
import type { Group, Lane } from './choose.js';
import type { RollupsConfig } from './config.js';
import { dayOf, plansOf, readWholeSince, weekOfS } from './expiry.js';
import type { Plan, SourceRetention } from './expiry.js';
import type { RollupMetrics } from './metrics.js';
import { boundsOf, pair } from './pair-bounds.js';
import type { Pair, Range } from './pair-bounds.js';
import { ROUND, ROUND_OF_SLICES, runRound } from './round.js';
import {
  LATE_SLICES_MAX,
  maybeInUse,
  mayHaveSlices,
  NOTHING_EXPIRED,
  partOf,
  runsOf,
  SlicesTooMuchError,
} from './slices.js';
import type { SlicePart } from './slices.js';
import {
  detailPartsOf,
  HOUR_OF_SLICES,
  insertSketches,
  insertSums,
  partsOf,
  samplePairs,
  SLICE,
} from './sql.js';
import type { SumSpan } from './sql.js';
import { isTooLong, isTooMuch, runStatement } from './statement.js';
import type { RoundStatement, RunningTime, StatementLimits } from './statement.js';

/** Deadline of statements that read or write a few rows. */
export const BRIEF_MS = 60_000;
/** Beyond 2^14 slices of a dimension, or 2^16 of pairs, a statement that takes too long has another reason. */
const CUT_MAX = 16;
/**
 * A part of the keys reads all rows, so on a busy server finer parts make a statement little faster, and all of them
 * slower. A part of pairs takes half of the time of four if it is one of sixteen.
 */
const CUT_FOR_TIME_MAX = 2;
/** Factor of time for a statement that is not cut further. Without it a busy server would end it again and again. */
const PATIENCE = 4;
/** See StatementLimits. */
const priorityOf = (lane: Lane) => 1 + LANES.indexOf(lane);
/** Statements that take this much less than they may are cut less the next time. */
const EASY_FACTOR = 8;
/**
 * Part of a statement's time. If statements of earlier lanes ran for this part, it waited for them (see
 * `priorityOf`). That is no reason to cut it: it is repeated with more time.
 */
const WAITED_SHARE = 1 / 4;
/** Buckets that are summed together: at first, and at most. */
const TOGETHER: Readonly<Record<BucketSpan, number>> = {
  hour: 24,
  day: 7,
  week: 4,
  detail_hour: 24,
  detail_day: 7,
};
const TOGETHER_MAX = 1_024;
/** Factor by which the next group is smaller if one was too much for a statement. */
const TOGETHER_LESS = 8;

/** Whether a statement is cut into ranges of pairs. */
function isDetailed(span: SumSpan): span is 'detail_hour' | 'detail_day' {
  return span === 'detail_hour' || span === 'detail_day';
}

/**
 * The finest cut of a statement that took too long. Only parts of a day of pairs read little more than themselves,
 * and so does a slice that is made alone.
 */
function cutForTimeMax(span: SumSpan): number {
  if (span === 'slice') return 1;
  return span === 'detail_day' ? CUT_MAX : CUT_FOR_TIME_MAX;
}

/** Sums one group at a time. What was too much is remembered, so those that do other work have one of their own. */
export interface Summer {
  /** Its draws and marks have a writer of their own, so two of one process never share a version. */
  readonly buckets: Buckets;
  /** Buckets that it sums together at most. */
  readonly most: Readonly<Record<BucketSpan, number>>;
  /** Work that is too much for one statement is cut finer the next time; single buckets first. */
  sum(group: Group): Promise<void>;
}

export interface SummerDeps {
  readonly clickhouse: ClickHouse;
  readonly retention: SourceRetention;
  readonly logger: Logger;
  readonly metrics: RollupMetrics;
}

/** Statements of a lane go before those of later ones. */
export interface LaneOfSums {
  readonly lane: Lane;
  /** The time of each lane's statements: one for all summers. */
  readonly running: Readonly<Record<Lane, RunningTime>>;
}

export function createSummer(
  config: RollupsConfig,
  deps: SummerDeps,
  { lane, running }: LaneOfSums,
  signal: AbortSignal,
): Summer {
  const { clickhouse, logger, metrics } = deps;
  const brief = { timeoutMs: BRIEF_MS, signal };
  const buckets = createBuckets(clickhouse, brief);
  /** Number of statements for each kind of bucket; see partsOf. */
  const cuts = new Map<SumSpan, number>();
  /** The longest statement of the present group for each kind of bucket, milliseconds. */
  const longestMs = new Map<SumSpan, number>();
  const most = { ...TOGETHER };
  const threads = lane === 'present' ? config.present_threads : config.threads;
  const nice = lane === 'present' ? config.present_nice : 0;
  const usual = { ...config, threads, nice, priority: priorityOf(lane) };
  const patient = { ...usual, statement_ms: PATIENCE * config.statement_ms };
  /** Whether the statement that failed last had waited. */
  let hasWaited = false;
  /** Whether every statement of the group gets more time. */
  let isPatient = false;

  /** The time of the statements that this lane's wait for. */
  const earlierLanesMs = () =>
    LANES.slice(0, LANES.indexOf(lane)).reduce((ms, each) => ms + running[each].ms(), 0);

  async function execute(statement: RoundStatement, limits: StatementLimits): Promise<void> {
    const beforeMs = earlierLanesMs();
    try {
      await running[lane].during(() => runStatement(clickhouse, statement, limits, signal));
    } catch (error) {
      const waitedMs = earlierLanesMs() - beforeMs;
      hasWaited = waitedMs >= limits.statement_ms * WAITED_SHARE;
      throw error;
    }
  }

  /** Pairs of some buckets in their order, evenly spaced. */
  function pairsOf(span: 'detail_hour' | 'detail_day', params: Range): Promise<Pair[]> {
    return clickhouse.query({ sql: samplePairs(span), params: { ...params }, row: pair, ...brief });
  }

  /** Inserts the sums of some buckets under a version. */
  async function insertAll(group: Group, version: string, hour: number | null): Promise<void> {
    const { span, starts } = group;
    // Looked at again: from here on, who leaves the slices draws a higher version.
    if (hour !== null && (await buckets.slices(hour)).isComplete) {
      const plan = { target: HOUR_OF_SLICES, expired: NOTHING_EXPIRED, starts };
      return insertPlan(span, plan, version);
    }
    const whole = await readWholeSince(clickhouse, { ...deps.retention }, brief);
    for (const plan of plansOf(span, starts, whole)) await insertPlan(span, plan, version);
  }

  /** Inserts the sums of buckets that are made from the same tables. */
  async function insertPlan(span: SumSpan, plan: Plan, version: string): Promise<void> {
    const { target, expired, starts } = plan;
    const from = Math.min(...starts);
    const to = Math.max(...starts) + (span === 'slice' ? SLICE_MS : SPAN_MS[span]) / 1_000;
    const params = { buckets: starts, from, to, version };
    const name = `sum-${span}-${from}`;
    const isDetail = isDetailed(span);
    const cut = cuts.get(span) ?? 0;
    // The first cut of slices makes them one by one.
    const parts = isDetail
      ? detailPartsOf(cut)
      : partsOf(Math.max(0, span === 'slice' ? cut - 1 : cut));
    const pairs = isDetail && cut > 0 ? await pairsOf(span, { from, to }) : [];
    for (const part of parts) {
      const { slice, slices } = part;
      const sql = insertSums(target, part, expired, starts.length === 1);
      const sliced = { slice, slices, ...boundsOf(pairs, part) };
      const begunMs = performance.now();
      const limits = cut < cutForTimeMax(span) && !isPatient ? usual : patient;
      await execute({ name, sql, params: { ...params, ...sliced } }, limits);
      longestMs.set(span, Math.max(longestMs.get(span) ?? 0, performance.now() - begunMs));
    }
    if (!isDetail) return;
    try {
      await execute({ name, sql: insertSketches(span, expired), params }, patient);
    } catch (error) {
      throw isTooMuch(error) ? new SketchesTooMuchError(messageOf(error), { cause: error }) : error;
    }
  }

  /**
   * A database that was slow for a while is no reason to split statements permanently. Called for a group that is
   * finished: a light statement would else take back the cut of a heavy one that follows, for ever.
   */
  function cutLess(): void {
    for (const [span, ms] of longestMs) {
      const cut = cuts.get(span) ?? 0;
      if (ms * EASY_FACTOR >= config.statement_ms) continue;
      if (cut <= 1) cuts.delete(span);
      else cuts.set(span, cut - 1);
    }
  }

  /** Decides how a group is made. @returns the hour that is to be made from slices, or null; then nobody may. */
  async function chooseSource({ span, starts, isPresent, nowMs }: Group): Promise<number | null> {
    const [hour = 0] = starts;
    if (span !== 'hour') return null;
    if (starts.length === 1) {
      const { changes, isComplete } = await buckets.slices(hour);
      if (!isComplete) return null;
      const changed = new Set(changes.map(({ slice }) => slice)).size;
      const isCheap = isPresent || changed <= LATE_SLICES_MAX;
      const whole = await readWholeSince(clickhouse, { ...deps.retention }, brief);
      if (isCheap && mayHaveSlices(hour, nowMs, whole)) return hour;
    }
    await buckets.leaveSlices(maybeInUse(starts, nowMs));
    return null;
  }

  async function insertSlices(
    hour: number,
    slices: readonly number[],
    version: string,
  ): Promise<void> {
    const runs = cuts.has('slice') ? slices.map((slice) => [slice]) : runsOf(slices);
    for (const run of runs) {
      const starts = run.map((slice) => sliceStart(hour, slice));
      const plan = { target: SLICE, expired: NOTHING_EXPIRED, starts };
      try {
        await insertPlan('slice', plan, version);
      } catch (error) {
        if (!isTooMuch(error)) throw error;
        const wasAlone = slices.length === 1;
        throw new SlicesTooMuchError(messageOf(error), { cause: error, wasAlone });
      }
    }
  }

  /** The buckets that are made from these. */
  function coarserOf({ span, starts }: Group): Change[] {
    switch (span) {
      case 'hour':
        return unique(starts.map(dayOf)).map((day) => ['day', day]);
      case 'day':
        return unique(starts.map(weekOfS)).map((week) => ['week', week]);
      case 'detail_hour':
        return unique(starts.map(dayOf)).map((day) => ['detail_day', day]);
      case 'week':
      case 'detail_day':
        return [];
    }
  }

  /** The steps for the slices of the hour that `chosen` selects; `hour` is null if it is made from its rows. */
  function stepsOfSlices(nowMs: number, chosen: (slices: number[]) => number[]) {
    let hour: number | null = null;
    let seen: readonly SeenSlice[] = [];
    let finished: Finished = { version: '', begunMs: null };
    let slices: number[] = [];
    return {
      hour: () => hour,
      async read(from: number | null) {
        const read = from === null ? null : await buckets.slices(from);
        if (read?.isComplete !== true) return;
        hour = from;
        const changed = unique(read.changes.map(({ slice }) => slice));
        slices = chosen(changed);
        seen = read.changes.filter(({ slice }) => slices.includes(slice));
        finished = { ...finished, begunMs: slices.length === changed.length ? nowMs : null };
      },
      steps: {
        async draw_slices() {
          if (hour === null || slices.length === 0) return;
          finished = { ...finished, version: await buckets.drawVersion('hour', [hour]) };
        },
        async insert_slices() {
          if (hour !== null) await insertSlices(hour, slices, finished.version);
        },
        async finish_slices() {
          if (hour !== null && slices.length > 0)
            await buckets.finishSlices(hour, slices, finished);
        },
        async settle_slices() {
          if (hour !== null) await buckets.settleSlices(hour, seen);
        },
      },
    };
  }

  /** One round over slices of the present hour. @returns whether it could be made from slices. */
  async function sumSlices(part: SlicePart, hour: number, nowMs: number): Promise<boolean> {
    const whole = await readWholeSince(clickhouse, { ...deps.retention }, brief);
    if (!mayHaveSlices(hour, nowMs, whole)) return false;
    const slices = stepsOfSlices(nowMs, (changed) => partOf(part, hour, changed, nowMs));
    await runRound(ROUND_OF_SLICES, { read_marks: () => slices.read(hour), ...slices.steps });
    return slices.hour() !== null;
  }

  /** One round over a group of buckets, which are summed together under one version. */
  async function sumWhole(group: Group): Promise<void> {
    const { span, starts } = group;
    let seen: SeenChange[] = [];
    /** Null if the group is made from rows. */
    let hour: number | null = null;
    const slices = stepsOfSlices(group.nowMs, (changed) => changed);
    let version = '';
    await runRound(ROUND, {
      async leave_slices() {
        hour = await chooseSource(group);
      },
      async read_marks() {
        seen = await buckets.changes(span, starts);
        // Later than the marks of the hour: each of them has its slices among these.
        await slices.read(hour);
      },
      ...slices.steps,
      async draw_version() {
        version = await buckets.drawVersion(span, starts);
      },
      insert_sums: () => insertAll(group, version, slices.hour()),
      finish: () => buckets.finish(span, starts, { version, begunMs: group.nowMs }),
      mark_coarser: () => buckets.mark(coarserOf(group)),
      settle: () => buckets.settle(span, seen),
    });
  }

  async function sum(group: Group): Promise<void> {
    const { span, starts, part, nowMs } = group;
    const [hour = 0] = starts;
    const begunMs = performance.now();
    longestMs.clear();
    const isPart = part !== null && (await sumSlices(part, hour, nowMs));
    if (!isPart) await sumWhole(group);
    const tookMs = performance.now() - begunMs;
    cutLess();
    // A round has a fixed cost, even if there is little to sum.
    if (starts.length >= most[span] && tookMs * EASY_FACTOR < config.statement_ms) {
      most[span] = Math.min(TOGETHER_MAX, most[span] * 2);
    }
    const kind = { span: isPart ? 'slice' : span };
    metrics.buckets.inc(kind, starts.length);
    metrics.seconds.observe(kind, tookMs / 1_000);
  }

  async function sumInTime(group: Group): Promise<void> {
    try {
      await sum(group);
    } catch (error) {
      const isOfSlices = error instanceof SlicesTooMuchError;
      const isOfSketches = error instanceof SketchesTooMuchError;
      const cause = isOfSlices || isOfSketches ? error.cause : error;
      if (!isTooMuch(cause) || signal.aborted) throw error;
      if (isTooLong(cause) && hasWaited && !isPatient) {
        isPatient = true;
        await sumInTime(group).finally(() => {
          isPatient = false;
        });
        return;
      }
      if (group.starts.length > 1) {
        most[group.span] = Math.max(1, Math.floor(group.starts.length / TOGETHER_LESS));
        for (const start of group.starts) await sumInTime({ ...group, starts: [start] });
        return;
      }
      if (isOfSketches) throw error;
      const span = isOfSlices ? 'slice' : group.span;
      const cut = cuts.get(span) ?? 0;
      if (cut >= (isTooLong(cause) ? cutForTimeMax(span) : CUT_MAX)) throw error;
      // A slice that was alone has nothing to be parted from.
      const isAlone = isOfSlices && error.wasAlone && cut === 0;
      const next = isAlone && !isTooLong(cause) ? 2 : cut + 1;
      cuts.set(span, next);
      logger.warn(
        { span, bucket: new Date((group.starts[0] ?? 0) * 1_000), cut: next },
        'a bucket is too large for one statement and is summed in parts',
      );
      await sumInTime(group);
    }
  }

  return { buckets, most, sum: sumInTime };
}

/** Sketches are made in one statement, so a cut of the pairs does not help. */
class SketchesTooMuchError extends Error {}

function unique(values: readonly number[]): number[] {
  return [...new Set(values)];
}
