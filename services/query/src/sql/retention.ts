import { z } from 'zod';
import type { Query } from './query.js';

/** A table that stores rows, its name in queries, the column by which rows expire, and their life in days. */
const retainedRow = z.object({
  database: z.string(),
  storage: z.string(),
  name: z.string(),
  column: z.string(),
  days: z.int(),
});
export type RetainedRow = z.output<typeof retainedRow>;

/**
 * Reads the retentions that `migrate` wrote into this node's tables. In a cluster these have a suffix,
 * and the Distributed table has the plain name.
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
