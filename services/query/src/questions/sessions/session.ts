import { noQuery, session, sessionParams } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { isClosed } from '../../http/caching.js';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import type { Viewer } from '../../mask/viewer.js';
import { ProblemError } from '../../problems/problem.js';
import type { SessionRecord } from '../../sql/fields.js';
import { plainOf } from '../../sql/stored.js';
import type { SessionLookups } from './lookups.js';

export interface SessionDeps {
  readonly lookups: SessionLookups;
}

/** `GET /sessions/{session_id}`. */
export function serveSession(app: FastifyInstance, deps: QuestionDeps & SessionDeps): void {
  serve(app, deps, {
    path: '/sessions/:session_id',
    operationId: 'getSession',
    summary: 'One session',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: sessionParams,
    query: noQuery,
    answer: session,
    ask: ({ params }, context) => sessionById(deps, params.session_id, context),
    closed: (_input, found, nowMs) =>
      found.ended_at !== null && isClosed(Date.parse(found.ended_at), nowMs),
    present: (found, presenter) => presenter.session(found),
  });
}

/**
 * Returns one session. For a caller who may see only one user's sessions, the sessions of others do not exist.
 *
 * @throws ProblemError not-found
 */
export async function sessionById(
  { lookups }: SessionDeps,
  id: string,
  { onlyUsers, signal }: Viewer,
): Promise<SessionRecord> {
  const row = await lookups.look(id, signal);
  if (row === undefined || (onlyUsers !== null && !onlyUsers.includes(plainOf(row.user)))) {
    throw new ProblemError('not-found', 'there is no session with this id');
  }
  return row;
}
