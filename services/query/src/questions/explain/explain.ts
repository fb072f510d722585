import { explain, EXPLAIN_FIELDS, explainQuery, noParams } from '@sockscope/schemas/api';
import type { ExplainField, ExplainQuery } from '@sockscope/schemas/api';
import { countsAtEnd, DIMENSIONS, keyColumn } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import type { FastifyInstance } from 'fastify';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { shownKeysOf } from '../../mask/presenter.js';
import { visibleFilters } from '../../mask/visible.js';
import { changesQuery } from '../../sql/explain.js';
import type { Compared } from '../../sql/explain.js';
import { rowsOf } from '../../sql/sums.js';
import type { Span } from '../../sums/plan.js';
import { answerMetaOf, prepare, worstOf } from '../../sums/sums.js';
import type { SumsDeps } from '../../sums/sums.js';
import { periodBefore, rangeOf, shownRange } from '../../time/range.js';

/** A smaller change has no parts worth naming. */
const CHANGE_MIN = 0.01;

/** `GET /explain`: the values that a change comes from. */
export function serveExplain(app: FastifyInstance, deps: QuestionDeps & SumsDeps): void {
  serve(app, deps, {
    path: '/explain',
    operationId: 'explain',
    summary: 'Ranks the users, destinations, ports, sources, rules and proxies that cause a change',
    tag: 'analytics',
    scope: 'read',
    audience: 'untied',
    weight: 'heavy',
    params: noParams,
    query: explainQuery,
    answer: explain,
    async ask({ query }, context) {
      const { nowMs, mask, signal } = context;
      const filters = await visibleFilters(deps.store, query, context);
      const range = rangeOf(query, nowMs);
      const before = previousOf(query, range, nowMs);
      const coverage = await deps.coverage.read();
      const prepared = EXPLAIN_FIELDS.map((field) => {
        const by = dimensionOf(field);
        const question = { by, filters, shown: shownKeysOf(field, mask) };
        const now = prepare({ ...question, range }, coverage);
        const then = prepare({ ...question, range: before }, coverage);
        const provenance = worstOf(now.provenance, then.provenance);
        return { field, by, now: now.of, before: then.of, provenance };
      });
      const rows = await Promise.all(
        readTogether(prepared).map((all) =>
          deps.store.ask(changesQuery(all, query.measure, query.limit), {
            signal,
            // Several queries keep the cores busy. One that has most of the work gets them all.
            threads: all.length === 1 ? 1 : undefined,
          }),
        ),
      );
      const fields = prepared.map(({ field, by, provenance }) => ({
        field,
        by,
        provenance,
        rows: rows.flat().filter(({ dimension }) => dimension === by),
      }));
      return { fields, before, nowMs };
    },
    closed: (_input, { fields, before }, nowMs) =>
      isClosed(fields[0]?.provenance.range.toMs, nowMs) && isClosed(before.toMs, nowMs),
    present({ fields, before, nowMs }, presenter, { query }) {
      const [first, ...others] = fields;
      if (first === undefined) throw new TypeError('there are fields');
      const totalOf = ({ rows }: (typeof fields)[number]) => {
        const row = rows.find((each) => each.is_total === 1);
        return changeOf({ current: row?.current ?? 0, previous: row?.previous ?? 0 });
      };
      const total = totalOf(first);
      const provenance = worstOf(first.provenance, ...others.map((each) => each.provenance));
      return {
        ...answerMetaOf(query, provenance, nowMs),
        previous_range: shownRange(before),
        measure: query.measure,
        ...total,
        is_defined: isDefined(total),
        fields: fields.map((each) => {
          const whole = totalOf(each);
          return {
            field: each.field,
            counts_at_end: countsAtEnd(each.by),
            items: each.rows
              .filter((row) => row.is_total === 0)
              .map((row) => {
                const part = changeOf(row);
                return {
                  value: presenter.key(each.field, row.key),
                  ...part,
                  share: isDefined(whole) ? part.change / whole.change : null,
                };
              }),
          };
        }),
      };
    },
  });
}

/** Dimensions that are summed from the same rows. Sums by one dimension have rows of their own. */
function readTogether(all: readonly Compared[]): Compared[][] {
  const byRows = new Map<string, Compared[]>();
  for (const each of all) {
    const rows = rowsOf(each.now);
    byRows.set(rows, [...(byRows.get(rows) ?? []), each]);
  }
  return [...byRows.values()];
}

function changeOf({ current, previous }: { readonly current: number; readonly previous: number }) {
  return { current, previous, change: current - previous };
}

function isDefined({ change, previous }: { readonly change: number; readonly previous: number }) {
  return change !== 0 && Math.abs(change) >= CHANGE_MIN * previous;
}

function previousOf(query: ExplainQuery, range: Span, nowMs: number): Span {
  const { previous_from: from, previous_to: to, time_zone } = query;
  if (from === undefined || to === undefined) return periodBefore(range, time_zone);
  return rangeOf({ from, to, time_zone }, nowMs);
}

function dimensionOf(field: ExplainField): Dimension {
  const found = DIMENSIONS.find((each) => keyColumn(each) === field);
  if (found === undefined) throw new TypeError(`${field} has no sums`);
  return found;
}
