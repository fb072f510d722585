import { noParams, noQuery, signInParams, signIns, SIGN_INS_MAX } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { actorOf } from '../audit/log.js';
import type { AuditLog } from '../audit/log.js';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import { serveWrite } from '../http/write.js';
import { ProblemError } from '../problems/problem.js';
import type { WebSessions } from './web-sessions.js';

/** `GET /sign-ins` and `DELETE /sign-ins/{sign_in_id}`, for administrators. */
export function serveSignIns(
  app: FastifyInstance,
  deps: QuestionDeps & { readonly webSessions: WebSessions; readonly audit: AuditLog },
): void {
  const { webSessions, audit } = deps;
  serve(app, deps, {
    path: '/sign-ins',
    operationId: 'listSignIns',
    summary: 'Browsers that are signed in; needs the scope admin',
    tag: 'accounts',
    scope: 'admin',
    audience: 'untied',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: signIns,
    ask: (_input, context) => webSessions.live(context),
    present: (live) => ({
      items: live.slice(0, SIGN_INS_MAX).map(({ id, principal, createdAt, expiresAt }) => ({
        sign_in_id: id,
        principal,
        created_at: createdAt,
        expires_at: expiresAt,
      })),
      truncated: live.length > SIGN_INS_MAX,
    }),
  });
  serveWrite(app, deps, {
    method: 'DELETE',
    path: '/sign-ins/:sign_in_id',
    operationId: 'endSignIn',
    summary: 'Signs a browser out within ten seconds; needs the scope admin',
    tag: 'accounts',
    params: signInParams,
    scope: 'admin',
    audience: 'untied',
    async change({ params: { sign_in_id } }, context) {
      const found = await webSessions.find(sign_in_id, context);
      if (found === null) throw new ProblemError('not-found', 'there is no such sign-in');
      const details = { sign_in_id, principal: found.principal };
      await audit.around({ ...actorOf(context), action: 'sign-ins/end', format: '', details }, () =>
        webSessions.endById(sign_in_id, context),
      );
    },
  });
}
