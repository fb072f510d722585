import type { FastifyRequest } from 'fastify';
import type { AuditLog } from '../audit/log.js';
import { networkOf } from './authenticator.js';
import type { Cookies } from './cookie.js';
import type { Account } from './oidc.js';
import type { Principal } from './principal.js';
import type { WebSessions } from './web-sessions.js';
import { accountPrincipal } from './web-sessions.js';

const USER_AGENT_CHARS_MAX = 200;

/** Begins and ends sessions of browsers, with their entries in the audit log. */
export interface SignIns {
  /** Returns the token of a new session that acts as a key. The session that the browser had is over. */
  asKey(request: FastifyRequest, principal: Principal, keyId: string): Promise<string>;
  /** The same for an account of the OpenID provider. */
  asAccount(request: FastifyRequest, account: Account, idToken: string | null): Promise<string>;
  /** Ends the session that the browser has. Returns its ID token; undefined if it was no account's. */
  end(request: FastifyRequest): Promise<string | null | undefined>;
}

export function createSignIns(deps: {
  readonly audit: AuditLog;
  readonly webSessions: WebSessions;
  readonly cookies: Cookies;
  readonly now: () => number;
}): SignIns {
  const { audit, webSessions, cookies } = deps;

  const actionOf = (
    action: 'login' | 'logout',
    principal: Principal,
    { ip, headers }: FastifyRequest,
  ) => ({
    atMs: deps.now(),
    principal: principal.id,
    restrictedTo: principal.users,
    remoteIp: ip,
    action,
    format: '',
    details: { user_agent: (headers['user-agent'] ?? '').slice(0, USER_AGENT_CHARS_MAX) },
  });

  function begin(
    request: FastifyRequest,
    principal: Principal,
    work: () => Promise<string>,
  ): Promise<string> {
    return audit.around(actionOf('login', principal, request), async () => {
      // A session that somebody else may have planted, or left, ends here.
      const former = cookies.session.read(request.headers.cookie);
      if (former !== undefined) await webSessions.end(former);
      return work();
    });
  }

  return {
    asKey: (request, principal, keyId) => begin(request, principal, () => webSessions.begin(keyId)),
    asAccount: (request, account, idToken) =>
      begin(request, accountPrincipal(account, null), () =>
        webSessions.beginAccount(account, idToken),
      ),
    async end(request) {
      const token = cookies.session.read(request.headers.cookie);
      if (token === undefined) return undefined;
      const principal = await webSessions.principalOf(token, networkOf(request.ip));
      if (principal === null) return undefined;
      const idToken = await webSessions.idTokenOf(token);
      await audit.around(actionOf('logout', principal, request), () => webSessions.end(token));
      return principal.kind === 'account' ? idToken : undefined;
    },
  };
}
