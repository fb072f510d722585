import { loadConfig } from '@sockscope/runtime';
import { describe, expect, it } from 'vitest';
import type { DirtyBucket } from './buckets.js';
import { ALL, choose, pauseMs } from './choose.js';
import type { Pace } from './choose.js';
import { rollupsConfig } from './config.js';

const NOW_MS = Date.parse('2026-03-04T12:30:00Z');
const at = (text: string) => Date.parse(text) / 1_000;
const PACE: Pace = {
  lane: 'others',
  quietMs: 60_000,
  most: { hour: 24, day: 7, week: 4, detail_hour: 24, detail_day: 7 },
};

const PRESENT: Pace = { ...PACE, lane: 'present' };
const DETAILS: Pace = { ...PACE, lane: 'details' };

function dirty(
  span: DirtyBucket['span'],
  bucket: string,
  summedAgoMs: number,
  changedAgoMs = 0,
): DirtyBucket {
  return {
    span,
    bucket: at(bucket),
    summedMs: NOW_MS - summedAgoMs,
    changedMs: NOW_MS - changedAgoMs,
    slices: null,
  };
}

/** The hour that is not over, with slices that changed. */
function presentHour(slices: Readonly<Record<number, number>>): DirtyBucket {
  const ages = Object.entries(slices).map(([slice, summedAgoMs]): [number, number] => [
    Number(slice),
    NOW_MS - summedAgoMs,
  ]);
  return { ...dirty('hour', '2026-03-04T12:00:00Z', 1_000), slices: new Map(ages) };
}

