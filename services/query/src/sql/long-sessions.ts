import { z } from 'zod';
import { wireTime } from './columns.js';
import { OPEN_SQL } from './earlier-starts.js';
import { FINAL_SETTINGS, timeSql } from './expressions.js';
import type { Query } from './query.js';

const differenceRow = z.object({ earliest: wireTime.nullable() });

/**
 * The start of the earliest session that only one of `sessions` and `long_sessions` has as open, among those that
 * began before a time; null if they agree. FINAL reads the granules of keys with an open version only.
 */
export function longDifferenceQuery(beforeMs: number): Query<typeof differenceRow> {
  const open = (table: string) => {
    const where = `${OPEN_SQL} AND started_at < ${timeSql('compared_before')}`;
    return `SELECT started_at, session_id FROM ${table} FINAL
          WHERE ${where} AND (started_at, session_id) IN (SELECT started_at, session_id FROM ${table} WHERE ${where})`;
  };
  return {
    name: 'long_difference',
    sql: `SELECT if(count() = 0, NULL, min(started_at)) AS earliest FROM (
        SELECT started_at FROM (
          ${open('sessions')}
          UNION ALL
          ${open('long_sessions')}
        )
        GROUP BY started_at, session_id HAVING count() = 1
      )`,
    params: { compared_before: beforeMs },
    row: differenceRow,
    settings: { ...FINAL_SETTINGS, max_threads: 1 },
  };
}
