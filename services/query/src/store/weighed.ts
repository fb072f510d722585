import { z } from 'zod';
import { int64 } from '../sql/columns.js';
import type { Query } from '../sql/query.js';
import type { Gate, Visitor } from './gate.js';
import type { Asking, Store } from './store.js';

/** Weighs the questions of one request by the rows that they read, on every route. */
export interface Weighed {
  /**
   * @param isWide whether it may read much: only then is ClickHouse asked how many rows it would be.
   * @throws ProblemError overloaded if there is no place for a heavy question.
   */
  ask<Row extends z.ZodType>(query: Query<Row>, isWide: boolean): Promise<readonly z.output<Row>[]>;
  /** Gives the place back, if one was taken. */
  leave(): void;
}

export interface WeighedDeps {
  readonly store: Store;
  readonly gates: { readonly heavy: Gate };
  /** Rows that a light question may read. More takes a place among the heavy ones. */
  readonly lightRowsMax: number;
}

export function createWeighed(deps: WeighedDeps, asking: Asking & Visitor): Weighed {
  let place: Promise<() => void> | null = null;
  let isOver = false;
  return {
    async ask(query, isWide) {
      if (isWide && place === null) {
        const estimate = deps.store.ask(rowsQuery(query), asking);
        const tables = await deps.gates.heavy.before(asking, estimate);
        const rows = tables.reduce((sum, table) => sum + table.rows, 0);
        // Unknown on a cluster: the estimate is of this node's tables.
        const isHeavy = tables.length === 0 || rows > deps.lightRowsMax;
        // Another question of the request may have failed meanwhile.
        if (isOver) throw new Error('the request is over');
        if (isHeavy) place ??= deps.gates.heavy.enter(asking);
      }
      await place;
      return deps.store.ask(query, asking);
    },
    leave() {
      isOver = true;
      // A refused request has none.
      void place?.then(
        (end) => {
          end();
        },
        () => undefined,
      );
    },
  };
}

const rowsRow = z.object({ rows: int64 });

/**
 * How many rows a statement would read of each table, by the indexes alone. Not as a subquery: that would
 * be a table function, which the user of the service may not call.
 */
function rowsQuery(query: Query): Query<typeof rowsRow> {
  return {
    name: 'rows_to_read',
    sql: `EXPLAIN ESTIMATE ${query.sql}`,
    params: query.params,
    row: rowsRow,
    settings: { ...query.settings, max_threads: 1 },
    // ClickHouse applies its limit of rows to the estimate, too.
    ...(query.range === undefined ? {} : { range: query.range }),
  };
}