describe('the choice of the buckets that are summed next', () => {
  it('every dirty hour gets its turn, even if others are marked again and again', () => {
    const hours = new Map(
      Array.from({ length: 50 }, (_, i) => [at('2026-03-01T00:00:00Z') + i * 3_600, -i]),
    );
    // All of them change all the time; one is summed in each turn, with the others of its day.
    for (let turn = 0; turn < 3; turn += 1) {
      const buckets = [...hours].map(([bucket, summedMs]): DirtyBucket => ({
        span: 'hour',
        bucket,
        summedMs,
        changedMs: NOW_MS,
        slices: null,
      }));
      for (const start of choose(buckets, NOW_MS, PACE)?.starts ?? []) hours.set(start, NOW_MS);
    }
    expect(new Set(hours.values())).toEqual(new Set([NOW_MS]));
  });

  it('the newest slices of the present hour wait for nothing, and earlier ones take turns with the other buckets', () => {
    const older = dirty('hour', '2026-03-03T01:00:00Z', 60_000);
    const chosen = (lane: Pace['lane'], buckets: readonly DirtyBucket[]) =>
      choose(buckets, NOW_MS, { ...PACE, lane });
    // At half past twelve the slice from 12:20 to 12:30 is still new.
    const both = presentHour({ 3: 5_000, 2: 5_000, 1: 90_000, 0: 10_000 });
    expect(chosen('present', [older, both])).toMatchObject({ part: 'newest' });
    expect(chosen('others', [older, both])).toMatchObject({
      part: 'earlier',
      starts: [both.bucket],
    });
    const soon = presentHour({ 3: 5_000, 1: 50_000 });
    expect(chosen('others', [older, soon])).toMatchObject({ part: null, starts: [older.bucket] });
    expect(chosen('present', [presentHour({ 1: 50_000 })])).toBeNull();
    expect(chosen('others', [presentHour({ 3: 50_000, 2: 50_000 })])).toBeNull();
    // No slice has changed since: the hour and the day contain it at once if there is little to sum.
    expect(chosen('others', [presentHour({})])).toMatchObject({ part: null, isPresent: true });
    expect(chosen('present', [presentHour({})])).toBeNull();
    // All of it, as the command does.
    expect(choose([both], NOW_MS, { ...PACE, lane: 'all' })).toMatchObject({ part: null });
  });

  it('a present hour of which a change names no slice is alone in its lane, so it waits for no other bucket', () => {
    const older = dirty('hour', '2026-03-03T01:00:00Z', 90_000_000);
    const present = dirty('hour', '2026-03-04T12:00:00Z', 1_000);
    const chosen = (lane: Pace['lane'], buckets: readonly DirtyBucket[]) =>
      choose(buckets, NOW_MS, { ...PACE, lane });
    expect(chosen('present', [older, present])).toMatchObject({
      isPresent: true,
      starts: [present.bucket],
    });
    expect(chosen('present', [older])).toBeNull();
    expect(chosen('others', [older, present])).toMatchObject({
      isPresent: false,
      starts: [older.bucket],
    });
    expect(chosen('others', [present])).toBeNull();
    // Its sums are of the future: the clock was set back.
    const future = dirty('hour', '2026-03-04T12:00:00Z', -5_000);
    expect(chosen('present', [future])).toMatchObject({ isPresent: true });
  });

  it('a day waits for its hours and a week for both', () => {
    const hour = dirty('hour', '2026-03-03T01:00:00Z', 1_000);
    const day = dirty('day', '2026-03-03T00:00:00Z', 90_000_000);
    const week = dirty('week', '2026-03-02T00:00:00Z', 90_000_000);
    expect(choose([week, day, hour], NOW_MS, PACE)).toMatchObject({ span: 'hour' });
    expect(choose([week, day], NOW_MS, PACE)).toMatchObject({ span: 'day' });
    expect(choose([week], NOW_MS, PACE)).toMatchObject({ span: 'week' });
  });

  it('details are in a lane of their own, so no other sums wait for them', () => {
    const detail = dirty('detail_hour', '2026-03-03T01:00:00Z', 90_000_000);
    const hour = dirty('hour', '2026-03-03T01:00:00Z', 1_000);
    const chosen = (lane: Pace['lane']) => choose([detail, hour], NOW_MS, { ...PACE, lane });
    expect(chosen('details')).toMatchObject({ span: 'detail_hour' });
    expect(chosen('others')).toMatchObject({ span: 'hour' });
    expect(chosen('present')).toBeNull();
  });

  it('details wait until their hour is over and quiet, but not permanently', () => {
    const detail = (bucket: string, summedAgoMs: number, changedAgoMs: number) =>
      choose([dirty('detail_hour', bucket, summedAgoMs, changedAgoMs)], NOW_MS, DETAILS);
    expect(detail('2026-03-04T12:00:00Z', 9e9, 9e9)).toBeNull();
    expect(detail('2026-03-04T10:00:00Z', 100_000, 59_000)).toBeNull();
    expect(detail('2026-03-04T10:00:00Z', 100_000, 60_000)).not.toBeNull();
    expect(detail('2026-03-04T10:00:00Z', 900_000, 0)).not.toBeNull();
  });

  it('details wait for half an hour at most while other sums are behind, also if another worker makes them', () => {
    const busyAgeMs = 12_000;
    const chosen = (buckets: readonly DirtyBucket[], pace = DETAILS) =>
      choose(buckets, NOW_MS, { ...pace, busyAgeMs }, { workers: 2, places: [1] });
    const old = presentHour({ 2: 13_000, 3: 5_000 });
    const due = (bucket: string, summedAgoMs: number) =>
      chosen([old, dirty('detail_hour', bucket, summedAgoMs, 60_000)]);
    const detail = dirty('detail_hour', '2026-03-04T09:00:00Z', 900_000, 60_000);
    // The present hour is another worker's.
    expect(chosen([presentHour({ 2: 13_000 })], PRESENT)).toBeNull();
    expect(chosen([presentHour({ 2: 12_000, 3: 5_000 }), detail])).not.toBeNull();
    expect(chosen([dirty('hour', '2026-03-04T12:00:00Z', 13_000), detail])).toBeNull();
    // Earlier slices and hours count too, but no hours of an import.
    expect(chosen([presentHour({ 0: 60_000, 3: 5_000 }), detail])).toBeNull();
    expect(chosen([dirty('hour', '2026-03-04T11:00:00Z', 60_000), detail])).toBeNull();
    expect(chosen([dirty('hour', '2026-03-04T11:00:00Z', NOW_MS), detail])).not.toBeNull();
    expect(due('2026-03-04T09:00:00Z', 1_799_000)).toBeNull();
    expect(due('2026-03-04T09:00:00Z', 1_800_000)).not.toBeNull();
    // Summed before the clock was set back.
    expect(due('2026-03-04T09:00:00Z', -3_600_000)).not.toBeNull();
    // Never summed: it waits since its end.
    expect(due('2026-03-04T09:00:00Z', NOW_MS)).not.toBeNull();
    const hour = dirty('hour', '2026-03-04T09:00:00Z', 5_000);
    expect(chosen([old, hour], PACE)).not.toBeNull();
  });

  it('hours of one day are summed together', () => {
    const hours = ['2026-03-02T01:00:00Z', '2026-03-02T05:00:00Z', '2026-03-03T01:00:00Z'];
    const group = choose(
      hours.map((hour, i) => dirty('hour', hour, 1_000 * (9 - i))),
      NOW_MS,
      PACE,
    );
    expect(group?.starts).toEqual([at('2026-03-02T01:00:00Z'), at('2026-03-02T05:00:00Z')]);
    expect(group?.left).toBe(1);
  });

  it('days of a long import are summed together, as many as a round is worth and no more', () => {
    const days = Array.from({ length: 60 }, (_, i) =>
      dirty('day', new Date(Date.parse('2025-12-01') + i * 86_400_000).toISOString(), 1_000 * i),
    );
    const starts = choose(days, NOW_MS, PACE)?.starts ?? [];
    expect(starts).toEqual(days.slice(-7).map(({ bucket }) => bucket));
    const most = { ...PACE.most, day: 1_000 };
    expect(choose(days, NOW_MS, { ...PACE, most })?.starts).toHaveLength(60);
  });

  it('hours far apart are not summed together: a statement would read all that lies between', () => {
    const hours = Array.from({ length: 60 }, (_, i) =>
      dirty('hour', new Date(Date.parse('2025-12-01') + i * 90_000_000).toISOString(), 1_000 * i),
    );
    expect(choose(hours, NOW_MS, PACE)?.starts).toHaveLength(1);
  });

  it('several workers share the hours of a day, and a day waits for the hours of all of them', () => {
    const hours = Array.from({ length: 24 }, (_, i) =>
      dirty('hour', `2026-03-02T${String(i).padStart(2, '0')}:00:00Z`, 1_000),
    );
    const day = dirty('day', '2026-03-02T00:00:00Z', 90_000_000);
    const starts = [[0], [1, 2], []].map(
      (places) => choose([day, ...hours], NOW_MS, PACE, { workers: 3, places })?.starts ?? [],
    );
    expect(starts.map(({ length }) => length)).toEqual([8, 16, 0]);
    expect(new Set(starts.flat()).size).toBe(24);
    const last = hours.slice(-1);
    for (const place of [0, 1, 2]) {
      const share = { workers: 3, places: [place] };
      expect(choose([day, ...last], NOW_MS, PACE, share)?.span ?? 'hour').toBe('hour');
    }
    expect(choose([day, ...last], NOW_MS, PACE, ALL)?.span).toBe('hour');
  });
});

