import { RATE_DAYS, ratesQuery } from '../../sql/rates.js';
import type { SessionsTable } from '../../sql/sessions.js';
import type { Store } from '../../store/store.js';
import { DAY_MS } from '@sockscope/schemas/sums';

/**
 * How often the sessions of one user or destination start, by the sums of the last days: how far back
 * a page of them reaches. A guess, so nobody waits for it.
 */
export interface Rates {
  /** Milliseconds from one start to the next, on average; null if it is unknown. */
  gapMs(table: Exclude<SessionsTable, 'sessions'>, key: string): number | null;
}

/** The busiest ones; a page of another is found without a guess. */
const KEYS_MAX = 50_000;
const REFRESH_MS = 600_000;
const NEVER = new AbortController().signal;
const DIMENSIONS = { sessions_by_user: 'user', sessions_by_destination: 'destination' } as const;

interface Known {
  readonly askedAtMs: number;
  readonly sessions: ReadonlyMap<string, number>;
}

export function createRates(deps: { readonly store: Store }): Rates {
  const known = new Map<string, Known>();

  function refresh(dimension: 'user' | 'destination'): void {
    const before = known.get(dimension);
    const askedAtMs = performance.now();
    if (before !== undefined && askedAtMs - before.askedAtMs < REFRESH_MS) return;
    known.set(dimension, { askedAtMs, sessions: before?.sessions ?? new Map() });
    deps.store.ask(ratesQuery(dimension, KEYS_MAX), { signal: NEVER }).then(
      (rows) => {
        const sessions = new Map(rows.map((row) => [row.key, row.sessions]));
        known.set(dimension, { askedAtMs, sessions });
      },
      // Counted by the store. The previous count is good enough until the next time.
      () => undefined,
    );
  }

  return {
    gapMs(table, key) {
      const dimension = DIMENSIONS[table];
      refresh(dimension);
      const sessions = known.get(dimension)?.sessions.get(key);
      return sessions === undefined ? null : (RATE_DAYS * DAY_MS) / sessions;
    },
  };
}
