import type { z } from 'zod';
import type { Query } from '../sql/query.js';
import type { Gate, Visitor } from './gate.js';
import type { Asking, Store } from './store.js';

/** Weighs the questions of one request by the rows that they read, on every route. */
export interface Weighed {
  /**
   * @param isWide whether it may read much: only then is it weighed.
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
        // ClickHouse knows by its indexes how many rows it would read, and refuses before it reads too many.
        const rows = await deps.store.askWithin(query, deps.lightRowsMax, asking);
        if (rows !== null) return rows;
        // Another question of the request may have failed meanwhile.
        if (isOver) throw new Error('the request is over');
        place ??= deps.gates.heavy.enter({ ...asking, isInside: true });
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
