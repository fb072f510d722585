import {
  API_LIMITS,
  noParams,
  sessionsAtPage,
  sessionsPage,
  sessionsQuery,
} from '@sockscope/schemas/api';
import type { Session, SessionsAtPage, SessionsPage, SessionsQuery } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ExportDeps } from '../../export/export.js';
import { sendExport } from '../../export/export.js';
import { exportFormatOf } from '../../export/negotiate.js';
import { filterOf, sessionsTableOf } from '../../filters/filters.js';
import { isClosed } from '../../http/caching.js';
import type { Context } from '../../http/context.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { visibleFilters } from '../../mask/visible.js';
import { exportSessions } from '../../sql/exports.js';
import { allOf } from '../../sql/query.js';
import type { Condition } from '../../sql/query.js';
import { sessionsIn, sessionTotalsQuery, startedWithin } from '../../sql/sessions.js';
import type { SessionSort } from '../../sql/sessions.js';
import { createWeighed } from '../../store/weighed.js';
import type { WeighedDeps } from '../../store/weighed.js';
import { openRangeOf } from '../../time/range.js';
import { bindingOf } from '../cursor.js';
import { sessionsAt, shownAt } from './at.js';
import type { AtDeps } from './at.js';
import { pageRows, rangeOfStarts, startsOf } from './page.js';
import type { PageDeps, PageOf } from './page.js';
import { positionOf, readCursor, writeCursor } from './position.js';

/** Only a page of a time has `at`: it is the first to be tried. */
const sessionsAnswer = z.union([sessionsAtPage, sessionsPage]);

/** `GET /sessions`: history, page by page. */
export function serveSessions(
  app: FastifyInstance,
  deps: QuestionDeps & PageDeps & ExportDeps & AtDeps & WeighedDeps,
): void {
  const { store } = deps;
  serve(app, deps, {
    path: '/sessions',
    operationId: 'listSessions',
    summary: 'Sessions that started, ended or were open in a range or at a time',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    // By the rows that it reads: a page takes a heavy place once it needs one.
    weight: 'light',
    params: noParams,
    query: sessionsQuery,
    answer: sessionsAnswer,
    other: ({ query }, context) => maybeExport(deps, query, context),
    async ask({ query }, context) {
      if (query.at !== undefined) return sessionsAt(deps, query, context);
      const binding = bindingOf('sessions', query);
      const cursor = query.cursor === undefined ? null : readCursor(binding, query.cursor);
      const filters = await visibleFilters(store, query, context);
      const page: PageOf = {
        in: query.in,
        range: cursor?.range ?? openRangeOf(query, context.nowMs),
        filters,
        sort: sortOfRange(query),
        order: query.order,
        position: cursor?.position ?? null,
        limit: query.limit ?? API_LIMITS.page_size_default,
      };
      const weighed = createWeighed(deps, context);
      const [rows, totals] = await Promise.all([
        pageRows(deps, weighed, page, context),
        query.totals === true ? weighed.ask(totalsOf(page), true) : null,
      ]).finally(() => {
        weighed.leave();
      });
      const items = rows.slice(0, page.limit);
      const last = items.at(-1);
      return {
        range: page.range,
        items,
        totals,
        next:
          rows.length > page.limit && last !== undefined
            ? writeCursor(binding, { position: positionOf(last, page.sort), range: page.range })
            : null,
      };
    },
    closed: (_input, found, nowMs) =>
      'atMs' in found
        ? isClosed(found.atMs, nowMs) && found.items.every(({ row }) => row.status !== 'active')
        : isClosed(found.range.toMs ?? undefined, nowMs) &&
          found.items.every((item) => item.status !== 'active'),
    present: (found, presenter, { query }): SessionsPage | SessionsAtPage => {
      if ('atMs' in found) return shownAt(found, presenter, query.fields);
      const { items, totals, next } = found;
      const sums = totals?.[0];
      return {
        items: items.map((item) => picked(presenter.session(item), query.fields)),
        next_cursor: next,
        ...(sums === undefined ? {} : { totals: sums }),
      };
    },
  });
}

/** Sends sessions as a file if the request asks for one. Returns whether it was. */
async function maybeExport(
  deps: Pick<PageDeps, 'store'> & ExportDeps,
  query: SessionsQuery,
  context: Context,
): Promise<boolean> {
  const format = exportFormatOf(query, context);
  if (format === null) return false;
  await sendExport(deps, context, {
    format,
    name: 'sessions',
    async statement() {
      const filters = await visibleFilters(deps.store, query, context);
      const range = openRangeOf(query, context.nowMs);
      return exportSessions(
        {
          table: sessionsTableOf(filters),
          filter: conditionOf({ in: query.in, range, filters }),
          range: rangeOfStarts(query.in, startsOf({ in: query.in, range })),
          sort: sortOfRange(query),
          order: query.order,
          limit: query.limit ?? null,
          fields: query.fields ?? null,
        },
        { format, mask: context.mask },
      );
    },
  });
  return true;
}

/** The parameters were checked: a rate belongs to a time. */
function sortOfRange({ sort }: SessionsQuery): SessionSort {
  return sort === 'rate' ? 'started_at' : sort;
}

function totalsOf(page: PageOf) {
  const range = rangeOfStarts(page.in, startsOf(page));
  return sessionTotalsQuery(sessionsTableOf(page.filters), conditionOf(page), range);
}

/** All sessions of all pages. */
function conditionOf(page: Pick<PageOf, 'in' | 'range' | 'filters'>): Condition {
  const { lowMs, highMs } = startsOf(page);
  return allOf([
    startedWithin(lowMs, highMs),
    sessionsIn(page.in, page.range),
    filterOf(page.filters),
  ]);
}

function picked(session: Session, fields: SessionsQuery['fields']): Partial<Session> {
  if (fields === undefined) return session;
  return Object.fromEntries(fields.map((name) => [name, session[name]]));
}
