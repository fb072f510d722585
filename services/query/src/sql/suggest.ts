import type { Dimension } from '@sockscope/schemas/sums';
import { countedSql, keySql, sessionsSql } from '@sockscope/schemas/sums';
import { z } from 'zod';
import { int64 } from './columns.js';
import { FINAL_SETTINGS } from './expressions.js';
import type { Query } from './query.js';
import { storedText } from './stored.js';

const suggestionRow = z.object({ value: storedText, sessions: int64 });

interface Suggest {
  readonly dimension: Dimension;
  readonly prefix: string;
  readonly limit: number;
}

/** The last days that sums were made of. */
const LATELY_SQL = `bucket > (
  SELECT max(bucket) FROM rollup_1d WHERE dimension = 'total') - toIntervalDay({days:UInt32})`;

/** Values of the last days of sums that begin like this, the most frequent first. */
export function suggestQuery(of: Suggest, days: number): Query<typeof suggestionRow> {
  return {
    name: 'suggest',
    sql: `SELECT key AS value, sum(${sessionsSql(of.dimension)}) AS sessions
      FROM rollup_1d FINAL
      PREWHERE dimension = {dimension:String} AND ${LATELY_SQL}
        AND key != '' AND startsWith(lowerUTF8(key), lowerUTF8({prefix:String}))
      WHERE ${countedSql('day', LATELY_SQL)}
      GROUP BY key HAVING sessions > 0
      ORDER BY sessions DESC, key LIMIT {limit:UInt32}`,
    params: { dimension: of.dimension, days, prefix: of.prefix, limit: of.limit },
    row: suggestionRow,
    settings: { ...FINAL_SETTINGS, max_threads: 1 },
    reuse: true,
  };
}

/** The same among the newest sessions of these users. */
export function suggestOfUsersQuery(
  of: Suggest,
  users: readonly string[],
  sessionsMax: number,
): Query<typeof suggestionRow> {
  return {
    name: 'suggest_of_users',
    sql: `SELECT key AS value, uniqExact(session_id) AS sessions FROM (
        SELECT session_id, ${keySql(of.dimension)} AS key FROM sessions_by_user
        WHERE user IN {users:Array(String)} ORDER BY started_at DESC LIMIT {sessions_max:UInt32}
      )
      WHERE key != '' AND startsWith(lowerUTF8(key), lowerUTF8({prefix:String}))
      GROUP BY key ORDER BY sessions DESC, key LIMIT {limit:UInt32}`,
    params: { users: [...users], sessions_max: sessionsMax, prefix: of.prefix, limit: of.limit },
    row: suggestionRow,
    settings: { max_threads: 1 },
    reuse: true,
  };
}
