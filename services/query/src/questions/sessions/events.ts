import { sessionStartMs } from '@sockscope/schemas';
import { sessionParams, timelinePage, timelineQuery } from '@sockscope/schemas/api';
import type { TimelineEvent } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import { sessionEventsQuery } from '../../sql/sessions.js';
import type { EventRow } from '../../sql/sessions.js';
import type { Store } from '../../store/store.js';
import { bindingOf, decodeCursor, encodeCursor } from '../cursor.js';
import { sessionById } from './session.js';
import type { SessionDeps } from './session.js';

const position = z.tuple([z.int().min(0)]);

/** `GET /sessions/{session_id}/events`: the timeline of one session. */
export function serveSessionEvents(
  app: FastifyInstance,
  deps: QuestionDeps & SessionDeps & { readonly store: Store },
): void {
  serve(app, deps, {
    path: '/sessions/:session_id/events',
    operationId: 'listSessionEvents',
    summary: 'The timeline of one session: its events in order, gaps and late ones marked',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: sessionParams,
    query: timelineQuery,
    answer: timelinePage,
    async ask({ params, query }, context) {
      const id = params.session_id;
      const binding = bindingOf('events', { id });
      const [afterSeq] =
        query.cursor === undefined ? [-1] : decodeCursor(binding, query.cursor, position);
      // Checks the owner first, so that no event of another user is read.
      await sessionById(deps, id, context);
      const rows = await deps.store.ask(
        sessionEventsQuery({
          sessionId: id,
          startedMs: sessionStartMs(id),
          afterSeq,
          limit: query.limit + 1,
        }),
        context,
      );
      const items = rows.slice(0, query.limit);
      const last = items.at(-1);
      return {
        items: timelineOf(items, afterSeq),
        // Every session has events: if there are none, they have expired.
        expired: afterSeq < 0 && items.length === 0,
        next:
          rows.length > query.limit && last !== undefined
            ? encodeCursor(binding, [last.seq])
            : null,
      };
    },
    present: ({ items, expired, next }) => ({ items, expired, next_cursor: next }),
  });
}

/** Marks gaps: seq counts 0, 1, 2 … within a session. */
export function timelineOf(rows: readonly EventRow[], afterSeq: number): TimelineEvent[] {
  let previous = afterSeq;
  return rows.map((row) => {
    const missing = row.seq - previous - 1;
    previous = row.seq;
    const {
      delta_bytes_sent: bytes_sent,
      delta_bytes_received: bytes_received,
      delta_packets_sent: packets_sent,
      delta_packets_received: packets_received,
      ...event
    } = row;
    return {
      ...event,
      delta:
        row.interval_start === null
          ? null
          : { bytes_sent, bytes_received, packets_sent, packets_received },
      missing_before: missing,
    };
  });
}
