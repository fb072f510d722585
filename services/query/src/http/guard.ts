import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { networkOf } from '../auth/authenticator.js';
import type { Authenticator, Credentials } from '../auth/authenticator.js';
import type { OwnCookie } from '../auth/cookie.js';
import { LOCAL, requireScope } from '../auth/principal.js';
import type { Audience, Principal, Scope } from '../auth/principal.js';
import { mayOpenSocket } from './origins.js';
import { noSuchRoute, ProblemError } from '../problems/problem.js';
import { webSocketOf } from './upgrades.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route needs no authentication. */
    readonly public?: boolean;
    /** The rights that a request needs. Every route that is not public has both. */
    readonly scope?: Scope;
    readonly audience?: Audience;
  }
  interface FastifyRequest {
    /** Set before a handler of the API runs. */
    principal: Principal;
    /** When it came, by performance.now(). */
    arrivedMs: number;
  }
}

export interface GuardConfig {
  /** Requests of one key, token or address within a minute; 0 for no limit. */
  readonly rate_limit_per_minute: number;
  /** Values of the Host header that are answered; empty for any. */
  readonly hosts: readonly string[];
  /** Origins of pages that may open a WebSocket, besides our own. */
  readonly origins: readonly string[];
}

const KEYS_REMEMBERED_MAX = 10_000;

/** The sender of a sign-in or sign-out, before the account is known. */
const NOBODY: Principal = { ...LOCAL, id: 'nobody', scopes: new Set() };

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function credentialsOf(request: FastifyRequest, cookie: OwnCookie): Credentials {
  return {
    authorization: header(request, 'authorization'),
    apiKey: header(request, 'x-api-key') ?? socketToken(request),
    session: cookie.read(header(request, 'cookie')),
    remoteIp: request.ip,
  };
}

/** Reads the key or token from a parameter, because a browser's WebSocket cannot have headers. */
function socketToken(request: FastifyRequest): string | undefined {
  if (request.headers.upgrade?.toLowerCase() !== 'websocket') return undefined;
  const { token } = request.query as Readonly<Record<string, unknown>>;
  return typeof token === 'string' && token !== '' ? token : undefined;
}

/** Whether the owner of a long answer is still valid, with unchanged rights. */
export async function isStillAllowed(
  { authenticator, cookie }: { readonly authenticator: Authenticator; readonly cookie: OwnCookie },
  request: FastifyRequest,
): Promise<boolean> {
  const before = request.principal;
  try {
    const now = await authenticator.authenticate(credentialsOf(request, cookie));
    const mayOf = ({ users, scopes }: Principal) =>
      JSON.stringify([users?.toSorted() ?? null, [...scopes].toSorted()]);
    return mayOf(now) === mayOf(before);
  } catch (error) {
    // The latter also refuses an address from which many wrong ones have come.
    const isKnownWrong =
      error instanceof ProblemError &&
      (error.code === 'unauthenticated' || error.code === 'too-many-requests');
    if (isKnownWrong) return false;
    throw error;
  }
}

/** Identifies the caller, its rate, and its host name. In front of every route of the API. */
export async function guard(
  app: FastifyInstance,
  config: GuardConfig,
  deps: {
    readonly authenticator: Authenticator;
    readonly cookie: OwnCookie;
    readonly isOverloaded: () => boolean;
  },
): Promise<void> {
  app.decorateRequest('principal');
  app.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    if (deps.isOverloaded()) {
      throw new ProblemError('overloaded', 'this process is overloaded', {
        retryAfterSeconds: 2,
      });
    }
    if (!isServedHost(config.hosts, header(request, 'host'))) {
      throw new ProblemError('forbidden', 'this host name is not served; see QUERY_HOSTS');
    }
    const isSocket = webSocketOf(request.raw) !== null;
    if (isSocket && !mayOpenSocket(config.origins, request.headers.origin, request.host)) {
      throw new ProblemError(
        'forbidden',
        'pages of this origin are not allowed; see QUERY_ORIGINS',
      );
    }
    if (request.routeOptions.config.public === true) {
      request.principal = NOBODY;
      return;
    }
    try {
      request.principal = await deps.authenticator.authenticate(
        credentialsOf(request, deps.cookie),
      );
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'unauthenticated') {
        reply.header('www-authenticate', 'Bearer realm="sockscope"');
      }
      throw error;
    }
  });
  await app.register(rateLimit, {
    max: (request) => request.principal.ratePerMinute ?? config.rate_limit_per_minute,
    allowList: (request) =>
      config.rate_limit_per_minute === 0 && request.principal.ratePerMinute === null,
    timeWindow: 60_000,
    cache: KEYS_REMEMBERED_MAX,
    // After authentication, so that each key has its own count.
    hook: 'onRequest',
    keyGenerator: (request) =>
      request.principal.kind === 'local' ? `ip:${networkOf(request.ip)}` : request.principal.id,
    errorResponseBuilder: (_request, context) =>
      new ProblemError('too-many-requests', `at most ${context.max} requests a minute`, {
        retryAfterSeconds: Math.ceil(context.ttl / 1_000),
      }),
  });
  // After the rate limit, before parameters or a body are looked at.
  app.addHook('preParsing', async ({ principal, routeOptions }) => {
    const { public: isPublic, scope, audience } = routeOptions.config;
    if (isPublic === true) return;
    if (scope === undefined || audience === undefined) {
      throw new TypeError(`${routeOptions.url ?? ''} declares no scope and audience`);
    }
    if (audience === 'untied' && principal.users !== null) throw noSuchRoute();
    requireScope({ principal }, scope);
  });
}

/**
 * A page of another site can reach a service on loopback by a name of its own that it lets point
 * there; the Host header gives that away.
 */
export function isServedHost(hosts: readonly string[], given: string | undefined): boolean {
  if (hosts.length === 0) return true;
  const name = (given ?? '').replace(/:\d+$/, '').toLowerCase();
  return hosts.some((host) => host.toLowerCase() === name);
}

/** Names of loopback, and the address that it listens on: 127.0.0.2 is one, too. */
export function loopbackHosts(listen: string): string[] {
  const own = listen.includes(':') ? `[${listen}]` : listen;
  return ['localhost', '127.0.0.1', '[::1]', own];
}
