import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import type { Query } from './query.js';

const seenRow = z.object({
  sessions: int64,
  first_seen: wireTime,
  last_seen: wireTime,
});

const TABLES = {
  user: { table: 'sessions_by_user', column: 'user' },
  destination: { table: 'sessions_by_destination', column: 'dest_host' },
} as const;

/** When a user or a destination was first and last seen. 0 sessions if it never was. */
export function seenQuery(
  what: keyof typeof TABLES,
  keys: readonly string[],
  onlyUsers: readonly string[] | null,
): Query<typeof seenRow> {
  const { table, column } = TABLES[what];
  const own = onlyUsers === null ? '' : ' AND user IN {only_users:Array(String)}';
  return {
    name: `seen_${what}`,
    // Neither time needs FINAL: a start never changes, and the latest version has the latest event.
    sql: `SELECT count() AS sessions, min(started_at) AS first_seen, max(updated_at) AS last_seen
      FROM ${table} WHERE ${column} IN {keys:Array(String)}${own}`,
    params: { keys: [...keys], ...(onlyUsers === null ? {} : { only_users: [...onlyUsers] }) },
    row: seenRow,
  };
}
