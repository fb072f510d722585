import type { z } from 'zod';
import { sessionStartMs, toTimestamp } from '@sockscope/schemas';
import { LOOKUP_DAYS } from '@sockscope/schemas/api';
import type { Lookup, LookupQuery } from '@sockscope/schemas/api';
import { canonicalIp } from '@sockscope/schemas/net';
import { DAY_MS, floorTo, HOUR_MS, SUM_NAMES } from '@sockscope/schemas/sums';
import type { Known } from '../../coverage/coverage.js';
import { keyedWithin, openWithin } from '../../sql/earlier-starts.js';
import type { Keyed, LookedUp } from '../../sql/earlier-starts.js';
import { remembered } from '../../store/remembered.js';
import { filtersOf, lookedUpOf, projectionOf, restrictedTo } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import { exactHost } from '../../filters/hosts.js';
import type { Viewer } from '../../mask/viewer.js';
import {
  clocksQuery,
  egressSinceQuery,
  egressUnrecordedQuery,
  hasKey,
  lookupKeysQuery,
  lookupQuery,
  startedAt,
  startsQuery,
  unrecordedOf,
} from '../../sql/lookup.js';
import type { KeysPart, SessionKey } from '../../sql/lookup.js';
import type { SessionRecord } from '../../sql/fields.js';
import { plainOf } from '../../sql/stored.js';
import type { LongSessions } from '../../store/long-sessions.js';
import type { Asking, Store } from '../../store/store.js';
import { seriesSums } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';
import type { Coverage, Span } from '../../sums/plan.js';
import { momentMs } from '../../time/moment.js';
import { nowOf, shownRange } from '../../time/range.js';
import type { LookupConfig } from './config.js';

export interface LookupDeps extends SumsDeps {
  readonly lookup: LookupConfig;
  readonly longSessions: Pick<LongSessions, 'beforeMs'>;
  /** Start of the first session with an egress; null if none has. */
  readonly egressSince: () => Promise<string | null>;
}

const EGRESS_SINCE_REUSE_MS = 600_000;

/** Remembers the first session with an egress: it changes only when old sessions are imported or expire. */
export function createEgressSince({ store }: Pick<SumsDeps, 'store'>): LookupDeps['egressSince'] {
  return remembered(async () => {
    const [row] = await store.ask(egressSinceQuery(), { signal: new AbortController().signal });
    return row?.started_at ?? null;
  }, EGRESS_SINCE_REUSE_MS);
}

type Candidate = Pick<Lookup['items'][number], 'matched' | 'distance_ms'> & {
  readonly row: SessionRecord;
};

export interface FoundLookup {
  readonly candidates: readonly Candidate[];
  /** The egress address that was asked for, and the local ones behind it; null if none was. */
  readonly egressIps: readonly string[] | null;
  readonly answer: Omit<Lookup, 'items'>;
}

/** Spans to look in first if the newest sessions are wanted: a popular destination has millions. */
const NEWEST_MS = [HOUR_MS, DAY_MS];
/** Starts to look up at once if the newest sessions of an address are wanted, as a multiple of the limit. */
const STARTS_PER_LIMIT = [1, 4, 32];

interface Seeking {
  readonly filters: Filters;
  readonly range: Span;
  readonly limit: number;
}

interface Found {
  readonly rows: readonly SessionRecord[];
  readonly clocks: readonly Clock[];
  /** Connected sessions without a recorded egress address; null if nobody asked. */
  readonly unrecorded: number | null;
}
type Clock = z.output<ReturnType<typeof clocksQuery>['row']>;

/** Keys of sessions that are read at once. If more may pass, rows are chosen by ClickHouse. */
const KEYS_MAX = 1_000;

