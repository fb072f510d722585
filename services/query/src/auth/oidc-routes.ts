import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { invalidParameters, ProblemError } from '../problems/problem.js';
import type { Gate, Visitor } from '../store/gate.js';
import { networkOf } from './authenticator.js';
import type { Cookies } from './cookie.js';
import type { OidcClient } from './oidc.js';
import type { SignIns } from './sign-ins.js';

const RETURN_TO_CHARS_MAX = 1_024;

const beginQuery = z.strictObject({ return_to: z.string().max(RETURN_TO_CHARS_MAX).default('/') });

/** The content of the cookie from the beginning of a sign-in to its end. */
const pending = z.strictObject({
  state: z.string().min(1),
  nonce: z.string().min(1),
  verifier: z.string().min(1),
  return_to: z.string(),
});

export interface OidcDeps {
  readonly oidc: OidcClient;
  readonly cookies: Cookies;
  readonly signIns: SignIns;
  /** Unknown callers wait here, so invented answers cannot keep the provider busy. */
  readonly suspects: Gate;
}

/** `GET /login/oidc` sends the browser to the OpenID provider, which sends it back to `…/callback`. */
export function serveOidc(app: FastifyInstance, deps: OidcDeps): void {
  const { oidc, cookies, signIns, suspects } = deps;
  app.get(
    '/login/oidc',
    { config: { public: true }, schema: { hide: true, querystring: beginQuery } },
    async (request, reply) => {
      const { return_to } = request.query as z.output<typeof beginQuery>;
      if (!isOwnPath(return_to)) {
        throw invalidParameters([
          { parameter: 'return_to', message: 'must be a path of this service' },
        ]);
      }
      const { url, state } = await suspects.pass(suspectOf(request), () => oidc.begin());
      const kept = Buffer.from(JSON.stringify({ ...state, return_to })).toString('base64url');
      return redirected(reply.header('set-cookie', cookies.pending.keep(kept)), url);
    },
  );
  app.get(
    '/login/oidc/callback',
    { config: { public: true }, schema: { hide: true } },
    async (request, reply) => {
      const begun = pendingOf(cookies.pending.read(request.headers.cookie));
      // For any result, the same answer of the provider cannot be used again.
      void reply.header('set-cookie', cookies.pending.forget);
      if (begun === null || !isOwnPath(begun.return_to)) {
        throw new ProblemError('unauthenticated', 'no sign-in was begun here; begin it again');
      }
      const { return_to, ...state } = begun;
      const { account, idToken } = await suspects.pass(suspectOf(request), () =>
        oidc.finish(parametersOf(request), state),
      );
      const token = await signIns.asAccount(request, account, idToken);
      void reply.header('set-cookie', cookies.session.keep(token));
      return redirected(reply, return_to);
    },
  );
}

/** An unknown caller: its network has a share of the places. */
function suspectOf({ signal, arrivedMs, ip }: FastifyRequest): Visitor {
  return { signal, arrivedMs, share: networkOf(ip) };
}

function redirected(reply: FastifyReply, url: string): FastifyReply {
  return reply
    .header('cache-control', 'no-store')
    .header('referrer-policy', 'no-referrer')
    .redirect(url, 303);
}

function parametersOf(request: FastifyRequest): URLSearchParams {
  return new URL(request.url, 'http://localhost').searchParams;
}

function pendingOf(cookie: string | undefined): z.output<typeof pending> | null {
  try {
    const text = Buffer.from(cookie ?? '', 'base64url').toString('utf8');
    return pending.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Whether a browser that is sent there stays here: `//host`, `/\host` and tabs in between lead elsewhere. */
export function isOwnPath(path: string): boolean {
  if (!/^\/(?![/\\])[\x21-\x7e]*$/.test(path)) return false;
  const base = 'http://own.invalid';
  return URL.canParse(path, base) && new URL(path, base).origin === base;
}
