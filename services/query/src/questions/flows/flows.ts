import { flows, flowsQuery, noParams } from '@sockscope/schemas/api';
import type { Figures } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { shownKeysOf } from '../../mask/presenter.js';
import { visibleFilters } from '../../mask/visible.js';
import { figuresOf } from '../../sums/measures.js';
import { answerMetaOf, flowSums, zeroSums } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';
import { rangeOf } from '../../time/range.js';
import { restOf } from '../top/ranking.js';

/** `GET /flows`: sums by user, destination and port: the edges of a Sankey diagram. */
export function serveFlows(app: FastifyInstance, deps: QuestionDeps & SumsDeps): void {
  serve(app, deps, {
    path: '/flows',
    operationId: 'listFlows',
    summary: 'Flows from users to destinations by port, for a Sankey diagram',
    tag: 'analytics',
    scope: 'read',
    audience: 'untied',
    weight: 'heavy',
    params: noParams,
    query: flowsQuery,
    answer: flows,
    async ask({ query }, context) {
      const filters = await visibleFilters(deps.store, query, context);
      const question = {
        range: rangeOf(query, context.nowMs),
        filters,
        shown: shownKeysOf('flow', context.mask),
      };
      const found = await flowSums(deps, question, query, context);
      return { ...found, nowMs: context.nowMs };
    },
    closed: (_input, { provenance }, nowMs) => isClosed(provenance.range.toMs, nowMs),
    present({ rows, provenance, nowMs }, presenter, { query }) {
      const total = figuresOf(rows.find((row) => row.is_total === 1) ?? zeroSums());
      const items = rows
        .filter((row) => row.is_total === 0)
        .map((row) => {
          const [user, dest_host, dest_port] = row.key;
          return { user: presenter.user(user), dest_host, dest_port, ...figuresOf(row) };
        });
      return {
        ...answerMetaOf(query, provenance, nowMs),
        sort: query.sort,
        items,
        other: restOf(total, items) as Figures | null,
        total,
      };
    },
  });
}
