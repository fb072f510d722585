import { z } from 'zod';
import { wireTime } from './columns.js';
import { OPEN_SQL } from './earlier-starts.js';
import { FINAL_SETTINGS, timeSql } from './expressions.js';
import type { Query } from './query.js';

const differenceRow = z.object({ earliest: wireTime.nullable() });

/** Counters of one table may be older than the other's by this much: a batch is inserted into one after the other. */
const BEHIND_MAX_S = 300;

/**
 * The start of the earliest session that only one of `sessions` and `long_sessions` has as open, or with much newer
 * events, among those that began before a time; null if they agree. FINAL reads the granules of keys with an open
 * version only.
 */
export function longDifferenceQuery(beforeMs: number): Query<typeof differenceRow> {
  const open = (table: string) => {
    const where = `${OPEN_SQL} AND started_at < ${timeSql('compared_before')}`;
    return `SELECT started_at, session_id, updated_at FROM ${table} FINAL
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
        GROUP BY started_at, session_id
        HAVING count() = 1 OR dateDiff('second', min(updated_at), max(updated_at)) > ${BEHIND_MAX_S}
      )`,
    params: { compared_before: beforeMs },
    row: differenceRow,
    settings: FINAL_SETTINGS,
  };
}
