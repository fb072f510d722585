import { toTimestamp } from '@sockscope/schemas';
import {
  destinationParams,
  destinationProfile,
  profileQuery,
  userParams,
  userProfile,
} from '@sockscope/schemas/api';
import type { ProfileQuery } from '@sockscope/schemas/api';
import { DAY_MS, HOUR_MS } from '@sockscope/schemas/sums';
import type { FastifyInstance } from 'fastify';
import { recordedHosts, restrictedTo } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import { exactHost } from '../../filters/hosts.js';
import { predicateOf } from '../../filters/predicate.js';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { shownKeysOf } from '../../mask/presenter.js';
import type { Viewer } from '../../mask/viewer.js';
import { visibleFilters, visibleUsers } from '../../mask/visible.js';
import { ProblemError } from '../../problems/problem.js';
import { seenQuery } from '../../sql/seen.js';
import type { Asking } from '../../store/store.js';
import { addExactly, bytesOf, figuresOf } from '../../sums/measures.js';
import type { Span } from '../../sums/plan.js';
import { answerMetaOf, openAt, seriesSums, totalSums, worstOf } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';
import { automaticInterval, cutRange } from '../../time/intervals.js';
import { rangeOfDays, shownRange } from '../../time/range.js';
import { wallOf } from '../../time/zone.js';
import { rankedKeys } from '../top/ranking.js';
import { cutsOf, linesOf } from '../traffic/series.js';

const DEFAULT_DAYS = 30;
const TREND_POINTS = 120;
/** The busiest hours cover the end of a long range. */
const BUSY_DAYS_MAX = 92;
/** Limit for zones whose hours begin at half past: sums per UTC hour do not help, so sessions are counted. */
const BUSY_DAYS_EXACT_MAX = 7;

/** `GET /users/{user}` and `GET /destinations/{dest_host}`: everything about one of them. */
export function serveProfiles(app: FastifyInstance, deps: QuestionDeps & SumsDeps): void {
  const common = {
    tag: 'analytics',
    scope: 'read',
    audience: 'untied',
    weight: 'heavy',
  } as const;
  serve(app, deps, {
    ...common,
    path: '/users/:user',
    operationId: 'getUser',
    summary: 'A user: first and last seen, totals, trend, destinations, busiest hours',
    params: userParams,
    query: profileQuery,
    answer: userProfile,
    async ask({ params, query }, context) {
      const [user] = await visibleUsers(deps.store, [params.user], context);
      if (user === undefined) throw unknown('user');
      return profileOf(deps, { what: 'user', names: [user] }, query, context);
    },
    closed: (_input, { range }, nowMs) => isClosed(range.toMs, nowMs),
    present: ({ profile, counterparts }, presenter, { params }) => ({
      user: params.user,
      ...profile,
      destinations: counterparts.map(({ key, ...figures }) => ({
        dest_host: String(presenter.key('dest_host', key)),
        ...figures,
      })),
    }),
  });
  serve(app, deps, {
    ...common,
    path: '/destinations/:dest_host',
    operationId: 'getDestination',
    summary: 'A destination: first and last seen, totals, trend, users, busiest hours',
    params: destinationParams,
    query: profileQuery,
    answer: destinationProfile,
    ask: ({ params, query }, context) =>
      profileOf(
        deps,
        { what: 'destination', names: recordedHosts(params.dest_host) },
        query,
        context,
      ),
    closed: (_input, { range }, nowMs) => isClosed(range.toMs, nowMs),
    present: ({ profile, counterparts, name }, presenter) => ({
      dest_host: name,
      ...profile,
      users: counterparts.map(({ key, ...figures }) => ({ user: presenter.user(key), ...figures })),
    }),
  });
}

function unknown(what: string): ProblemError {
  return new ProblemError('not-found', `there is no session of this ${what}`);
}

