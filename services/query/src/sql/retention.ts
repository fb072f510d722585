import { z } from 'zod';
import type { Query } from './query.js';

/** A table, the time by which its rows expire, and after how many days. */
const retainedRow = z.object({
  name: z.string(),
  column: z.string(),
  days: z.int(),
});
export type RetainedRow = z.output<typeof retainedRow>;

/** The retentions as `migrate` wrote them into the tables of one node. A cluster's have another name and are left out. */
export function retentionsQuery(): Query<typeof retainedRow> {
  return {
    name: 'retentions',
    sql: `SELECT name, extract(engine_full, ' TTL toDateTime\\\\((\\\\w+)\\\\) \\\\+ toIntervalDay') AS column,
        toUInt32OrZero(extract(engine_full, ' TTL toDateTime\\\\(\\\\w+\\\\) \\\\+ toIntervalDay\\\\((\\\\d+)\\\\)')) AS days
      FROM system.tables
      WHERE database = currentDatabase() AND days > 0 AND NOT endsWith(name, '_local')`,
    params: {},
    row: retainedRow,
  };
}
