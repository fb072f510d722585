import { formatIp, parseIp } from '@sockscope/schemas/net';
import { LRUCache } from 'lru-cache';
import { ProblemError } from '../problems/problem.js';
import { KEY_PREFIX } from './api-key.js';
import type { AuthConfig } from './config.js';
import type { KeyStore } from './keys.js';
import { LOCAL } from './principal.js';
import type { Principal } from './principal.js';
import type { TokenVerifier } from './tokens.js';
import type { WebSessions } from './web-sessions.js';

/** The credentials and the address of a request. */
export interface Credentials {
  readonly authorization: string | undefined;
  readonly apiKey: string | undefined;
  /** Token of a browser's session, from its cookie; used if there is nothing else. */
  readonly session: string | undefined;
  readonly remoteIp: string;
}

export interface Authenticator {
  /** @throws ProblemError unauthenticated, too-many-requests, identity-unavailable */
  authenticate(credentials: Credentials): Promise<Principal>;
}

/**
 * Wrong keys and tokens of one address within a minute. Beyond it a valid one still counts, because
 * others share the address; a wrong one gets 429, and looking keys up for it is bounded.
 */
const FAILURES_MAX = 30;
const FAILURE_WINDOW_MS = 60_000;
const ADDRESSES_REMEMBERED_MAX = 10_000;
const CREDENTIAL_CHARS_MAX = 8_192;

/** An IPv6 client has a whole /64 to come from. IPv4-mapped addresses are IPv4. */
export function networkOf(remoteIp: string): string {
  const ip = parseIp(remoteIp);
  if (ip === null) return remoteIp;
  return ip.bits === 32 ? formatIp(ip) : `${ip.words.slice(0, 2).join(':')}/64`;
}

/** The key or token in a header; undefined for other schemes, which a reverse proxy may ask for and pass on. */
export function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer ([^\s]+)$/i.exec(authorization ?? '')?.[1];
}

export function createAuthenticator(
  config: AuthConfig,
  deps: {
    readonly keys: KeyStore;
    readonly tokens: TokenVerifier;
    readonly webSessions: WebSessions;
    readonly now: () => number;
  },
): Authenticator {
  const failures = new LRUCache<string, { count: number; readonly sinceMs: number }>({
    max: ADDRESSES_REMEMBERED_MAX,
  });
  const takesKeys = config.methods.includes('api_keys');
  const takesTokens = config.methods.includes('jwt');

  /** The network itself if its next wrong key counts as a guess, because many came before; else null. */
  function suspectOf(network: string): string | null {
    const known = failures.get(network);
    if (known === undefined || deps.now() - known.sinceMs >= FAILURE_WINDOW_MS) return null;
    return known.count >= FAILURES_MAX ? network : null;
  }

  function countFailure(network: string): void {
    const known = failures.get(network);
    const nowMs = deps.now();
    if (known === undefined || nowMs - known.sinceMs >= FAILURE_WINDOW_MS) {
      failures.set(network, { count: 1, sinceMs: nowMs });
    } else known.count += 1;
  }

  async function principalOf(
    credential: string,
    suspect: string | null,
  ): Promise<Principal | null> {
    if (credential.length > CREDENTIAL_CHARS_MAX) return null;
    if (credential.startsWith(KEY_PREFIX)) {
      return takesKeys ? deps.keys.principalOf(credential, suspect) : null;
    }
    return takesTokens ? deps.tokens.principalOf(credential) : null;
  }

  async function sessionPrincipal(
    token: string,
    suspect: string | null,
  ): Promise<Principal | null> {
    return deps.webSessions.principalOf(token, suspect);
  }

  return {
    async authenticate(credentials) {
      if (config.methods.length === 0) return LOCAL;
      const credential = credentials.apiKey ?? bearerOf(credentials.authorization);
      const { session } = credentials;
      if (credential === undefined && session === undefined) {
        throw new ProblemError('unauthenticated', 'send Authorization: Bearer <key or token>');
      }
      const network = networkOf(credentials.remoteIp);
      const suspect = suspectOf(network);
      const principal =
        credential === undefined
          ? await sessionPrincipal(session ?? '', suspect)
          : await principalOf(credential, suspect);
      if (principal !== null) return principal;
      countFailure(network);
      if (suspect !== null) {
        throw new ProblemError(
          'too-many-requests',
          'too many wrong keys or tokens from this address, including this one',
          { retryAfterSeconds: FAILURE_WINDOW_MS / 1_000 },
        );
      }
      throw new ProblemError('unauthenticated', 'the key, token or session is not valid');
    },
  };
}
