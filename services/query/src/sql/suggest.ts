import type { Dimension } from '@sockscope/schemas/sums';
import { countedSql, FINISHED_FIRST, keySql, sessionsSql } from '@sockscope/schemas/sums';
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

/** Texts that a prefix in any case may begin with, to find keys by their order; more would cost more than they spare. */
const STARTS_MAX = 16;
/** Characters that become ASCII letters in lower case: the Kelvin sign, and a capital I with a dot. */
const ALSO_LOWER: Readonly<Record<string, string>> = { k: '\u212A', i: '\u0130' };

/** The beginnings of all values that begin with a prefix in any case; the longest that are not too many. */
export function startsOf(prefix: string): string[] {
  let starts = [''];
  for (const char of prefix) {
    // The cases of other letters are for ClickHouse to know.
    if (char > '\u007F') break;
    const lower = char.toLowerCase();
    const also = ALSO_LOWER[lower];
    const cases = [...new Set([lower, char.toUpperCase(), ...(also === undefined ? [] : [also])])];
    if (starts.length * cases.length > STARTS_MAX) break;
    starts = starts.flatMap((start) => cases.map((each) => start + each));
    // In lower case it is two characters, of which the prefix may have one.
    if (lower === 'i') break;
  }
  return starts;
}

/** Values of the last days of sums that begin like this, the most frequent first. */
export function suggestQuery(of: Suggest, days: number): Query<typeof suggestionRow> {
  const starts = startsOf(of.prefix);
  const begins = starts.map((_, i) => `startsWith(key, {start_${i}:String})`).join(' OR ');
  return {
    name: 'suggest',
    sql: `SELECT key AS value, sum(n) AS sessions
      FROM (
        SELECT '' AS key, toUInt64(0) AS n ${FINISHED_FIRST}
        UNION ALL
        SELECT key, ${sessionsSql(of.dimension)} AS n
        FROM rollup_1d FINAL
        PREWHERE dimension = {dimension:String} AND ${LATELY_SQL}
          AND indexHint(${begins})
          AND key != '' AND startsWith(lowerUTF8(key), lowerUTF8({prefix:String}))
        WHERE ${countedSql('day', LATELY_SQL)}
      )
      GROUP BY key HAVING sessions > 0
      ORDER BY sessions DESC, key LIMIT {limit:UInt32}`,
    params: {
      dimension: of.dimension,
      days,
      prefix: of.prefix,
      limit: of.limit,
      ...Object.fromEntries(starts.map((start, i) => [`start_${i}`, start])),
    },
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
