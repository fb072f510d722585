import { z } from 'zod';
import type { Query } from './query.js';

/** The table that stores the rows, the name by which it is asked, the time by which rows expire, and after how many days. */
const retainedRow = z.object({
  database: z.string(),
  storage: z.string(),
  name: z.string(),
  column: z.string(),
  days: z.int(),
});
export type RetainedRow = z.output<typeof retainedRow>;

/**
 * The retentions as `migrate` wrote them into the tables that store rows on the node that is asked. In
 * a cluster those have a suffix, and the Distributed table has the plain name.
 */
export function retentionsQuery(): Query<typeof retainedRow> {
  return {
    name: 'retentions',
    sql: `SELECT database, name AS storage, replaceRegexpOne(name, '_local$', '') AS name,
        extract(engine_full, ' TTL toDateTime\\\\((\\\\w+)\\\\) \\\\+ toIntervalDay') AS column,
        toUInt32OrZero(extract(engine_full, ' TTL toDateTime\\\\(\\\\w+\\\\) \\\\+ toIntervalDay\\\\((\\\\d+)\\\\)')) AS days
      FROM system.tables
      WHERE database = currentDatabase() AND days > 0`,
    params: {},
    row: retainedRow,
  };
}
