/** Compares the sums with the tables that they are made from, over the hours of a topic's sessions. */
import { setTimeout as delay } from 'node:timers/promises';
import { int64 } from '@sockscope/runtime/clickhouse';
import { z } from 'zod';
import { createBuckets } from '../rollups/buckets.js';
import { findRollupDifferences } from '../rollups/compare.js';
import { dayOf, weekOfS } from '../rollups/expiry.js';
import { kept, LOOKS } from './verify-report.js';
import type { Comparing, Verification } from './verify-report.js';

export async function compareSums({
  clickhouse,
  config,
  topic,
  call,
}: Comparing): Promise<Pick<Verification, 'rollupRows' | 'dirtyHours'>> {
  /** Buckets whose sums cannot be compared, because they are dirty or were meanwhile, as `span start`. */
  const changing = new Set<string>();
  const buckets = createBuckets(clickhouse, { timeoutMs: config.timeoutMs });
  const hours = await clickhouse.query({
    sql: `SELECT DISTINCT toUnixTimestamp(toStartOfHour(started_at)) AS hour FROM ${topic}
      WHERE ${kept(config.retention.sessions)} ORDER BY hour`,
    row: z.object({ hour: int64 }),
    ...call,
  });
  const byWeek = new Map<number, number[]>();
  for (const { hour } of hours) {
    const week = weekOfS(hour);
    byWeek.set(week, [...(byWeek.get(week) ?? []), hour]);
  }
  let rollupRows = 0;
  for (const each of byWeek.values()) rollupRows += await compareWeek(each);
  const dirtyHours = [...changing].filter((name) => name.startsWith('hour ')).length;
  return { rollupRows, dirtyHours };

  /** Sums of a week that differ at several looks, of buckets that nothing changed meanwhile. */
  async function compareWeek(hoursOfWeek: readonly number[]): Promise<number> {
    for (let looks = 1; ;) {
      // Every turn is a look, or finds a bucket more that changes.
      await readMarks();
      const known = changing.size;
      const found = await findRollupDifferences(clickhouse, hoursOfWeek, {
        retention: config.retention,
        dirty: withCoarser(changing),
        timeoutMs: config.timeoutMs,
      });
      const rows = found.reduce((sum, each) => sum + each.rows, 0);
      if (rows === 0) return 0;
      await readMarks();
      if (changing.size > known) continue;
      if (looks === LOOKS) return rows;
      looks += 1;
      // The marks of a batch come after its rows.
      await delay(config.recheckMs);
    }
  }

  /** Adds the dirty buckets to the changing ones. */
  async function readMarks(): Promise<void> {
    for (const { span, bucket } of (await buckets.dirty()).buckets)
      changing.add(`${span} ${bucket}`);
  }
}

/** A day whose hours are dirty cannot be compared either, nor can its week. */
function withCoarser(names: ReadonlySet<string>): Set<string> {
  const all = new Set(names);
  for (const name of names) {
    const [span = '', start = ''] = name.split(' ');
    const detail = span.startsWith('detail_') ? 'detail_' : '';
    all.add(`${detail}day ${dayOf(Number(start))}`);
    all.add(`week ${weekOfS(Number(start))}`);
  }
  return all;
}
