/**
 * Tells statements which open sessions are in `long_sessions`, where few rows are read for them. All that began
 * before a time are, if none is missing there and none has ended meanwhile. So both tables are compared, and where
 * they differ, `sessions` answers: a session is missing if nothing was heard of it since it was ten minutes old, or if an
 * ingest of a former version stored it. If they cannot be compared, `sessions` answers everything.
 */
import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { LONG_SESSION_MS } from '@sockscope/schemas/sums';
import { LONG_BEFORE_SQL } from '../sql/earlier-starts.js';
import { longDifferenceQuery } from '../sql/long-sessions.js';
import type { Query } from '../sql/query.js';
import { remembered } from './remembered.js';
import type { Retention } from './retention.js';

/** Comparing looks at the index of every part. A session whose events come ten minutes late may be missed for this time. */
const REUSE_MS = 5_000;
/** Comparing takes this part of the time at most: with very many long sessions it takes long. */
const SHARE = 1 / 10;
const TIMEOUT_MS = 10_000;
/** Before the first session: `sessions` answers everything. */
const NOTHING_MS = 0;

export interface LongSessions {
  /** The time before which all open sessions are in `long_sessions`, milliseconds since 1970. */
  beforeMs(): Promise<number>;
  /** Binds this time if the statement asks for it and has none. */
  bind<Q extends Pick<Query, 'sql' | 'params'>>(query: Q): Promise<Q>;
}

export function createLongSessions(deps: {
  readonly clickhouse: Pick<ClickHouse, 'query'>;
  readonly retention: Pick<Retention, 'settings'>;
  readonly logger: Pick<Logger, 'warn'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}): LongSessions {
  async function compare(): Promise<number> {
    const latestMs = deps.now() - LONG_SESSION_MS;
    const query = longDifferenceQuery(latestMs);
    const settings = { ...query.settings, ...(await deps.retention.settings()) };
    const [row] = await deps.clickhouse.query({ ...query, settings, timeoutMs: TIMEOUT_MS });
    const earliest = row?.earliest ?? null;
    return earliest === null ? latestMs : Date.parse(earliest);
  }

  const beforeMs = remembered(
    () =>
      compare().catch((error: unknown) => {
        deps.logger.warn(
          { err: error },
          `long_sessions cannot be compared, so sessions answers everything: ${messageOf(error)}`,
        );
        return NOTHING_MS;
      }),
    REUSE_MS,
    SHARE,
  );

  return {
    beforeMs,
    async bind(query) {
      if (!query.sql.includes(LONG_BEFORE_SQL)) return query;
      return { ...query, params: { long_before: await beforeMs(), ...query.params } };
    },
  };
}
