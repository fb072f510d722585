/**
 * Tells statements which open sessions are in `long_sessions`, where few rows are read for them. All that began
 * before a time are, if none is missing there and none has ended meanwhile. So both tables are compared, and where
 * they differ, `sessions` answers: a session is missing if nothing was heard of it since it was an hour old, or if an
 * ingest of a former version stored it.
 */
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { LONG_SESSION_MS } from '@sockscope/schemas/sums';
import { LONG_BEFORE_SQL } from '../sql/earlier-starts.js';
import { longDifferenceQuery } from '../sql/long-sessions.js';
import type { Query } from '../sql/query.js';
import { remembered } from './remembered.js';

/** Comparing looks at the index of every part. A session whose events come an hour late may be missed for this time. */
const REUSE_MS = 5_000;
const TIMEOUT_MS = 10_000;

export interface LongSessions {
  /** Binds the time before which open sessions are in `long_sessions`, if the statement asks for it. */
  bind<Q extends Pick<Query, 'sql' | 'params'>>(query: Q): Promise<Q>;
}

export function createLongSessions(deps: {
  readonly clickhouse: Pick<ClickHouse, 'query'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}): LongSessions {
  const before = remembered(async () => {
    const latestMs = deps.now() - LONG_SESSION_MS;
    const query = longDifferenceQuery(latestMs);
    const [row] = await deps.clickhouse.query({ ...query, timeoutMs: TIMEOUT_MS });
    const earliest = row?.earliest ?? null;
    return earliest === null ? latestMs : Date.parse(earliest);
  }, REUSE_MS);
  return {
    async bind(query) {
      if (!query.sql.includes(LONG_BEFORE_SQL)) return query;
      return { ...query, params: { ...query.params, long_before: await before() } };
    },
  };
}
