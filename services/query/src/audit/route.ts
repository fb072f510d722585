import { auditPage, auditQuery, noParams } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import { bindingOf, decodeCursor, encodeCursor } from '../questions/cursor.js';
import { auditEntriesQuery } from '../sql/audit.js';
import type { Store } from '../store/store.js';
import { openRangeOf } from '../time/range.js';

const position = z.tuple([z.int().min(0), z.uuid()]);

/** `GET /audit`: the log of exports, sign-ins, changes of keys and removals. */
export function serveAudit(
  app: FastifyInstance,
  deps: QuestionDeps & { readonly store: Store },
): void {
  serve(app, deps, {
    path: '/audit',
    operationId: 'listAudit',
    summary: 'The log of exports, sign-ins, changes of keys and removals; needs the scope admin',
    tag: 'accounts',
    scope: 'admin',
    audience: 'untied',
    weight: 'light',
    params: noParams,
    query: auditQuery,
    answer: auditPage,
    async ask({ query }, context) {
      const binding = bindingOf('audit', query);
      const [atMs, id] =
        query.cursor === undefined ? [null, ''] : decodeCursor(binding, query.cursor, position);
      const filters = {
        ...openRangeOf(query, context.nowMs),
        action: query.action,
        principal: query.principal,
        after: atMs === null ? null : { atMs, id },
      };
      const rows = await deps.store.ask(auditEntriesQuery(filters, query.limit + 1), context);
      const items = rows.slice(0, query.limit);
      const last = items.at(-1);
      const isMore = rows.length > query.limit && last !== undefined;
      return {
        items,
        next: isMore ? encodeCursor(binding, [Date.parse(last.at), last.entry_id]) : null,
      };
    },
    present: ({ items, next }) => ({
      items: items.map(({ restricted_to, details, ...item }) => ({
        ...item,
        restricted_to: restricted_to.length === 0 ? null : restricted_to,
        details: JSON.parse(details) as Record<string, unknown>,
      })),
      next_cursor: next,
    }),
  });
}
