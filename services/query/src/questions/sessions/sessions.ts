import { sessionStartMs } from '@sockscope/schemas';
import type {
  Session,
  SessionsPage,
  SessionsQuery,
  TimelineEvent,
  TimelinePage,
  TimelineQuery,
} from '@sockscope/schemas/api';
import { ProblemError } from '../../problems/problem.js';
import type { SessionRecord } from '../../sql/fields.js';
import { allOf } from '../../sql/query.js';
import {
  earliestSessionQuery,
  edgeQuery,
  sessionEventsQuery,
  sessionsPageQuery,
  startedWithin,
} from '../../sql/sessions.js';
import type { EventRow, PagePosition, SessionsTable, SortOrder } from '../../sql/sessions.js';
import type { Asking, Store } from '../../store/store.js';
import { bindingOf, decodeCursor, encodeCursor } from './cursor.js';
import { filterOf, sessionsTableOf } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import { DENSE, SPARSE, windows } from './windows.js';
import type { Pace, Window } from './windows.js';
import type { DensityMemory } from './density.js';
import type { SessionLookups } from './lookups.js';
import type { Rates } from './rates.js';

export interface SessionsDeps {
  readonly store: Store;
  readonly lookups: SessionLookups;
  readonly densities: DensityMemory;
  readonly rates: Rates;
}

/** A request for a page: an export has no limit of its own. */
export type PageQuery = SessionsQuery & { readonly limit: number };

/** History, page by page. */
export async function sessionsPage(
  deps: SessionsDeps,
  query: PageQuery,
  filters: Filters,
  asking: Asking,
  nowMs: number,
): Promise<SessionsPage> {
  const binding = bindingOf('sessions', query);
  const position = query.cursor === undefined ? null : decodeCursor(binding, query.cursor);
  const rows = await pageRows(deps, query, filters, position, asking, nowMs);
  const items = rows.slice(0, query.limit);
  const last = items.at(-1);
  return {
    items,
    next_cursor:
      rows.length > query.limit && last !== undefined
        ? encodeCursor(binding, positionOf(last, query.sort))
        : null,
  };
}

function positionOf(row: SessionRecord, sort: SessionsQuery['sort']): PagePosition {
  return {
    value: sortValueOf(row, sort),
    startedMs: sessionStartMs(row.session_id),
    sessionId: row.session_id,
  };
}

/** What ClickHouse sorts by: see SORT_SQL. */
function sortValueOf(row: SessionRecord, sort: SessionsQuery['sort']): number | null {
  switch (sort) {
    case 'started_at':
      return null;
    case 'duration_ms':
      return row.duration_ms ?? Date.parse(row.updated_at) - Date.parse(row.started_at);
    case 'bytes':
      return row.bytes_sent + row.bytes_received;
  }
}

/** One row more than the page holds, where there is one: it tells that a next page exists. */
async function pageRows(
  { store, densities, rates }: SessionsDeps,
  query: PageQuery,
  filters: Filters,
  position: PagePosition | null,
  asking: Asking,
  nowMs: number,
): Promise<readonly SessionRecord[]> {
  const { sort, order } = query;
  const filter = filterOf(filters);
  const table = sessionsTableOf(filters);
  const wanted = query.limit + 1;
  const range: Window = { lowMs: query.start_after ?? null, highMs: query.start_before ?? null };
  const read = (window: Window, limit: number, isShort = false) =>
    store.ask(
      sessionsPageQuery({
        table,
        isShort,
        filter: allOf([startedWithin(window.lowMs, window.highMs), filter]),
        sort,
        order,
        position,
        limit,
      }),
      asking,
    );
  // Only the order by start lets a slice of starts be a slice of the page.
  if (sort !== 'started_at') return read(range, wanted);
  const anchorMs = position?.startedMs ?? (await anchorOf(store, query, asking, nowMs));
  if (anchorMs === null) return [];
  const rows: SessionRecord[] = [];
  const isDense = table === 'sessions' && filter.sql === allOf([]).sql;
  const alike = bindingOf('density', { ...filters, order });
  const fromPresent = position === null && order === 'desc' && range.highMs === null;
  const usual = { pace: isDense ? DENSE : SPARSE, anchorMs };
  const startMs = fromPresent ? null : anchorMs;
  const rate = densities.knows(alike) ? null : paceOfRate(rates, filters, table, wanted);
  const edge =
    rate !== null || densities.knows(alike)
      ? null
      : await edgeOf(store, { filters, range, order, startMs, wanted }, asking);
  if (edge === 'all') return read(range, wanted, true);
  const guess =
    edge === null
      ? densities.begin(alike, wanted, rate === null ? usual : { pace: rate, anchorMs }, nowMs)
      : { pace: { ...SPARSE, firstMs: Math.abs(anchorMs - edge) + 1 }, anchorMs };
  const slices = windows(range, order, fromPresent ? guess.anchorMs : anchorMs, wanted, guess.pace);
  for (let next = slices.next(0); next.done !== true && rows.length < wanted;) {
    // Each slice is read only if the ones before did not fill the page.
    const found = await read(
      next.value,
      wanted - rows.length,
      isShortSlice(next.value, table, nowMs),
    );
    rows.push(...found);
    next = slices.next(found.length);
  }
  if (rows.length >= wanted) {
    const startsMs = rows.map((row) => sessionStartMs(row.session_id));
    densities.learn(alike, startsMs, fromPresent, nowMs);
  }
  return rows;
}

/** Versions and filters take some rows away. */
const EDGE_ROWS_FACTOR = 2;
/** A slice too long costs a few granules, one too short a second query. */
const RATE_MARGIN = 2;
/** Of those that other filters take away nothing is known. */
const RATE_MARGIN_FILTERED = 5;

