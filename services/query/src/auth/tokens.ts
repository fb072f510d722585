import { createRemoteJWKSet, errors, jwtVerify } from 'jose';
import type { JWTPayload, JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { ProblemError } from '../problems/problem.js';
import { allowedBy, textsOf } from './claims.js';
import type { AuthConfig } from './config.js';
import type { Principal } from './principal.js';

const IDP_TIMEOUT_MS = 5_000;
const CLOCK_TOLERANCE_SECONDS = 10;
const SUBJECT_CHARS_MAX = 256;

const discovery = z.object({ issuer: z.string(), jwks_uri: z.url({ protocol: /^https?$/ }) });

export interface TokenVerifier {
  /**
   * The principal of this token; null if it is not valid here. @throws ProblemError if the issuer cannot
   * be reached.
   */
  principalOf(token: string): Promise<Principal | null>;
}

/** Verifies tokens by the issuer's published keys, which are fetched when first needed. */
export function createTokenVerifier(config: AuthConfig): TokenVerifier {
  let keys: Promise<JWTVerifyGetKey> | null = null;

  function issuerKeys(): Promise<JWTVerifyGetKey> {
    keys ??= findKeys(config).catch((error: unknown) => {
      // The next token tries again.
      keys = null;
      throw error;
    });
    return keys;
  }

  return {
    async principalOf(token) {
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(token, await issuerKeys(), {
          issuer: config.jwt_issuer,
          audience: config.jwt_audience,
          algorithms: config.jwt_algorithms,
          clockTolerance: CLOCK_TOLERANCE_SECONDS,
          requiredClaims: ['sub', 'exp'],
        }));
      } catch (error) {
        if (isTheIssuersFault(error)) {
          throw new ProblemError('identity-unavailable', 'the issuer of tokens cannot be reached', {
            retryAfterSeconds: 5,
            cause: error,
          });
        }
        return null;
      }
      return principalOfClaims(config, payload);
    },
  };
}

async function findKeys(config: AuthConfig): Promise<JWTVerifyGetKey> {
  const url = config.jwt_jwks_url === '' ? await discover(config.jwt_issuer) : config.jwt_jwks_url;
  return createRemoteJWKSet(new URL(url), { timeoutDuration: IDP_TIMEOUT_MS });
}

async function discover(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(IDP_TIMEOUT_MS) });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    const found = discovery.parse(await response.json());
    if (found.issuer !== issuer) throw new Error(`${url} belongs to the issuer ${found.issuer}`);
    return found.jwks_uri;
  } catch (cause) {
    throw new ProblemError('identity-unavailable', 'the issuer of tokens cannot be reached', {
      retryAfterSeconds: 5,
      cause,
    });
  }
}

function isTheIssuersFault(error: unknown): boolean {
  if (error instanceof ProblemError) return true;
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true;
  // Errors without a code of jose come from fetching the keys.
  return !(error instanceof errors.JOSEError) || error.code === 'ERR_JOSE_GENERIC';
}

function principalOfClaims(config: AuthConfig, payload: JWTPayload): Principal | null {
  const prefix = config.jwt_scope_prefix;
  const permissions = textsOf(payload[config.jwt_scopes_claim])
    .filter((text) => text.startsWith(prefix))
    .map((text) => text.slice(prefix.length));
  const allowed = allowedBy(permissions, payload[config.jwt_user_claim]);
  if (allowed === null) return null;
  return {
    id: `token:${(payload.sub ?? '').slice(0, SUBJECT_CHARS_MAX)}`,
    kind: 'token',
    scopes: new Set(allowed.scopes),
    users: allowed.users,
    expiresAtMs: payload.exp === undefined ? null : payload.exp * 1_000,
    ratePerMinute: null,
  };
}