/** The sessions that pass and are closest to the time. */
async function closest(
  { store, longSessions }: Pick<LookupDeps, 'store' | 'longSessions'>,
  seeking: Seeking & {
    readonly timeMs: number;
    /** Filters without the egress address; null if no egress address is asked for. */
    readonly others: Filters | null;
  },
  asking: Asking,
): Promise<Found> {
  const { range, timeMs, limit, others } = seeking;
  const found = lookedUpOf(seeking.filters);
  // In few granules, their index of ports costs less than a projection.
  const sought = found.ports === null ? found : { ...found, address: null };
  const unrecorded = others === null ? null : unrecordedOf(lookedUpOf(others));
  const keysIn = async (part: KeysPart) =>
    store.ask(
      lookupKeysQuery(range, { sought, unrecorded }, { ...part, limit: KEYS_MAX + 1 }),
      asking,
    );
  // To plan such a statement takes longer than to run it, and one thread does it: so there are two of them.
  const parts = await Promise.all([
    keysIn({ part: 'newest' }),
    longSessions.beforeMs().then((longBeforeMs) => keysIn({ part: 'earlier', longBeforeMs })),
  ]);
  const keys = parts.flat();
  const isWhole = keys.length <= KEYS_MAX;
  const keysOfSought = keys.filter((key) => key.is_sought === 1);
  const keyed = (of: LookedUp, itsKeys: readonly SessionKey[]) =>
    isWhole ? keyedWithin(range, of, hasKey(itsKeys)) : openWithin(range, of);
  const rowsOf = async () => {
    if (isWhole && keysOfSought.length === 0) return [];
    const { table } = sought;
    return store.ask(
      lookupQuery({ table, found: keyed(sought, keysOfSought), timeMs, limit }),
      asking,
    );
  };
  const countOf = async (of: LookedUp) => {
    const itsKeys = keys.filter((key) => key.is_unrecorded === 1);
    if (isWhole && itsKeys.length === 0) return 0;
    const [row] = await store.ask(egressUnrecordedQuery(of.table, keyed(of, itsKeys)), asking);
    return row?.sessions ?? 0;
  };
  const [rows, count, clocks] = await Promise.all([
    rowsOf(),
    unrecorded === null ? null : countOf(unrecorded),
    isWhole ? clocksOf(store, keysOfSought, asking) : null,
  ]);
  return { rows, unrecorded: count, clocks: clocks ?? (await clocksOf(store, rows, asking)) };
}

async function clocksOf(store: Store, sessions: readonly SessionKey[], asking: Asking) {
  return sessions.length === 0 ? [] : store.ask(clocksQuery(sessions), asking);
}

/** The newest sessions that pass. */
async function newest(store: Store, seeking: Seeking, asking: Asking): Promise<Found> {
  const rows = await newestRows(store, seeking, asking);
  return { rows, clocks: await clocksOf(store, rows, asking), unrecorded: null };
}

async function newestRows(
  store: Store,
  { filters, range, limit: rowsMax }: Seeking,
  asking: Asking,
) {
  const of = { timeMs: null, limit: rowsMax };
  const sought = lookedUpOf(filters);
  const projection = projectionOf(filters);
  const ask = (found: Keyed, table = sought.table) =>
    store.ask(lookupQuery({ ...of, table, found }), asking);
  if (sought.address === null || projection === null) {
    for (const spanMs of NEWEST_MS) {
      const sinceMs = range.toMs - spanMs;
      const found = await ask(openWithin(range, sought, { part: 'newest', sinceMs }));
      if (found.length >= of.limit) return found;
    }
    return ask(openWithin(range, sought));
  }
  const rows: SessionRecord[] = [];
  const fromMs = floorTo(range.fromMs, HOUR_MS);
  let beforeMs = range.toMs + 1;
  for (const each of STARTS_PER_LIMIT) {
    const limit = each * of.limit;
    const found = await store.ask(
      startsQuery({ address: sought.address, projection, fromMs, beforeMs, limit }),
      asking,
    );
    const starts = found.map(({ started_at }) => Date.parse(started_at));
    if (starts.length > 0) {
      const { filter } = sought;
      const { table, ...keyed } = startedAt({ starts, endedMs: range.fromMs, filter, projection });
      rows.push(...(await ask(keyed, table)));
    }
    if (rows.length >= of.limit) return rows;
    if (starts.length < limit) {
      return [...rows, ...(await ask(openWithin(range, sought, { part: 'earlier' })))];
    }
    beforeMs = Math.min(...starts);
  }
  return ask(openWithin(range, sought));
}

