import { sessionStartMs } from '@sockscope/schemas';
import type { SessionsIn } from '@sockscope/schemas/api';
import { filterOf, sessionsTableOf } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import type { SessionRecord } from '../../sql/fields.js';
import { allOf } from '../../sql/query.js';
import {
  earliestSessionQuery,
  edgeQuery,
  sessionsIn,
  sessionsPageQuery,
  startedWithin,
} from '../../sql/sessions.js';
import type { PagePosition, SessionSort, SessionsTable, SortOrder } from '../../sql/sessions.js';
import type { Asking, Store } from '../../store/store.js';
import type { Weighed } from '../../store/weighed.js';
import type { OpenSpan } from '../../time/range.js';
import { bindingOf } from '../cursor.js';
import type { DensityMemory } from './density.js';
import type { Rates } from './rates.js';
import { DENSE, SPARSE, windows } from './windows.js';
import type { Pace, Window } from './windows.js';

export interface PageDeps {
  readonly store: Store;
  readonly densities: DensityMemory;
  readonly rates: Rates;
}

/** Which sessions, in which order, from where. */
export interface PageOf {
  readonly in: SessionsIn;
  readonly range: OpenSpan;
  readonly filters: Filters;
  readonly sort: SessionSort;
  readonly order: SortOrder;
  readonly position: PagePosition | null;
  readonly limit: number;
}

/** Bounds of the starts of the sessions that a range means. Who ended or was open in it may have begun long before. */
export function startsOf(page: Pick<PageOf, 'in' | 'range'>): Window {
  const { fromMs, toMs } = page.range;
  return { lowMs: page.in === 'started' ? fromMs : null, highMs: toMs };
}

/** One row more than the page holds: if it exists, there is a next page. */
export async function pageRows(
  { store, densities, rates }: PageDeps,
  weighed: Weighed,
  page: PageOf,
  asking: Asking,
  nowMs: number,
): Promise<readonly SessionRecord[]> {
  const { sort, order, filters, position } = page;
  const filter = allOf([sessionsIn(page.in, page.range), filterOf(filters)]);
  const table = sessionsTableOf(filters);
  const wanted = page.limit + 1;
  const range = startsOf(page);
  const read = (window: Window, limit: number, isShort = false, isFew = false) =>
    weighed.ask(
      sessionsPageQuery({
        table,
        isShort,
        filter: allOf([startedWithin(window.lowMs, window.highMs), filter]),
        sort,
        order,
        position,
        limit,
        rangeMs: lengthOf(window, nowMs),
      }),
      !isFew && isWide(window, nowMs),
    );
  // Only the order by start lets a slice of starts be a slice of the page.
  if (sort !== 'started_at') return read(range, wanted);
  const anchorMs = position?.startedMs ?? (await anchorOf(store, range, order, asking, nowMs));
  if (anchorMs === null) return [];
  const rows: SessionRecord[] = [];
  const isDense = table === 'sessions' && filter.sql === allOf([]).sql;
  const alike = bindingOf('density', { ...filters, in: page.in, order });
  const fromPresent = position === null && order === 'desc' && range.highMs === null;
  const usual = { pace: isDense ? DENSE : SPARSE, anchorMs };
  const startMs = fromPresent ? null : anchorMs;
  const rate = densities.knows(alike) ? null : paceOfRate(rates, filters, table, wanted);
  const edge =
    rate !== null || densities.knows(alike)
      ? null
      : await edgeOf(store, { filters, range, order, startMs, wanted }, asking);
  if (edge === 'all') return read(range, wanted, true, true);
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

/** The only user or destination that is asked for; null if it is not exactly one. */
function onlyKeyOf(filters: Filters, table: SessionsTable): string | null {
  const keys = table === 'sessions_by_user' ? filters.user : filters.dest_host;
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
 * @returns `all` if there is no more than that, null if another table is read.
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

/** Milliseconds of a slice; null if its beginning is open. */
function lengthOf({ lowMs, highMs }: Window, nowMs: number): number | null {
  return lowMs === null ? null : Math.max(0, (highMs ?? nowMs) - lowMs);
}

/** Whether a slice may hold more than a light question may read. */
function isWide(window: Window, nowMs: number): boolean {
  return (lengthOf(window, nowMs) ?? Infinity) > WIDE_MS;
}

const WIDE_MS = 6 * 3_600_000;

/** Whether a slice is read faster by one thread than by several that must be started and joined. */
function isShortSlice({ lowMs, highMs }: Window, table: SessionsTable, nowMs: number): boolean {
  return table !== 'sessions' || (lowMs !== null && (highMs ?? nowMs) - lowMs <= SHORT_MS);
}

const SHORT_MS = 600_000;

/** Where the first page begins to read; null if there is no session at all. */
async function anchorOf(
  store: Store,
  range: Window,
  order: SortOrder,
  asking: Asking,
  nowMs: number,
): Promise<number | null> {
  if (order === 'desc') {
    // To the second, so that all who ask for the newest within it ask the same.
    const secondMs = Math.ceil(nowMs / 1_000) * 1_000;
    return Math.min(secondMs, range.highMs ?? secondMs);
  }
  if (range.lowMs !== null) return range.lowMs;
  const [earliest] = await store.ask(earliestSessionQuery(), asking);
  const startedAt = earliest?.started_at ?? null;
  return startedAt === null ? null : Date.parse(startedAt);
}
