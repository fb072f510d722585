import { sessionStartMs, toTimestamp } from '@sockscope/schemas';
import { activeSessionsPage, activeSessionsQuery, noParams } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { LRUCache } from 'lru-cache';
import { filterOf } from '../../filters/filters.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import type { Presenter } from '../../mask/presenter.js';
import { visibleFilters } from '../../mask/visible.js';
import { activePageQuery, activeUsersQuery } from '../../sql/active.js';
import type { ActiveRow, ActiveUserRow } from '../../sql/active.js';
import { asStored, plainOf } from '../../sql/stored.js';
import type { Stored } from '../../sql/stored.js';
import type { Store } from '../../store/store.js';
import { addExactly } from '../../sums/measures.js';
import { perSecond, rateSinceMs, rateWindowMs } from '../../sums/rates.js';
import { bindingOf } from '../cursor.js';
import { readCursor, writeCursor } from './position.js';

const USERS_MAX = 100;
/** Number of open sessions that are read at once if they may be all. */
const WHOLE_MAX = 1_000;
const FILTERS_REMEMBERED_MAX = 512;
const NO_RANGE = { fromMs: null, toMs: null };

/** `GET /sessions/active`: open sessions with their current rates, and the same per user. */
export function serveActiveSessions(
  app: FastifyInstance,
  deps: QuestionDeps & { readonly store: Store },
): void {
  const { store } = deps;
  /** Filters that more sessions passed than are read at once: they are counted beside the next reading. */
  const isMore = new LRUCache<string, boolean>({ max: FILTERS_REMEMBERED_MAX });
  serve(app, deps, {
    path: '/sessions/active',
    operationId: 'listActiveSessions',
    summary: 'Sessions open now, with their current rates, newest first',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: noParams,
    query: activeSessionsQuery,
    answer: activeSessionsPage,
    async ask({ query }, context) {
      const { nowMs } = context;
      const binding = bindingOf('active', query);
      const position =
        query.cursor === undefined ? null : readCursor(binding, query.cursor).position;
      const filter = filterOf(await visibleFilters(store, query, context));
      const sinceMs = rateSinceMs(nowMs);
      // If a first reading holds them all, they need not be found a second time to be counted.
      const read = position === null ? Math.max(query.limit, WHOLE_MAX) : query.limit;
      const usersOf = () =>
        store.ask(activeUsersQuery({ filter, limit: USERS_MAX, sinceMs }), context);
      const key = JSON.stringify(filter);
      const [rows, counted] = await Promise.all([
        store.ask(activePageQuery({ filter, position, limit: read + 1, sinceMs }), context),
        position !== null || isMore.get(key) === true ? usersOf() : null,
      ]);
      const isWhole = position === null && rows.length <= read;
      if (position === null) isMore.set(key, !isWhole);
      const users = isWhole ? userRowsOf(rows) : (counted ?? (await usersOf()));
      const items = rows.slice(0, query.limit);
      const last = items.at(-1);
      return {
        items,
        users,
        sinceMs,
        nowMs,
        next:
          rows.length > query.limit && last !== undefined
            ? writeCursor(binding, {
                position: {
                  value: null,
                  startedMs: sessionStartMs(last.session_id),
                  sessionId: last.session_id,
                },
                range: NO_RANGE,
              })
            : null,
      };
    },
    present: ({ items, users, sinceMs, nowMs, next }, presenter) => ({
      items: items.map((row) => withRates(row, sinceMs, nowMs, presenter)),
      next_cursor: next,
      total: users.find((row) => row.is_total === 1)?.sessions ?? 0,
      users: shownUsers(users, sinceMs, nowMs, presenter),
      as_of: toTimestamp(nowMs),
    }),
  });
}

function shownUsers(
  rows: readonly ActiveUserRow[],
  sinceMs: number,
  nowMs: number,
  presenter: Presenter,
) {
  const users = rows
    .filter((row) => row.is_total === 0)
    .map((row) => {
      const windowMs = rateWindowMs(Date.parse(row.first_started_at), sinceMs, nowMs);
      return {
        user: presenter.user(row.user),
        sessions: row.sessions,
        bytes_sent: row.bytes_sent,
        bytes_received: row.bytes_received,
        bytes_sent_per_second: perSecond(row.recent_sent, windowMs),
        bytes_received_per_second: perSecond(row.recent_received, windowMs),
      };
    });
  const rate = (one: (typeof users)[number]) =>
    one.bytes_sent_per_second + one.bytes_received_per_second;
  return presenter.ranked(
    users,
    (one, other) => rate(one) === rate(other) && one.sessions === other.sessions,
    (item) => item.user,
  );
}

/** The answer of activeUsersQuery, from all open sessions that pass. */
function userRowsOf(rows: readonly ActiveRow[]): ActiveUserRow[] {
  const byUser = new Map<Stored, ActiveUserRow>();
  const total = emptyUserRow(asStored(''), 1);
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
      name: Buffer.from(plainOf(sums.user)),
    }))
    .toSorted(
      (a, b) =>
        b.recent - a.recent || b.sums.sessions - a.sums.sessions || Buffer.compare(a.name, b.name),
    )
    .slice(0, USERS_MAX)
    .map(({ sums }) => sums);
  return [total, ...users];
}

function emptyUserRow(user: Stored, isTotal: 0 | 1): ActiveUserRow {
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

function withRates(row: ActiveRow, sinceMs: number, nowMs: number, presenter: Presenter) {
  const { recent_sent, recent_received, ...stored } = row;
  const windowMs = rateWindowMs(sessionStartMs(row.session_id), sinceMs, nowMs);
  return {
    ...presenter.session(stored),
    bytes_sent_per_second: perSecond(recent_sent, windowMs),
    bytes_received_per_second: perSecond(recent_received, windowMs),
    rate_window_ms: windowMs,
  };
}
