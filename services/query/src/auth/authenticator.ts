import { ProblemError } from '../http/problem.js';
import { createLru } from '../store/lru.js';
import { KEY_PREFIX } from './api-key.js';
import type { AuthConfig } from './config.js';
import type { KeyStore } from './keys.js';
import { LOCAL } from './principal.js';
import type { Principal } from './principal.js';
import type { TokenVerifier } from './tokens.js';

/** What a request shows of itself. */
export interface Credentials {
  readonly authorization: string | undefined;
  readonly apiKey: string | undefined;
  readonly remoteIp: string;
}

export interface Authenticator {
  /** @throws ProblemError unauthenticated, too-many-requests, identity-unavailable */
  authenticate(credentials: Credentials): Promise<Principal>;
}

/** Wrong keys and tokens of one address within a minute; more are not even looked at. */
const FAILURES_MAX = 30;
const FAILURE_WINDOW_MS = 60_000;
const ADDRESSES_REMEMBERED_MAX = 10_000;
const CREDENTIAL_CHARS_MAX = 8_192;

export function createAuthenticator(
  config: AuthConfig,
  deps: {
    readonly keys: KeyStore;
    readonly tokens: TokenVerifier;
    readonly now: () => number;
  },
): Authenticator {
  const failures = createLru<{ count: number; readonly sinceMs: number }>(ADDRESSES_REMEMBERED_MAX);
  const takesKeys = config.methods.includes('api_keys');
  const takesTokens = config.methods.includes('jwt');

  function checkFailures(remoteIp: string): void {
    const known = failures.get(remoteIp);
    if (known === undefined || deps.now() - known.sinceMs >= FAILURE_WINDOW_MS) return;
    if (known.count < FAILURES_MAX) return;
    throw new ProblemError('too-many-requests', 'too many wrong keys or tokens from this address', {
      retryAfterSeconds: Math.ceil(FAILURE_WINDOW_MS / 1_000),
    });
  }

  function countFailure(remoteIp: string): void {
    const known = failures.get(remoteIp);
    const nowMs = deps.now();
    if (known === undefined || nowMs - known.sinceMs >= FAILURE_WINDOW_MS) {
      failures.set(remoteIp, { count: 1, sinceMs: nowMs });
    } else known.count += 1;
  }

  async function principalOf(credential: string): Promise<Principal | null> {
    if (credential.length > CREDENTIAL_CHARS_MAX) return null;
    if (credential.startsWith(KEY_PREFIX)) {
      return takesKeys ? deps.keys.principalOf(credential) : null;
    }
    return takesTokens ? deps.tokens.principalOf(credential) : null;
  }

  return {
    async authenticate(credentials) {
      if (config.methods.length === 0) return LOCAL;
      const credential =
        credentials.apiKey ?? /^Bearer ([^\s]+)$/i.exec(credentials.authorization ?? '')?.[1];
      if (credential === undefined) {
        throw new ProblemError('unauthenticated', 'send Authorization: Bearer <key or token>');
      }
      checkFailures(credentials.remoteIp);
      const principal = await principalOf(credential);
      if (principal !== null) return principal;
      countFailure(credentials.remoteIp);
      throw new ProblemError('unauthenticated', 'the key or token is not valid');
    },
  };
}