describe('the pause between two rounds of sums', () => {
  const config = loadConfig(rollupsConfig, {
    INGEST_ROLLUP_INTERVAL: '5s',
    INGEST_ROLLUP_SHARE: '50',
    INGEST_ROLLUP_PRESENT_SHARE: '25',
    INGEST_ROLLUP_PRESENT_AGE: '25s',
  });

  it('leaves the present hour its share of the time, but ends before its sums are too old', () => {
    // Cheap rounds: their starts are an interval apart.
    expect(pauseMs(config, 'present', 0)).toBe(5_000);
    expect(pauseMs(config, 'present', 1_000)).toBe(4_000);
    // A quarter of the time.
    expect(pauseMs(config, 'present', 4_000)).toBe(12_000);
    // Two rounds and the pause are as long as the sums may be old.
    expect(pauseMs(config, 'present', 10_000)).toBe(5_000);
    // A busy server makes rounds long, and must not get busier.
    expect(pauseMs(config, 'present', 30_000)).toBeCloseTo(10_000);
  });

  it('leaves the others their share of the time', () => {
    expect(pauseMs(config, 'others', 0)).toBe(5_000);
    expect(pauseMs(config, 'others', 1_000)).toBe(1_000);
    // A round that waited for the present hour makes the next one wait no longer than this.
    expect(pauseMs(config, 'others', 120_000)).toBe(30_000);
  });
});