/** @throws ProblemError not-found if there never was a session of it. */
async function profileOf(
  deps: SumsDeps,
  subject: { readonly what: 'user' | 'destination'; readonly names: readonly string[] },
  query: ProfileQuery,
  viewer: Viewer,
) {
  const { onlyUsers, nowMs, mask } = viewer;
  const { what, names } = subject;
  const range = rangeOfDays(query, DEFAULT_DAYS, nowMs);
  const visible = await visibleFilters(deps.store, query, viewer);
  const filters = subjectFilters(subject, visible, onlyUsers);
  const [seen] = await deps.store.ask(seenQuery(what, names, onlyUsers), viewer);
  if (seen === undefined || seen.sessions === 0) throw unknown(what);
  const interval = automaticInterval(
    range,
    query.time_zone,
    // One more than days, because a range of days that ends now begins and ends within one.
    Math.min(TREND_POINTS, Math.ceil((range.toMs - range.fromMs) / DAY_MS)) + 1,
  );
  const cuts = cutsOf(range, interval, query.time_zone);
  const counterpart =
    what === 'user'
      ? { by: 'destination' as const, field: 'dest_host' as const }
      : { by: 'user' as const, field: 'user' as const };
  const [totals, open, trend, busiest, counterparts] = await Promise.all([
    totalSums(deps, { range, filters }, viewer),
    openAt(deps, { atMs: range.toMs, filters, nowMs }, viewer),
    linesOf(deps, { by: 'total', range, filters, cuts }, viewer),
    busiestHours(deps, { range, filters }, query.time_zone, viewer),
    rankedKeys(
      deps,
      { by: counterpart.by, range, filters, shown: shownKeysOf(counterpart.field, mask) },
      { sort: 'bytes', limit: query.limit },
      viewer,
    ),
  ]);
  return {
    range,
    name: names[0] ?? '',
    counterparts: counterparts.items,
    profile: {
      ...answerMetaOf(
        query,
        worstOf(totals.provenance, trend.provenance, counterparts.provenance),
        nowMs,
      ),
      first_seen: seen.first_seen,
      last_seen: seen.last_seen,
      sessions_open: open,
      totals: figuresOf(totals.sums),
      trend: {
        interval,
        buckets: cuts.map(toTimestamp),
        series: trend.lines.map((line) => ({ ...line, key: null })),
      },
      busiest_hours: busiest,
    },
  };
}

/** The filters of the request on the sessions of one user or destination. */
function subjectFilters(
  { what, names }: { readonly what: 'user' | 'destination'; readonly names: readonly string[] },
  filters: Filters,
  onlyUsers: readonly string[] | null,
): Filters {
  const field = what === 'user' ? 'user' : 'dest_host';
  const passes = predicateOf({ [field]: filters[field] });
  const passing = names.filter((name) => passes({ [field]: name }));
  const values = what === 'user' ? passing : passing.map(exactHost);
  return restrictedTo(onlyUsers, { ...filters, [field]: values });
}

/** Sessions started and bytes moved by hour of the day on the zone's clock. */
async function busiestHours(
  deps: SumsDeps,
  { range, filters }: { readonly range: Span; readonly filters: Filters },
  zone: string,
  asking: Asking,
) {
  const inDays = (days: number) => Math.max(range.fromMs, range.toMs - days * DAY_MS);
  const isWhole = (fromMs: number) =>
    cutRange({ fromMs, toMs: range.toMs }, '1h', zone, BUSY_DAYS_MAX * 25)
      .slice(1)
      .every((cut) => cut % HOUR_MS === 0);
  const longMs = inDays(BUSY_DAYS_MAX);
  const fromMs = isWhole(longMs) ? longMs : inDays(BUSY_DAYS_EXACT_MAX);
  const span = { fromMs, toMs: range.toMs };
  const cuts = cutRange(span, '1h', zone, BUSY_DAYS_MAX * 25);
  const { rows } = await seriesSums(deps, { by: 'total', range: span, filters, cuts }, asking);
  const hours = Array.from({ length: 24 }, (_, hour) => ({ hour, sessions_started: 0, bytes: 0 }));
  for (const row of rows) {
    const hour = hours[wallOf(row.slot, zone).getUTCHours()];
    if (hour === undefined) continue;
    hour.sessions_started += row.sessions_started;
    hour.bytes = addExactly(hour.bytes, bytesOf(row));
  }
  return { range: shownRange(span), hours };
}
