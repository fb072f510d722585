import { loginBody, me, noParams, noQuery } from '@sockscope/schemas/api';
import type { LoginBody } from '@sockscope/schemas/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AuditAction, AuditLog } from '../audit/log.js';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import { ProblemError } from '../problems/problem.js';
import type { Authenticator } from './authenticator.js';
import { keyIdOf } from './api-key.js';
import type { SessionCookie } from './cookie.js';
import type { Principal } from './principal.js';
import type { WebSessions } from './web-sessions.js';

const USER_AGENT_CHARS_MAX = 200;

export interface AccountDeps {
  readonly authenticator: Authenticator;
  readonly webSessions: WebSessions;
  readonly cookie: SessionCookie;
  readonly audit: AuditLog;
  readonly now: () => number;
}

/** `GET /me`, `POST /login` and `POST /logout`. */
export function serveAccount(app: FastifyInstance, deps: QuestionDeps & AccountDeps): void {
  const { authenticator, webSessions, cookie, audit } = deps;
  const actionOf = (
    action: 'login' | 'logout',
    principal: Principal,
    { ip, headers }: FastifyRequest,
  ): AuditAction => ({
    atMs: deps.now(),
    principal: principal.id,
    restrictedTo: principal.users,
    remoteIp: ip,
    action,
    format: '',
    details: { user_agent: (headers['user-agent'] ?? '').slice(0, USER_AGENT_CHARS_MAX) },
  });
  serve(app, deps, {
    path: '/me',
    operationId: 'getMe',
    summary: 'The caller, its scopes and what it may see',
    tag: 'accounts',
    scope: 'read',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: me,
    ask: (_asked, context) => Promise.resolve(context),
    present: ({ principal, mask, request }) => ({
      id: principal.id,
      kind: principal.kind,
      scopes: [...principal.scopes],
      users: principal.users === null ? null : [...principal.users],
      signed_in:
        request.headers.authorization === undefined &&
        request.headers['x-api-key'] === undefined &&
        cookie.read(request.headers.cookie) !== undefined &&
        principal.kind !== 'local',
      masked: { users: mask.users !== 'none', addresses: mask.addresses !== 'none' },
    }),
  });
  app.post(
    '/login',
    { config: { public: true }, schema: { hide: true, body: loginBody } },
    async (request, reply) => {
      const { key } = request.body as LoginBody;
      const keyId = keyIdOf(key);
      const principal = await authenticator.authenticate({
        authorization: undefined,
        apiKey: key,
        session: undefined,
        remoteIp: request.ip,
      });
      if (principal.kind !== 'key' || keyId === null) {
        throw new ProblemError('forbidden', 'signing in needs QUERY_AUTH=api_keys and a key');
      }
      const token = await audit.around(actionOf('login', principal, request), async () => {
        // A session that somebody else may have planted, or left, ends here.
        const former = cookie.read(request.headers.cookie);
        if (former !== undefined) await webSessions.end(former);
        return webSessions.begin(keyId);
      });
      return reply
        .header('set-cookie', cookie.keep(token))
        .header('cache-control', 'no-store')
        .code(204)
        .send();
    },
  );
  app.post(
    '/logout',
    { config: { public: true }, schema: { hide: true } },
    async (request, reply) => {
      const token = cookie.read(request.headers.cookie);
      const principal = token === undefined ? null : await webSessions.principalOf(token, true);
      if (token !== undefined && principal !== null) {
        await audit.around(actionOf('logout', principal, request), () => webSessions.end(token));
      }
      return reply
        .header('set-cookie', cookie.forget)
        .header('cache-control', 'no-store')
        .code(204)
        .send();
    },
  );
}
