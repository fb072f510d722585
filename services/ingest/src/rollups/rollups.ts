/**
 * Keeps the sums fresh: chooses dirty buckets and sums them, round by round. See round.ts for why the sums
 * cannot be wrong.
 *
 * Guarantees: every dirty bucket gets its turn, because the bucket with the oldest sums comes first, and one that
 * failed waits for a minute. The newest slices never wait for another bucket, because they have a lane of their own.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '@sockscope/runtime';
import type { Component } from '@sockscope/runtime';
import { SPANS } from '@sockscope/schemas/sums';
import type { BucketSpan } from '@sockscope/schemas/sums';
import { changedHours } from './buckets.js';
import type { DirtyBucket } from './buckets.js';
import { choose, LANES, pauseMs } from './choose.js';
import type { Group, Lane, Share } from './choose.js';
import type { RollupsConfig } from './config.js';
import { createLostCheck } from './lost-check.js';
import { createRunningTime } from './statement.js';
import type { RunningTime } from './statement.js';
import { BRIEF_MS, createSummer } from './summer.js';
import type { SummerDeps } from './summer.js';

const LOST_CHECK_INTERVAL_MS = 60_000;
/** After a failure others get their turn before a bucket is tried again. */
const POSTPONED_MS = 60_000;

/**
 * Right after a round, the sums of the last minutes are as old as the round took: on a busy server never younger than
 * this part of their highest age. Elsewhere they are for seconds after each round, and details begin then.
 */
const BUSY_SHARE = 1 / 4;

const nameOf = (span: BucketSpan, bucket: number) => `${span} ${bucket}`;

export interface Rollups extends Component {
  /**
   * Sums everything that is dirty, whether it is due or not, each bucket once.
   *
   * @param onProgress receives the number of summed and of dirty buckets.
   */
  sumAll(onProgress?: (done: number, left: number) => void): Promise<void>;
  /** Sums one group of buckets of a lane that is due. @returns the buckets; null if none is due. */
  sumNext(lane: Lane): Promise<Group | null>;
}

export interface RollupsDeps extends SummerDeps {
  /** The buckets that this process sums. It is harmless if two processes sum the same one for a while. */
  readonly share: () => Share;
}

export function createRollups(config: RollupsConfig, deps: RollupsDeps): Rollups {
  const { clickhouse, logger, metrics } = deps;
  const ending = new AbortController();
  const { signal } = ending;
  const running: Record<Lane, RunningTime> = {
    present: createRunningTime(),
    others: createRunningTime(),
    details: createRunningTime(),
  };
  const summerOf = (lane: Lane) => createSummer(config, deps, { lane, running }, signal);
  const summers = {
    present: summerOf('present'),
    others: summerOf('others'),
    details: summerOf('details'),
  };
  const { buckets } = summers.others;
  const lost = createLostCheck(clickhouse, (hours) => buckets.mark(changedHours(hours)), {
    timeoutMs: BRIEF_MS,
    signal,
  });
  /** Ends of the wait of buckets that failed, by the clock of `performance`. */
  const postponed = new Map<string, number>();
  let lostCheckedAtMs = Number.NEGATIVE_INFINITY;
  let loops: Promise<unknown> | null = null;

  async function sumNext(lane: Lane): Promise<Group | null> {
    const { nowMs, buckets: dirty } = await buckets.dirty(lane);
    if (lane === 'others') report(nowMs, dirty);
    const summer = summers[lane];
    const busyAgeMs = config.present_age_ms * BUSY_SHARE;
    const pace = { lane, most: summer.most, quietMs: config.quiet_ms, busyAgeMs };
    const turn = lane === 'present' ? dirty : dirty.filter((bucket) => !isPostponed(bucket));
    const group = choose(turn, nowMs, pace, deps.share());
    if (group === null) return null;
    try {
      await summer.sum(group);
    } catch (error) {
      const untilMs = performance.now() + POSTPONED_MS;
      for (const start of group.starts) postponed.set(nameOf(group.span, start), untilMs);
      throw error;
    }
    return group;
  }

  function isPostponed({ span, bucket }: DirtyBucket): boolean {
    const name = nameOf(span, bucket);
    const isStill = (postponed.get(name) ?? 0) > performance.now();
    if (!isStill) postponed.delete(name);
    return isStill;
  }

  async function sumAll(onProgress?: (done: number, left: number) => void): Promise<void> {
    while (await lost.check());
    // Hours that a running ingest marks during this do not count: it would never end.
    const summed = new Set<string>();
    const summer = summers.others;
    for (;;) {
      const { nowMs, buckets: dirty } = await buckets.dirty('all');
      const left = dirty.filter(({ span, bucket }) => !summed.has(nameOf(span, bucket)));
      const group = choose(left, nowMs, { lane: 'all', most: summer.most, quietMs: 0 });
      if (group === null) return;
      await summer.sum(group);
      for (const start of group.starts) summed.add(nameOf(group.span, start));
      onProgress?.(summed.size, group.left);
    }
  }

  function report(nowMs: number, dirty: readonly DirtyBucket[]): void {
    const hours = dirty.filter(({ span }) => span === 'hour');
    for (const span of SPANS) {
      const waiting = dirty.filter((bucket) => bucket.span === span).length;
      metrics.dirtyBuckets.set({ span }, waiting);
    }
    const fresh = hours.reduce((ms, { summedMs }) => Math.min(ms, summedMs), nowMs);
    metrics.freshSeconds.set(fresh / 1_000);
  }

  async function checkLost(): Promise<void> {
    const nowMs = performance.now();
    if (!deps.share().places.includes(0) || nowMs - lostCheckedAtMs < LOST_CHECK_INTERVAL_MS)
      return;
    await lost.check();
    lostCheckedAtMs = nowMs;
  }

  async function loop(lane: Lane): Promise<void> {
    let tookMs = 0;
    while (!signal.aborted) {
      await delay(pauseMs(config, lane, tookMs), undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      tookMs = 0;
      if (deps.share().places.length === 0) continue;
      const begunMs = performance.now();
      try {
        if (lane === 'others') await checkLost();
        if ((await sumNext(lane)) !== null) tookMs = performance.now() - begunMs;
      } catch (error) {
        if (signal.aborted) return;
        tookMs = performance.now() - begunMs;
        metrics.failures.inc();
        logger.error(
          { err: error },
          `a round of sums failed and will be repeated: ${messageOf(error)}`,
        );
      }
    }
  }

  return {
    sumNext,
    sumAll,
    start() {
      loops ??= Promise.all(LANES.map(loop));
    },
    async stop() {
      ending.abort();
      await loops;
    },
  };
}
