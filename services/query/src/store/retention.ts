/**
 * Guarantee: no answer has a row past its retention. ClickHouse deletes expired rows with whole
 * parts, up to a week late in the copies by user and destination. Until then a filter that ClickHouse
 * itself adds to every statement hides it, so that no statement can forget to. The filter names the
 * table that stores the rows: in a cluster each shard applies it to its own, also within a subquery.
 */
import type { ClickHouse, Settings } from '@sockscope/runtime/clickhouse';
import { DAY_MS, ceilTo, MINUTE_MS } from '@sockscope/schemas/sums';
import { dateTimeOf } from '../sql/expressions.js';
import { retentionsQuery } from '../sql/retention.js';
import type { RetainedRow } from '../sql/retention.js';
import { remembered } from './remembered.js';

export interface Retention {
  /** Settings for a statement: rows past their retention are not there for it. */
  settings(): Promise<Settings>;
  /** Milliseconds since 1970 before which a table's rows are hidden; null if its rows do not expire. */
  keptFrom(table: string): Promise<number | null>;
}

/** `migrate` changes retentions; a restart is not needed. */
const REUSE_MS = 60_000;
const TIMEOUT_MS = 10_000;
/** They go into a filter as they are. */
const NAME = /^\w+$/;

export function createRetention(deps: {
  readonly clickhouse: Pick<ClickHouse, 'query'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}): Retention {
  const read = remembered(async () => {
    const { sql, params, row } = retentionsQuery();
    const rows = await deps.clickhouse.query({ sql, params, row, timeoutMs: TIMEOUT_MS });
    return rows.filter((each) => NAME.test(each.database + each.storage + each.column));
  }, REUSE_MS);
  /** Rounds to the minute, so that equal questions stay equal; up, so that nothing is shown too long. */
  const keptFromMs = ({ days }: RetainedRow) =>
    // No table holds a time before 1970.
    Math.max(0, ceilTo(deps.now() - days * DAY_MS, MINUTE_MS));
  return {
    async settings() {
      const filters = (await read()).map(
        (row) =>
          `'${row.database}.${row.storage}': '${row.column} >= \\'${dateTimeOf(keptFromMs(row))}\\''`,
      );
      return filters.length === 0 ? {} : { additional_table_filters: `{${filters.join(', ')}}` };
    },
    async keptFrom(table) {
      const found = (await read()).find(({ name }) => name === table);
      return found === undefined ? null : keptFromMs(found);
    },
  };
}