/** Sessions that reached an address, or used one of ours, at a time; and how sure that is. */
export async function findByAddress(
  deps: LookupDeps,
  query: LookupQuery,
  viewer: Viewer,
): Promise<FoundLookup> {
  const { store, coverage } = deps;
  const { nowMs } = viewer;
  const atMs = nowOf(nowMs);
  const timeMs = query.time === undefined ? null : momentMs(query.time, atMs, query.time_zone);
  const skewMs = query.skew * 1_000;
  const range: Span =
    timeMs === null
      ? { fromMs: atMs - LOOKUP_DAYS * DAY_MS, toMs: atMs }
      : { fromMs: Math.max(0, timeMs - skewMs), toMs: timeMs + skewMs };
  const destination: Filters = filtersOf({
    ...(query.dest_ip === undefined ? {} : { dest_ip: [query.dest_ip] }),
    ...(query.dest_host === undefined ? {} : { dest_host: [exactHost(query.dest_host)] }),
    ...(query.dest_port === undefined ? {} : { dest_port: [query.dest_port] }),
  });
  const egress: Filters = {
    ...(query.egress_ip === undefined
      ? {}
      : { egress_ip: localAddressesOf(query.egress_ip, deps.lookup) }),
    ...(query.egress_port === undefined ? {} : { egress_port: [query.egress_port] }),
  };
  const asksEgress = Object.keys(egress).length > 0;
  const filters = restrictedTo(viewer.onlyUsers, { ...destination, ...egress });
  const others = restrictedTo(viewer.onlyUsers, destination);
  const seeking = { filters, range, limit: query.limit + 1 };
  const [found, since, known, silent] = await Promise.all([
    timeMs === null
      ? newest(store, seeking, viewer)
      : closest(deps, { ...seeking, timeMs, others: asksEgress ? others : null }, viewer),
    deps.egressSince(),
    coverage.read(),
    timeMs === null || viewer.onlyUsers !== null
      ? null
      : silentProxies(deps, range, { ...viewer, threads: 1 }),
  ]);
  const rows = found.rows.slice(0, query.limit);
  return {
    candidates: rows.map((row) => candidateOf(row, query, timeMs)),
    egressIps: egress.egress_ip ?? null,
    answer: {
      range: shownRange(range),
      truncated: found.rows.length > query.limit,
      completeness: {
        egress_recorded_since: since,
        egress_unrecorded: found.unrecorded,
        data_until: known.newestMs === null ? null : toTimestamp(known.newestMs),
        covers_range: isStoredUntil(Math.min(range.toMs, nowMs), known),
        sessions_since: known.sessionsGoneMs === null ? null : toTimestamp(known.sessionsGoneMs),
        silent_proxies: silent,
        clocks: leastClocks(rows, found.clocks),
      },
      as_of: toTimestamp(nowMs),
    },
  };
}

/** Whether every partition has been read at least until a time. */
function isStoredUntil(ms: number, { newestMs, behindMs, waiting }: Coverage & Known): boolean {
  const waits = waiting.map(({ dataUntilMs }) => dataUntilMs ?? 0);
  return [newestMs ?? 0, behindMs ?? ms, ...waits].every((untilMs) => untilMs >= ms);
}

/** The shortest delay of each proxy, among the events of these sessions. */
function leastClocks(rows: readonly SessionRecord[], clocks: readonly Clock[]) {
  const ids = new Set(rows.map((row) => row.session_id));
  const least = new Map<string, number>();
  for (const { session_id, proxy_id, least_delay_ms } of clocks) {
    if (!ids.has(session_id)) continue;
    least.set(proxy_id, Math.min(least_delay_ms, least.get(proxy_id) ?? least_delay_ms));
  }
  return [...least]
    .map(([proxy_id, least_delay_ms]) => ({ proxy_id, least_delay_ms }))
    .toSorted((a, b) => (a.proxy_id < b.proxy_id ? -1 : 1));
}

/** The local addresses behind a public one, and the address itself. */
function localAddressesOf(address: string, { egress_nat }: LookupConfig): string[] {
  const ip = canonicalIp(address) ?? address;
  const locals = egress_nat.filter(({ publicIp }) => publicIp === ip).map((each) => each.localIp);
  return [...new Set([ip, ...locals])];
}

function candidateOf(row: SessionRecord, query: LookupQuery, timeMs: number | null): Candidate {
  const startedMs = sessionStartMs(row.session_id);
  const distance =
    timeMs === null
      ? null
      : Math.max(
          0,
          startedMs - timeMs,
          row.ended_at === null ? 0 : timeMs - Date.parse(row.ended_at),
        );
  const named = (['dest_ip', 'dest_host', 'dest_port', 'egress_ip', 'egress_port'] as const).filter(
    (name) => query[name] !== undefined,
  );
  return { row, matched: distance === 0 ? [...named, 'time'] : named, distance_ms: distance };
}

/** Proxies that served sessions in the day before and none in the hours of the range. */
async function silentProxies(deps: SumsDeps, range: Span, asking: Asking): Promise<string[]> {
  const fromMs = floorTo(range.fromMs, HOUR_MS);
  const toMs = floorTo(range.toMs, HOUR_MS) + HOUR_MS;
  const beforeMs = Math.max(0, fromMs - DAY_MS);
  const { rows } = await seriesSums(
    deps,
    {
      by: 'proxy',
      range: { fromMs: beforeMs, toMs },
      filters: {},
      cuts: [...new Set([beforeMs, fromMs])],
    },
    asking,
  );
  const heard = rows.filter((row) => SUM_NAMES.some((name) => row[name] > 0));
  const during = new Set(heard.filter(({ slot }) => slot >= fromMs).map(({ key }) => plainOf(key)));
  const before = new Set(heard.map(({ key }) => plainOf(key)));
  return [...before].filter((proxy) => !during.has(proxy)).toSorted();
}
