import { z } from 'zod';
import { timeSql } from './expressions.js';
import type { Query, SqlParams } from './query.js';

const userRow = z.object({ user: z.string() });

/** Users that the sums do not know yet are looked for among the sessions of this time. */
const RECENT_MS = 2 * 3_600_000;

/** The users behind these tokens. */
export function maskedUsersQuery(
  mask: { userSql(expression: string): string; readonly params: SqlParams },
  tokens: readonly string[],
  nowMs: number,
): Query<typeof userRow> {
  return {
    name: 'masked_users',
    sql: `SELECT user FROM (
        SELECT DISTINCT key AS user FROM rollup_1d WHERE dimension = 'user'
        UNION DISTINCT
        SELECT DISTINCT user FROM sessions WHERE started_at >= ${timeSql('recent')}
      )
      WHERE ${mask.userSql('user')} IN {tokens:Array(String)}`,
    params: { ...mask.params, tokens: [...tokens], recent: nowMs - RECENT_MS },
    row: userRow,
    reuse: true,
  };
}
