import { toTimestamp } from '@sockscope/schemas';
import type { DestinationProfile, ProfileQuery, UserProfile } from '@sockscope/schemas/api';
import { DAY_MS, HOUR_MS } from '@sockscope/schemas/sums';
import { ProblemError } from '../../problems/problem.js';
import { seenQuery } from '../../sql/seen.js';
import type { Asking } from '../../store/store.js';
import { automaticInterval } from '../../time/intervals.js';
import { wallOf } from '../../time/zone.js';
import { restrictedTo } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import { answerMetaOf, rangeOfDays } from '../../time/range.js';
import { addExactly, bytesOf, measuresOf } from '../../sums/measures.js';
import type { Span } from '../../sums/plan.js';
import { openAt, seriesSums, together, totalSums } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';
import { topRows } from '../top/top.js';
import { cutsOf, lines } from '../traffic/traffic.js';

const DEFAULT_DAYS = 30;
const TREND_POINTS = 120;
/** The busiest hours are those of the end of a long range. */
const BUSY_DAYS_MAX = 92;

/**
 * Everything about one user.
 *
 * @param onlyUser see destinationProfile.
 * @throws ProblemError not-found where it never had a session.
 */
export async function userProfile(
  deps: SumsDeps,
  user: string | null,
  onlyUser: string | null,
  query: ProfileQuery,
  asking: Asking,
  nowMs: number,
): Promise<UserProfile> {
  if (user === null) throw unknown('user');
  const { profile, counterparts } = await profileOf(
    deps,
    {
      what: 'user',
      key: user,
      counterpart: 'destination',
      filters: restrictedTo(onlyUser, { user: [user] }),
      onlyUser,
    },
    query,
    asking,
    nowMs,
  );
  return {
    user,
    ...profile,
    destinations: counterparts.map(({ key, ...sums }) => ({ dest_host: key, ...sums })),
  };
}

/**
 * Everything about one destination.
 *
 * @param onlyUser sees its own sessions alone; null sees all.
 * @throws ProblemError not-found where nobody asked for it.
 */
export async function destinationProfile(
  deps: SumsDeps,
  destHost: string,
  onlyUser: string | null,
  query: ProfileQuery,
  asking: Asking,
  nowMs: number,
): Promise<DestinationProfile> {
  const { profile, counterparts } = await profileOf(
    deps,
    {
      what: 'destination',
      key: destHost,
      counterpart: 'user',
      filters: restrictedTo(onlyUser, { dest_host: { exact: [destHost], suffixes: [] } }),
      onlyUser,
    },
    query,
    asking,
    nowMs,
  );
  return {
    dest_host: destHost,
    ...profile,
    users: counterparts.map(({ key, ...sums }) => ({ user: key, ...sums })),
  };
}

function unknown(what: string): ProblemError {
  return new ProblemError('not-found', `there is no session of this ${what}`);
}

async function profileOf(
  deps: SumsDeps,
  subject: {
    readonly what: 'user' | 'destination';
    readonly key: string;
    readonly counterpart: 'user' | 'destination';
    readonly filters: Filters;
    readonly onlyUser: string | null;
  },
  query: ProfileQuery,
  asking: Asking,
  nowMs: number,
) {
  const range = rangeOfDays(query, DEFAULT_DAYS, nowMs);
  const { filters } = subject;
  const seenBy = seenQuery(subject.what, subject.key, subject.onlyUser);
  const [seen] = await deps.store.ask(seenBy, asking);
  if (seen === undefined || seen.sessions === 0) {
    throw unknown(subject.what);
  }
  const interval = automaticInterval(
    range.fromMs,
    range.toMs,
    query.time_zone,
    // One more than days, because a range of days that ends now begins and ends within one.
    Math.min(TREND_POINTS, Math.ceil((range.toMs - range.fromMs) / DAY_MS)) + 1,
  );
  const cuts = cutsOf(range, interval, query.time_zone);
  const [totals, active, trend, busiestHours, counterparts] = await Promise.all([
    totalSums(deps, { range, filters }, asking),
    openAt(deps, range.toMs, filters, asking, nowMs),
    lines(deps, { dimension: 'total', range, filters, cuts }, asking),
    hoursOf(deps, range, filters, query.time_zone, asking),
    topRows(
      deps,
      { dimension: subject.counterpart, by: 'bytes', limit: query.limit, range, filters },
      asking,
    ),
  ]);
  return {
    counterparts: counterparts.rows.items,
    profile: {
      ...answerMetaOf(
        range,
        query,
        together(totals.provenance, trend.provenance, counterparts.provenance),
        nowMs,
      ),
      first_seen: seen.first_seen,
      last_seen: seen.last_seen,
      active,
      totals: measuresOf(totals.sums),
      trend: { interval, buckets: cuts.map(toTimestamp), series: trend.series },
      busiest_hours: busiestHours,
    },
  };
}

/** Sessions started and bytes moved by hour of the day, on the zone's clock at the start of each UTC hour. */
async function hoursOf(
  deps: SumsDeps,
  range: Span,
  filters: Filters,
  zone: string,
  asking: Asking,
) {
  const fromMs = Math.max(range.fromMs, range.toMs - BUSY_DAYS_MAX * DAY_MS);
  const cuts = [fromMs];
  for (let ms = (Math.floor(fromMs / HOUR_MS) + 1) * HOUR_MS; ms < range.toMs; ms += HOUR_MS) {
    cuts.push(ms);
  }
  const { rows } = await seriesSums(
    deps,
    { dimension: 'total', range: { fromMs, toMs: range.toMs }, filters, cuts },
    asking,
  );
  const hours = Array.from({ length: 24 }, (_, hour) => ({ hour, sessions: 0, bytes: 0 }));
  for (const row of rows) {
    const hour = hours[wallOf(row.slot, zone).getUTCHours()];
    if (hour === undefined) continue;
    hour.sessions += row.sessions_started;
    hour.bytes = addExactly(hour.bytes, bytesOf(row));
  }
  return hours;
}
