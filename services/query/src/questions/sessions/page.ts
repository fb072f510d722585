import { sessionStartMs } from '@sockscope/schemas';
import type { SessionsIn } from '@sockscope/schemas/api';
import { filterOf, isUnfiltered, sessionsTableOf } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import type { SessionRecord } from '../../sql/fields.js';
import { allOf } from '../../sql/query.js';
import {
  earliestSessionQuery,
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
import { DENSE, FILTERED, KEYED, KEYED_UNKNOWN, UNKNOWN_ROWS_MAX, windows } from './windows.js';
import type { Pace, Window } from './windows.js';

export interface PageDeps {
  readonly store: Store;
  readonly densities: DensityMemory;
}

/** The filters, the order and the start of a page. */
export interface PageOf {
  readonly in: SessionsIn;
  readonly range: OpenSpan;
  readonly filters: Filters;
  readonly sort: SessionSort;
  readonly order: SortOrder;
  readonly position: PagePosition | null;
  readonly limit: number;
}

/** Bounds of the starts of the sessions that a range means. A session that ended or was open in it may have begun long before. */
export function startsOf(page: Pick<PageOf, 'in' | 'range'>): Window {
  const { fromMs, toMs } = page.range;
  return { lowMs: page.in === 'started' ? fromMs : null, highMs: toMs };
}

/** The range whose length decides how much is read; null if sessions of any start are read for any range. */
export function rangeOfStarts(which: SessionsIn, { lowMs, highMs }: Window): OpenSpan | null {
  return which === 'started' ? { fromMs: lowMs, toMs: highMs } : null;
}

/** One row more than the page holds: if it exists, there is a next page. */
export async function pageRows(
  { store, densities }: PageDeps,
  weighed: Weighed,
  page: PageOf,
  asking: Asking & { readonly nowMs: number },
): Promise<readonly SessionRecord[]> {
  const { sort, order, filters, position } = page;
  const { nowMs } = asking;
  const filter = allOf([sessionsIn(page.in, page.range), filterOf(filters)]);
  const table = sessionsTableOf(filters);
  const wanted = page.limit + 1;
  const range = startsOf(page);
  const queryOf = (window: Window, limit: number, isShort: boolean) =>
    sessionsPageQuery({
      table,
      isShort,
      filter: allOf([startedWithin(window.lowMs, window.highMs), filter]),
      sort,
      order,
      position,
      limit,
      range: rangeOfStarts(page.in, window),
    });
  // Only the order by start lets a slice of starts be a slice of the page.
  if (sort !== 'started_at') {
    return weighed.ask(queryOf(range, wanted, false), isWide(range, nowMs));
  }
  const anchorMs = position?.startedMs ?? (await anchorOf(store, page, asking));
  if (anchorMs === null) return [];
  const rows: SessionRecord[] = [];
  const isDense = page.in === 'started' && isUnfiltered(filters);
  const pace = isDense ? DENSE : table === 'sessions' ? FILTERED : KEYED;
  const alike = bindingOf('density', { ...filters, in: page.in, order });
  const fromPresent = position === null && order === 'desc' && range.highMs === null;
  const known = densities.begin(alike, wanted, { pace, anchorMs }, nowMs);
  const slicesOf = (of: Pace) =>
    windows({
      range,
      order,
      anchorMs: fromPresent && known !== null ? known.anchorMs : anchorMs,
      wanted,
      pace: of,
    });
  /** Whether the next slice is read however many rows it has. */
  let isSure = known !== null || pace !== KEYED;
  let slices = slicesOf(isSure ? (known?.pace ?? pace) : KEYED_UNKNOWN);
  for (let next = slices.next(0); next.done !== true && rows.length < wanted;) {
    // Each slice is read only if the ones before did not fill the page.
    const isShort = isShortSlice(next.value, table, nowMs);
    const query = queryOf(next.value, wanted - rows.length, isShort);
    const found = isSure
      ? await weighed.ask(query, isWide(next.value, nowMs))
      : await store.askWithin(query, UNKNOWN_ROWS_MAX, asking);
    if (found === null) slices = slicesOf(pace);
    else rows.push(...found);
    isSure = true;
    next = slices.next(found?.length ?? 0);
  }
  if (rows.length >= wanted) {
    const startsMs = rows.map((row) => sessionStartMs(row.session_id));
    densities.learn(alike, startsMs, fromPresent, nowMs);
  }
  return rows;
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

/** The start of the first page's reading; null if there is no session at all. */
async function anchorOf(
  store: Store,
  page: Pick<PageOf, 'in' | 'range' | 'order'>,
  asking: Asking & { readonly nowMs: number },
): Promise<number | null> {
  const range = startsOf(page);
  if (page.order === 'desc') {
    // To the second, so that all requests for the newest page within it are equal.
    const secondMs = Math.ceil(asking.nowMs / 1_000) * 1_000;
    return Math.min(secondMs, range.highMs ?? secondMs);
  }
  if (range.lowMs !== null) return range.lowMs;
  const [earliest] = await store.ask(earliestSessionQuery(), asking);
  const startedAt = earliest?.started_at ?? null;
  return startedAt === null ? null : Date.parse(startedAt);
}
