import { noParams, stats, statsQuery } from '@sockscope/schemas/api';
import type { PeriodStats } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { shownKeysOf } from '../../mask/presenter.js';
import { visibleFilters } from '../../mask/visible.js';
import type { Sums } from '../../sql/sums.js';
import { figuresOf } from '../../sums/measures.js';
import { answerMetaOf, openAt, sketchesOf, totalSums, worstOf } from '../../sums/sums.js';
import type { PeriodSketches, SumsDeps } from '../../sums/sums.js';
import { periodBefore, rangeOf, shownRange } from '../../time/range.js';
import { rankedKeysOf } from '../top/ranking.js';

const TOP = { sort: 'bytes', limit: 10 } as const;

/** `GET /stats`: counts of a period and the previous one, with the busiest users and destinations. */
export function serveStats(app: FastifyInstance, deps: QuestionDeps & SumsDeps): void {
  serve(app, deps, {
    path: '/stats',
    operationId: 'getStats',
    summary: 'Statistics of a range, today by default, and of the previous period',
    tag: 'analytics',
    scope: 'read',
    audience: 'everyone',
    weight: 'heavy',
    params: noParams,
    query: statsQuery,
    answer: stats,
    async ask({ query }, context) {
      const { nowMs, mask, signal } = context;
      // Several queries at once keep the cores busy; more threads for each would only cost.
      const asking = { signal, threads: 1 };
      const filters = await visibleFilters(deps.store, query, context);
      const range = rangeOf(query, nowMs);
      const before = periodBefore(range, query.time_zone);
      const of = { range, filters };
      const tops = [
        { by: 'total', ...of },
        { by: 'user', shown: shownKeysOf('user', mask), ...of },
        { by: 'destination', shown: shownKeysOf('dest_host', mask), ...of },
      ] as const;
      const [[current, users, destinations], previous, [sketches, sketchesBefore], open] =
        await Promise.all([
          rankedKeysOf(deps, tops, TOP, asking),
          totalSums(deps, { range: before, filters }, asking),
          sketchesOf(deps, { ranges: [range, before], filters }, asking),
          openAt(deps, { atMs: range.toMs, filters, nowMs }, asking),
        ]);
      if (current === undefined || users === undefined || destinations === undefined) {
        throw new TypeError('a ranking is missing');
      }
      return {
        range,
        current,
        users,
        destinations,
        previous,
        sketches,
        sketchesBefore,
        open,
        nowMs,
      };
    },
    closed: (_input, { range }, nowMs) => isClosed(range.toMs, nowMs),
    present: (found, presenter, { query }) => ({
      ...answerMetaOf(
        query,
        worstOf(
          found.current.provenance,
          found.previous.provenance,
          found.users.provenance,
          found.destinations.provenance,
        ),
        found.nowMs,
      ),
      sessions_open: found.open,
      current: periodStatsOf(found.current.sums, found.sketches),
      // If sessions are no longer kept, whole hours.
      previous_range: shownRange(found.previous.provenance.range),
      previous: periodStatsOf(found.previous.sums, found.sketchesBefore),
      top_users: found.users.items.map(({ key, ...figures }) => ({
        user: presenter.user(key),
        ...figures,
      })),
      top_destinations: found.destinations.items.map(({ key, ...figures }) => ({
        dest_host: String(presenter.key('dest_host', key)),
        ...figures,
      })),
    }),
  });
}

function periodStatsOf(sums: Sums, sketches: PeriodSketches | undefined): PeriodStats {
  // Within 1 %: more digits would be noise.
  const [p50 = null, p90 = null, p95 = null, p99 = null] = (sketches?.quantiles ?? []).map(
    (quantile) => (quantile === null ? null : Math.round(quantile)),
  );
  return {
    ...figuresOf(sums),
    unique_users: sketches?.users ?? 0,
    unique_destinations: sketches?.destinations ?? 0,
    unique_sources: sketches?.sources ?? 0,
    duration_quantiles_ms: { p50, p90, p95, p99 },
  };
}
