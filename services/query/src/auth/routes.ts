import { loginBody, me, noParams, noQuery } from '@sockscope/schemas/api';
import type { LoginBody } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import { ProblemError } from '../problems/problem.js';
import { bearerOf } from './authenticator.js';
import type { Authenticator } from './authenticator.js';
import { keyIdOf } from './api-key.js';
import type { Cookies } from './cookie.js';
import type { OidcClient } from './oidc.js';
import type { SignIns } from './sign-ins.js';

export interface AccountDeps {
  readonly authenticator: Authenticator;
  readonly signIns: SignIns;
  readonly cookies: Cookies;
  /** Whether keys are taken (QUERY_AUTH). */
  readonly takesKeys: boolean;
  /** Null if nobody signs in at an OpenID provider. */
  readonly oidc: OidcClient | null;
}

/** `GET /me`, `GET /login`, `POST /login` and `POST /logout`. */
export function serveAccount(app: FastifyInstance, deps: QuestionDeps & AccountDeps): void {
  const { authenticator, signIns, cookies, oidc } = deps;
  serve(app, deps, {
    path: '/me',
    operationId: 'getMe',
    summary: 'The caller, its scopes and its visible users',
    tag: 'accounts',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: noParams,
    query: noQuery,
    answer: me,
    ask: (_input, context) => Promise.resolve(context),
    present: ({ principal, mask, request }) => ({
      id: principal.id,
      kind: principal.kind,
      scopes: [...principal.scopes],
      users: principal.users === null ? null : [...principal.users],
      signed_in:
        bearerOf(request.headers.authorization) === undefined &&
        request.headers['x-api-key'] === undefined &&
        cookies.session.read(request.headers.cookie) !== undefined &&
        principal.kind !== 'local',
      masked: { users: mask.users !== 'none', addresses: mask.addresses !== 'none' },
    }),
  });
  app.get('/login', { config: { public: true }, schema: { hide: true } }, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ key: deps.takesKeys, oidc: oidc !== null }),
  );
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
      // Each one is written three times, so one key may not sign in as often as it likes.
      const token = await deps.gates.light.pass(
        { ...deps.contextOf(request, reply), share: principal.id },
        () => signIns.asKey(request, principal, keyId),
      );
      return reply
        .header('set-cookie', cookies.session.keep(token))
        .header('cache-control', 'no-store')
        .code(204)
        .send();
    },
  );
  app.post(
    '/logout',
    { config: { public: true }, schema: { hide: true } },
    async (request, reply) => {
      const idToken = await signIns.end(request);
      void reply.header('set-cookie', cookies.session.forget).header('cache-control', 'no-store');
      // The session here is over, even if the provider fails.
      const url = idToken === undefined ? null : await oidc?.endUrl(idToken).catch(() => null);
      if (typeof url === 'string') return reply.send({ redirect_to: url });
      return reply.code(204).send();
    },
  );
}
