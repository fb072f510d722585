import { minuteOf, sessionStartMs, toTimestamp } from '@sockscope/schemas';
import { API_LIMITS } from '@sockscope/schemas/api';
import type {
  CounterSource,
  OpenAtSort,
  SessionAt,
  SessionsAtPage,
  SessionsQuery,
} from '@sockscope/schemas/api';
import type { CoverageReader } from '../../coverage/coverage.js';
import { soughtOf } from '../../filters/filters.js';
import type { Context } from '../../http/context.js';
import type { Presenter } from '../../mask/presenter.js';
import type { Viewer } from '../../mask/viewer.js';
import { visibleFilters } from '../../mask/visible.js';
import type { SessionRecord } from '../../sql/fields.js';
import { countersByEventQuery, countersByMinuteQuery, openAtQuery } from '../../sql/open-at.js';
import type { CountersRow, OpenAtRow } from '../../sql/open-at.js';
import type { PagePosition } from '../../sql/sessions.js';
import { sessionsByIdQuery } from '../../sql/sessions.js';
import { plainOf } from '../../sql/stored.js';
import type { Store } from '../../store/store.js';
import { createWeighed } from '../../store/weighed.js';
import type { WeighedDeps } from '../../store/weighed.js';
import { minuteWindowMs, perSecond } from '../../sums/rates.js';
import { momentMs } from '../../time/moment.js';
import { nowOf } from '../../time/range.js';
import { bindingOf } from '../cursor.js';
import { readCursor, writeCursor } from './position.js';

/** Candidates for the ranking by bytes at that time: the sessions with the most bytes until today. */
const RANKED_MAX = 1_000;

export interface AtDeps extends WeighedDeps {
  readonly coverage: CoverageReader;
}

type Counters = Omit<CountersRow, 'session_id'>;
const NOTHING: Counters = {
  bytes_sent: 0,
  bytes_received: 0,
  packets_sent: 0,
  packets_received: 0,
};

interface PastCounters {
  readonly source: CounterSource;
  /** Null if the source is `none`. */
  readonly counters: Counters | null;
}

interface Item {
  readonly row: SessionRecord;
  readonly past: PastCounters;
  readonly sent: number;
  readonly received: number;
}

export interface FoundAt {
  readonly atMs: number;
  readonly windowMs: number;
  readonly items: readonly Item[];
  readonly open: number;
  readonly sent: number;
  readonly received: number;
  readonly isExact: boolean;
  readonly next: string | null;
}

/** The sessions that were open at the time of `at`, by today's rows. */
export async function sessionsAt(
  deps: AtDeps,
  query: SessionsQuery,
  context: Context,
): Promise<FoundAt> {
  const { store } = deps;
  const { nowMs } = context;
  const binding = bindingOf('sessions', query);
  const cursor = query.cursor === undefined ? null : readCursor(binding, query.cursor);
  const atMs =
    cursor?.range.fromMs ??
    (query.at === undefined ? nowMs : momentMs(query.at, nowOf(nowMs), query.time_zone));
  const filters = await visibleFilters(store, query, context);
  const sort = query.sort as OpenAtSort;
  const limit = query.limit ?? API_LIMITS.page_size_default;
  const minuteMs = minuteOf(atMs);
  const isByBytes = sort === 'bytes';
  const weighed = createWeighed(deps, context);
  const rows = await weighed
    .ask(
      openAtQuery({
        sought: soughtOf(filters),
        atMs,
        minuteMs,
        sort,
        order: query.order,
        position: isByBytes ? null : (cursor?.position ?? null),
        limit: isByBytes ? RANKED_MAX : limit + 1,
      }),
      true,
    )
    .finally(() => {
      weighed.leave();
    });
  const ranked = isByBytes
    ? await rankByBytes(deps, rows, { atMs, after: cursor?.position ?? null }, context)
    : { rows, isExact: () => true };
  const shown = ranked.rows.slice(0, limit);
  const [records, past] = await Promise.all([
    recordsOf(store, shown, context),
    pastCountersOf(deps, shown, atMs, context),
  ]);
  const items = shown.flatMap((row): Item[] => {
    const [record, counters] = [records.get(row.session_id), past.get(row.session_id)];
    return record === undefined || counters === undefined
      ? []
      : [{ row: record, past: counters, sent: row.sent, received: row.received }];
  });
  const last = shown.at(-1);
  const first = rows[0];
  return {
    atMs,
    windowMs: minuteWindowMs(minuteMs, nowMs),
    items,
    open: first?.open ?? 0,
    sent: first?.all_sent ?? 0,
    received: first?.all_received ?? 0,
    isExact: ranked.isExact(last === undefined ? null : bytesOf(past.get(last.session_id))),
    next:
      ranked.rows.length > limit && last !== undefined
        ? writeCursor(binding, {
            position: {
              value: valueOf(last, sort, past.get(last.session_id)),
              startedMs: sessionStartMs(last.session_id),
              sessionId: last.session_id,
            },
            range: { fromMs: atMs, toMs: null },
          })
        : null,
  };
}

function valueOf(row: OpenAtRow, sort: OpenAtSort, past: PastCounters | undefined): number {
  switch (sort) {
    case 'started_at':
      return 0;
    case 'rate':
      return row.sent + row.received;
    case 'bytes':
      return bytesOf(past);
  }
}

