import { z } from 'zod';
import { int64 } from './columns.js';
import { FINAL_SETTINGS } from './expressions.js';
import type { Query } from './query.js';

const rateRow = z.object({ key: z.string(), sessions: int64 });

/** Days of sums that the rates are made from. */
export const RATE_DAYS = 3;

/** The busiest users or destinations of the last days that sums were made of, with their sessions. */
export function ratesQuery(
  dimension: 'user' | 'destination',
  limit: number,
): Query<typeof rateRow> {
  return {
    name: `rates_${dimension}`,
    sql: `SELECT key, sum(sessions_started) AS sessions
      FROM rollup_1d FINAL
      WHERE dimension = {dimension:String} AND bucket > (
        SELECT max(bucket) FROM rollup_1d WHERE dimension = 'total'
      ) - toIntervalDay({days:UInt32})
      GROUP BY key HAVING sessions > 0 ORDER BY sessions DESC LIMIT {limit:UInt32}`,
    params: { dimension, days: RATE_DAYS, limit },
    row: rateRow,
    settings: { ...FINAL_SETTINGS, max_threads: 1 },
  };
}
