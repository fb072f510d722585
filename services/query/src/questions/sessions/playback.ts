import { minuteOf, sessionStartMs, toTimestamp } from '@sockscope/schemas';
import { noParams, playback, PLAYBACK_FRAMES_MAX, playbackQuery } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { filterOf, sessionsTableOf } from '../../filters/filters.js';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { visibleFilters } from '../../mask/visible.js';
import { invalidParameters } from '../../problems/problem.js';
import { playbackQuery as framesQuery } from '../../sql/open-at.js';
import { sessionsByIdQuery } from '../../sql/sessions.js';
import type { Store } from '../../store/store.js';
import { minuteWindowMs, perSecond } from '../../sums/rates.js';
import { momentMs } from '../../time/moment.js';
import { nowOf } from '../../time/range.js';

/** `GET /sessions/playback`: the open sessions at each of many past moments. */
export function servePlayback(
  app: FastifyInstance,
  deps: QuestionDeps & { readonly store: Store },
): void {
  const { store } = deps;
  serve(app, deps, {
    path: '/sessions/playback',
    operationId: 'playBackSessions',
    summary: 'Open sessions with the most traffic at each step of a range',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: 'heavy',
    params: noParams,
    query: playbackQuery,
    answer: playback,
    async ask({ query }, context) {
      const { nowMs } = context;
      const at = (moment: typeof query.from) => momentMs(moment, nowOf(nowMs), query.time_zone);
      const framesMs = framesOf(at(query.from), at(query.to), query.step);
      const filters = await visibleFilters(store, query, context);
      const rows = await store.ask(
        framesQuery({
          table: sessionsTableOf(filters),
          framesMs,
          filter: filterOf(filters),
          limit: query.limit,
        }),
        context,
      );
      const ids = [...new Set(rows.map((row) => row.session_id))];
      const sessions =
        ids.length === 0
          ? []
          : await store.ask(sessionsByIdQuery(ids, ids.map(sessionStartMs)), context);
      return { framesMs, rows, sessions, nowMs };
    },
    closed: (_input, { framesMs, sessions }, nowMs) =>
      isClosed(framesMs.at(-1), nowMs) && sessions.every(({ status }) => status !== 'active'),
    present({ framesMs, rows, sessions, nowMs }, presenter, { query }) {
      const byFrame = new Map<number, typeof rows>(
        framesMs.map((ms) => [ms, rows.filter((row) => row.at === ms)]),
      );
      return {
        step_ms: query.step,
        frames: framesMs.map((ms) => {
          const items = byFrame.get(ms) ?? [];
          const windowMs = minuteWindowMs(minuteOf(ms), nowMs);
          return {
            at: toTimestamp(ms),
            open: items[0]?.open ?? 0,
            bytes_sent_per_second: perSecond(items[0]?.all_sent ?? 0, windowMs),
            bytes_received_per_second: perSecond(items[0]?.all_received ?? 0, windowMs),
            items: items.map((row) => ({
              session_id: row.session_id,
              bytes_sent_per_second: perSecond(row.sent, windowMs),
              bytes_received_per_second: perSecond(row.received, windowMs),
            })),
          };
        }),
        sessions: sessions.map((row) => presenter.session(row)),
      };
    },
  });
}

/** @throws ProblemError invalid-parameters if there are none or too many. */
function framesOf(fromMs: number, toMs: number, stepMs: number): number[] {
  if (toMs <= fromMs) {
    throw invalidParameters([{ parameter: 'to', message: 'must be after from' }]);
  }
  const count = Math.ceil((toMs - fromMs) / stepMs);
  if (count > PLAYBACK_FRAMES_MAX) {
    const message = `gives ${count} frames over this range; at most ${PLAYBACK_FRAMES_MAX} are allowed`;
    throw invalidParameters([{ parameter: 'step', message }]);
  }
  return Array.from({ length: count }, (_each, i) => fromMs + i * stepMs);
}
