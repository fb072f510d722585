import {
  activeSessionsPage,
  activeSessionsQuery,
  noQuery,
  problem,
  session,
  sessionParams,
  sessionsPage,
  sessionsQuery,
  stats,
  statsQuery,
  timelinePage,
  timelineQuery,
  topDestinations,
  topQuery,
  topUsers,
} from '@sockscope/schemas/api';
import type { FastifyRequest } from 'fastify';
import type { FastifyInstance, FastifyBaseLogger, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { activeSessions } from '../questions/active/active.js';
import {
  sessionById,
  sessionsPage as answerSessionsPage,
  sessionTimeline,
} from '../questions/sessions/sessions.js';
import { stats as answerStats } from '../questions/stats/stats.js';
import { topAnswer } from '../questions/top/top.js';
import type { Asking, Store } from '../store/store.js';

type ZodApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

const problems = {
  400: problem,
  404: problem,
  422: problem,
  503: problem,
};

/** A question ends when its client goes away. */
function askingOf(request: FastifyRequest): Asking {
  return { signal: request.signal };
}

/** The questions, under `/api/v1`. */
export function serveApi(
  app: ZodApp,
  deps: { readonly store: Store; readonly now: () => number },
): void {
  const { store, now } = deps;
  app.get(
    '/sessions',
    {
      schema: {
        operationId: 'listSessions',
        summary: 'History of sessions, the newest first unless sorted otherwise',
        tags: ['sessions'],
        querystring: sessionsQuery,
        response: { 200: sessionsPage, ...problems },
      },
    },
    (request) => answerSessionsPage(store, request.query, askingOf(request), now()),
  );
  app.get(
    '/sessions/active',
    {
      schema: {
        operationId: 'listActiveSessions',
        summary: 'Sessions open now, with their current rates',
        tags: ['sessions'],
        querystring: activeSessionsQuery,
        response: { 200: activeSessionsPage, ...problems },
      },
    },
    (request) => activeSessions(store, request.query, askingOf(request), now()),
  );
  app.get(
    '/sessions/:session_id',
    {
      schema: {
        operationId: 'getSession',
        summary: 'One session',
        tags: ['sessions'],
        params: sessionParams,
        querystring: noQuery,
        response: { 200: session, ...problems },
      },
    },
    (request) => sessionById(store, request.params.session_id, askingOf(request)),
  );
  app.get(
    '/sessions/:session_id/events',
    {
      schema: {
        operationId: 'listSessionEvents',
        summary: 'The timeline of one session: its events in order, gaps and late ones marked',
        tags: ['sessions'],
        params: sessionParams,
        querystring: timelineQuery,
        response: { 200: timelinePage, ...problems },
      },
    },
    (request) =>
      sessionTimeline(store, request.params.session_id, request.query, askingOf(request)),
  );
  app.get(
    '/stats',
    {
      schema: {
        operationId: 'getStats',
        summary: 'Counts of a range, today by default, beside those of the period before',
        tags: ['analytics'],
        querystring: statsQuery,
        response: { 200: stats, ...problems },
      },
    },
    (request) => answerStats(store, request.query, askingOf(request), now()),
  );
  app.get(
    '/top/users',
    {
      schema: {
        operationId: 'listTopUsers',
        summary: 'The users with the most of something',
        tags: ['analytics'],
        querystring: topQuery,
        response: { 200: topUsers, ...problems },
      },
    },
    async (request) => {
      const answer = await topAnswer(store, 'user', request.query, askingOf(request), now());
      return { ...answer, items: answer.items.map(({ key, ...sums }) => ({ user: key, ...sums })) };
    },
  );
  app.get(
    '/top/destinations',
    {
      schema: {
        operationId: 'listTopDestinations',
        summary: 'The destinations with the most of something',
        tags: ['analytics'],
        querystring: topQuery,
        response: { 200: topDestinations, ...problems },
      },
    },
    async (request) => {
      const answer = await topAnswer(store, 'destination', request.query, askingOf(request), now());
      return {
        ...answer,
        items: answer.items.map(({ key, ...sums }) => ({ dest_host: key, ...sums })),
      };
    },
  );
}
