import { MINUTE_MS, minuteOf, sessionStartMs, toTimestamp } from '@sockscope/schemas';
import type {
  ActiveSession,
  ActiveSessionsPage,
  ActiveSessionsQuery,
} from '@sockscope/schemas/api';
import type { CoverageReader } from '../../coverage/coverage.js';
import { activePageQuery, activeUsersQuery } from '../../sql/active.js';
import type { ActiveRow, ActiveUserRow } from '../../sql/active.js';
import { allOf } from '../../sql/query.js';
import { startedWithin } from '../../sql/sessions.js';
import type { Asking, Store } from '../../store/store.js';
import { bindingOf, decodeCursor, encodeCursor } from './cursor.js';
import { filterOf } from '../../filters/filters.js';
import { addExactly } from '../../sums/measures.js';
import type { Filters } from '../../filters/filters.js';

const USERS_MAX = 100;
/** So many open sessions are read at once where they may be all that there are. */
const WHOLE_MAX = 1_000;
/** A rate over less than this would be noise. */
const RATE_WINDOW_MIN_MS = 1_000;

/** Open sessions with their current rates, and the same per user. */
export async function activeSessions(
  { store, coverage }: { readonly store: Store; readonly coverage: CoverageReader },
  query: ActiveSessionsQuery,
  filters: Filters,
  asking: Asking,
  nowMs: number,
): Promise<ActiveSessionsPage> {
  const binding = bindingOf('active', query);
  const position = query.cursor === undefined ? null : decodeCursor(binding, query.cursor);
  const filter = allOf([
    startedWithin(query.start_after ?? null, query.start_before ?? null),
    filterOf(filters),
  ]);
  // Traffic is known by the minute: this one, which has begun, and the one before it.
  const sinceMs = minuteOf(nowMs) - MINUTE_MS;
  // Where a first reading holds them all, they need not be found a second time to be counted.
  const read = position === null ? Math.max(query.limit, WHOLE_MAX) : query.limit;
  const fromMs = await coverage.openFrom();
  const rows = await store.ask(
    activePageQuery({ fromMs, filter, position, limit: read + 1, sinceMs }),
    asking,
  );
  const isWhole = position === null && rows.length <= read;
  const userRows = isWhole
    ? userRowsOf(rows)
    : await store.ask(activeUsersQuery({ fromMs, filter, limit: USERS_MAX, sinceMs }), asking);
  const items = rows.slice(0, query.limit);
  const last = items.at(-1);
  return {
    items: items.map((row) => withRates(row, sinceMs, nowMs)),
    next_cursor:
      rows.length > query.limit && last !== undefined
        ? encodeCursor(binding, {
            value: null,
            startedMs: sessionStartMs(last.session_id),
            sessionId: last.session_id,
          })
        : null,
    total: userRows.find((row) => row.is_total === 1)?.sessions ?? 0,
    users: userRows
      .filter((row) => row.is_total === 0)
      .map((row) => {
        const windowMs = rateWindowMs(Date.parse(row.first_started_at), sinceMs, nowMs);
        return {
          user: row.user,
          sessions: row.sessions,
          bytes_sent: row.bytes_sent,
          bytes_received: row.bytes_received,
          bytes_sent_per_second: perSecond(row.recent_sent, windowMs),
          bytes_received_per_second: perSecond(row.recent_received, windowMs),
        };
      }),
    as_of: toTimestamp(nowMs),
  };
}

/** What activeUsersQuery answers, from all open sessions that pass. */
function userRowsOf(rows: readonly ActiveRow[]): ActiveUserRow[] {
  const byUser = new Map<string, ActiveUserRow>();
  const total = emptyUserRow('', 1);
  for (const row of rows) {
    let user = byUser.get(row.user);
    if (user === undefined) {
      user = emptyUserRow(row.user, 0);
      byUser.set(row.user, user);
    }
    for (const sums of [total, user]) addTo(sums, row);
  }
  // By bytes of the name, as ClickHouse does it; made once, not at every comparison.
  const users = [...byUser.values()]
    .map((sums) => ({
      sums,
      recent: sums.recent_sent + sums.recent_received,
      name: Buffer.from(sums.user),
    }))
    .toSorted(
      (a, b) =>
        b.recent - a.recent || b.sums.sessions - a.sums.sessions || Buffer.compare(a.name, b.name),
    )
    .slice(0, USERS_MAX)
    .map(({ sums }) => sums);
  return [total, ...users];
}

function emptyUserRow(user: string, isTotal: 0 | 1): ActiveUserRow {
  return {
    user,
    is_total: isTotal,
    sessions: 0,
    bytes_sent: 0,
    bytes_received: 0,
    recent_sent: 0,
    recent_received: 0,
    first_started_at: '9999',
  };
}

function addTo(sums: ActiveUserRow, row: ActiveRow): void {
  sums.sessions += 1;
  for (const name of ['bytes_sent', 'bytes_received', 'recent_sent', 'recent_received'] as const) {
    sums[name] = addExactly(sums[name], row[name]);
  }
  if (row.started_at < sums.first_started_at) sums.first_started_at = row.started_at;
}

function rateWindowMs(startedMs: number, sinceMs: number, nowMs: number): number {
  return Math.max(RATE_WINDOW_MIN_MS, nowMs - Math.max(startedMs, sinceMs));
}

function perSecond(bytes: number, windowMs: number): number {
  return Math.round((bytes * 1_000) / windowMs);
}

function withRates(row: ActiveRow, sinceMs: number, nowMs: number): ActiveSession {
  const { recent_sent, recent_received, ...session } = row;
  const windowMs = rateWindowMs(sessionStartMs(row.session_id), sinceMs, nowMs);
  return {
    ...session,
    bytes_sent_per_second: perSecond(recent_sent, windowMs),
    bytes_received_per_second: perSecond(recent_received, windowMs),
    rate_window_ms: windowMs,
  };
}