/** Sessions with unknown values come last. */
function bytesOf(past: PastCounters | undefined): number {
  const counters = past?.counters ?? null;
  return counters === null ? -1 : counters.bytes_sent + counters.bytes_received;
}

/**
 * Ranks candidates by their bytes at that time. A session has at least as many bytes today, so every other
 * session had at most as many as the last candidate has today.
 */
async function rankByBytes(
  deps: AtDeps,
  candidates: readonly OpenAtRow[],
  { atMs, after }: { readonly atMs: number; readonly after: PagePosition | null },
  viewer: Viewer,
) {
  const past = await pastCountersOf(deps, candidates, atMs, viewer);
  const keyed = candidates.map((row) => ({ row, bytes: bytesOf(past.get(row.session_id)) }));
  type Keyed = Pick<(typeof keyed)[number], 'bytes'> & {
    readonly row: Pick<OpenAtRow, 'session_id'>;
  };
  const compare = (a: Keyed, b: Keyed) =>
    b.bytes - a.bytes ||
    sessionStartMs(b.row.session_id) - sessionStartMs(a.row.session_id) ||
    (a.row.session_id < b.row.session_id ? 1 : a.row.session_id > b.row.session_id ? -1 : 0);
  const start =
    after === null ? null : { bytes: after.value ?? 0, row: { session_id: after.sessionId } };
  const rows = keyed
    .toSorted(compare)
    .filter((each) => start === null || compare(start, each) < 0)
    .map(({ row }) => row);
  const [first, last] = [candidates[0], candidates.at(-1)];
  const isWhole = first === undefined || first.open <= candidates.length;
  return {
    rows,
    isExact: (least: number | null) =>
      isWhole || (least !== null && last !== undefined && least >= last.bytes_today),
  };
}

async function recordsOf(
  store: Store,
  rows: readonly { readonly session_id: string }[],
  viewer: Viewer,
): Promise<Map<string, SessionRecord>> {
  if (rows.length === 0) return new Map();
  const ids = rows.map((row) => row.session_id);
  const records = await store.ask(sessionsByIdQuery(ids, ids.map(sessionStartMs)), viewer);
  return new Map(records.map((record) => [record.session_id, record]));
}

/** Counters at a past time: of events, else of minutes, else none. */
async function pastCountersOf(
  { store, coverage }: AtDeps,
  rows: readonly { readonly session_id: string }[],
  atMs: number,
  viewer: Viewer,
): Promise<Map<string, PastCounters>> {
  const found = new Map<string, PastCounters>();
  if (rows.length === 0) return found;
  const sessions = rows.map(({ session_id }) => ({
    session_id,
    startedMs: sessionStartMs(session_id),
  }));
  const byEvent = await store.ask(countersByEventQuery(sessions, atMs), viewer);
  for (const { session_id, ...counters } of byEvent) {
    found.set(session_id, { source: 'event', counters });
  }
  const rest = sessions.filter(({ session_id }) => !found.has(session_id));
  if (rest.length === 0) return found;
  const { minutesGoneMs } = await coverage.read();
  const isKept = (startedMs: number) =>
    minutesGoneMs === null || minuteOf(startedMs) >= minutesGoneMs;
  const kept = rest.filter(({ startedMs }) => isKept(startedMs));
  if (kept.length > 0) {
    const records = await recordsOf(store, kept, viewer);
    const named = kept.flatMap((session) => {
      const record = records.get(session.session_id);
      return record === undefined ? [] : [{ ...session, user: plainOf(record.user) }];
    });
    const byMinute =
      named.length === 0
        ? []
        : await store.ask(countersByMinuteQuery(named, minuteOf(atMs)), viewer);
    const moved = new Map(byMinute.map(({ session_id, ...counters }) => [session_id, counters]));
    for (const { session_id } of named) {
      found.set(session_id, { source: 'minute', counters: moved.get(session_id) ?? NOTHING });
    }
  }
  for (const { session_id } of rest) {
    if (!found.has(session_id)) found.set(session_id, { source: 'none', counters: null });
  }
  return found;
}

export function shownAt(
  found: FoundAt,
  presenter: Presenter,
  fields: SessionsQuery['fields'],
): SessionsAtPage {
  const { windowMs } = found;
  return {
    at: toTimestamp(found.atMs),
    items: found.items.map((item): SessionAt => {
      const session = { ...presenter.session(item.row), ...countersOf(item.past) };
      return {
        ...(fields === undefined
          ? session
          : Object.fromEntries(fields.map((name) => [name, session[name]]))),
        counters: item.past.source,
        bytes_sent_per_second: perSecond(item.sent, windowMs),
        bytes_received_per_second: perSecond(item.received, windowMs),
      };
    }),
    next_cursor: found.next,
    total: found.open,
    bytes_sent_per_second: perSecond(found.sent, windowMs),
    bytes_received_per_second: perSecond(found.received, windowMs),
    ranking: found.isExact ? 'exact' : 'bounded',
  };
}

function countersOf({ counters }: PastCounters): { readonly [K in keyof Counters]: number | null } {
  return (
    counters ?? {
      bytes_sent: null,
      bytes_received: null,
      packets_sent: null,
      packets_received: null,
    }
  );
}