/** The only user or destination that is asked for; null where it is not exactly one. */
function onlyKeyOf(filters: Filters, table: SessionsTable): string | null {
  const keys = table === 'sessions_by_user' ? filters.user : filters.dest_host?.exact;
  const [key] = keys ?? [];
  return key === undefined || keys?.length !== 1 ? null : key;
}

/** How to begin, by how often the user or the destination was seen in the last days. */
function paceOfRate(
  rates: Rates,
  filters: Filters,
  table: SessionsTable,
  wanted: number,
): Pace | null {
  const key = onlyKeyOf(filters, table);
  if (table === 'sessions' || key === null) return null;
  const gapMs = rates.gapMs(table, key);
  if (gapMs === null) return null;
  const given = Object.values(filters).filter((value) => value !== undefined).length;
  const margin = given > 1 ? RATE_MARGIN_FILTERED : RATE_MARGIN;
  return { ...SPARSE, firstMs: Math.ceil(gapMs * wanted * margin) };
}

/**
 * How far a page of one user or one destination may reach that was not asked for before: a look at
 * the starts alone costs less than slices that turn out too short.
 *
 * @returns `all` where there is no more than that, null where another table is read.
 */
async function edgeOf(
  store: Store,
  page: {
    readonly filters: Filters;
    readonly range: Window;
    readonly order: SortOrder;
    readonly startMs: number | null;
    readonly wanted: number;
  },
  asking: Asking,
): Promise<number | 'all' | null> {
  const { filters, range, order, startMs } = page;
  const table = sessionsTableOf(filters);
  if (table === 'sessions') return null;
  const key = onlyKeyOf(filters, table);
  if (key === null) return null;
  const limit = page.wanted * EDGE_ROWS_FACTOR;
  const isDesc = order === 'desc';
  const lowMs = isDesc || startMs === null ? range.lowMs : startMs;
  // The cursor's own millisecond belongs to the page.
  const highMs = isDesc && startMs !== null ? startMs + 1 : range.highMs;
  const [found] = await store.ask(
    edgeQuery({ table, key, range: startedWithin(lowMs, highMs), order, limit }),
    asking,
  );
  return found === undefined || found.rows < limit ? 'all' : Date.parse(found.edge);
}

/** Whether a slice is read faster by one thread than by several that must be started and joined. */
function isShortSlice({ lowMs, highMs }: Window, table: SessionsTable, nowMs: number): boolean {
  return table !== 'sessions' || (lowMs !== null && (highMs ?? nowMs) - lowMs <= SHORT_MS);
}

const SHORT_MS = 600_000;

/** Where the first page begins to read; null where there is no session at all. */
async function anchorOf(
  store: Store,
  query: SessionsQuery,
  asking: Asking,
  nowMs: number,
): Promise<number | null> {
  if (query.order === 'desc') {
    // To the second, so that all who ask for the newest within it ask the same.
    const secondMs = Math.ceil(nowMs / 1_000) * 1_000;
    return Math.min(secondMs, query.start_before ?? secondMs);
  }
  if (query.start_after !== undefined) return query.start_after;
  const [earliest] = await store.ask(earliestSessionQuery(), asking);
  const startedAt = earliest?.started_at ?? null;
  return startedAt === null ? null : Date.parse(startedAt);
}

/**
 * One session. To somebody who may see one user's sessions alone, those of others do not exist.
 *
 * @throws ProblemError not-found
 */
export async function sessionById(
  { lookups }: Pick<SessionsDeps, 'lookups'>,
  id: string,
  onlyUser: string | null,
  asking: Asking,
): Promise<Session> {
  const row = await lookups.look(id.toLowerCase(), asking.signal);
  if (row === undefined || (onlyUser !== null && row.user !== onlyUser)) {
    throw new ProblemError('not-found', 'there is no session with this id');
  }
  return row;
}

/** The timeline of one session. */
export async function sessionTimeline(
  deps: Pick<SessionsDeps, 'lookups' | 'store'>,
  id: string,
  onlyUser: string | null,
  query: TimelineQuery,
  asking: Asking,
): Promise<TimelinePage> {
  const binding = bindingOf('events', { id });
  const position = query.cursor === undefined ? null : decodeCursor(binding, query.cursor);
  const afterSeq = position?.value ?? -1;
  const startedMs = sessionStartMs(id);
  const [, rows] = await Promise.all([
    sessionById(deps, id, onlyUser, asking),
    deps.store.ask(
      sessionEventsQuery({ sessionId: id, startedMs, afterSeq, limit: query.limit + 1 }),
      asking,
    ),
  ]);
  const items = rows.slice(0, query.limit);
  const last = items.at(-1);
  return {
    items: timelineOf(items, afterSeq),
    next_cursor:
      rows.length > query.limit && last !== undefined
        ? encodeCursor(binding, { value: last.seq, startedMs, sessionId: id })
        : null,
  };
}

/** Marks what is missing: seq counts 0, 1, 2 … within a session. */
export function timelineOf(rows: readonly EventRow[], afterSeq: number): TimelineEvent[] {
  let previous = afterSeq;
  return rows.map((row) => {
    const missing = row.seq - previous - 1;
    previous = row.seq;
    const {
      delta_bytes_sent: bytes_sent,
      delta_bytes_received: bytes_received,
      delta_packets_sent: packets_sent,
      delta_packets_received: packets_received,
      ...event
    } = row;
    return {
      ...event,
      delta:
        row.interval_start === null
          ? null
          : { bytes_sent, bytes_received, packets_sent, packets_received },
      missing_before: missing,
    };
  });
}
