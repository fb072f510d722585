import {
  customFetch,
  allowInsecureRequests,
  authorizationCodeGrant,
  AuthorizationResponseError,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  calculatePKCECodeChallenge,
  ClientError,
  ClientSecretPost,
  discovery,
  enableNonRepudiationChecks,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  ResponseBodyError,
} from 'openid-client';
import type { Configuration, CustomFetch } from 'openid-client';
import { ProblemError } from '../problems/problem.js';
import { allowedBy, textsOf } from './claims.js';
import type { Allowed } from './claims.js';
import type { AuthConfig } from './config.js';

const PROVIDER_TIMEOUT_SECONDS = 10;
const SUBJECT_CHARS_MAX = 256;
/** A longer ID token is not kept: the provider then asks for the account at sign-out. */
const ID_TOKEN_CHARS_MAX = 16_384;

/** The content of the browser's cookie, from the beginning of a sign-in to its end. */
export interface SignInState {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
}

/** A person whom the provider has identified. */
export interface Account extends Allowed {
  readonly subject: string;
}

export interface OidcClient {
  /** The address for the browser, and the state that it must return. @throws ProblemError identity-unavailable */
  begin(): Promise<{ readonly url: string; readonly state: SignInState }>;
  /**
   * The account that signed in, from the parameters that the provider sent.
   *
   * @throws ProblemError unauthenticated, forbidden, identity-unavailable
   */
  finish(
    parameters: URLSearchParams,
    state: SignInState,
  ): Promise<{ readonly account: Account; readonly idToken: string | null }>;
  /** The provider's address for sign-out; null if the provider has no such page. */
  endUrl(idToken: string | null): Promise<string | null>;
}

/**
 * Signs people in at an OpenID provider: authorization code with PKCE. The signature of the ID token is
 * verified too, although it comes straight from the provider.
 *
 * @param publicUrl the public URL of the service: redirects go there, with any Host header.
 */
export function createOidcClient(config: AuthConfig, publicUrl: string): OidcClient {
  const base = publicUrl.replace(/\/$/, '');
  const callback = `${base}/api/v1/login/oidc/callback`;
  let found: Promise<Configuration> | null = null;

  function provider(): Promise<Configuration> {
    found ??= discovered(config).catch((cause: unknown) => {
      // The next sign-in tries again.
      found = null;
      throw unavailable(cause);
    });
    return found;
  }

  return {
    async begin() {
      const configuration = await provider();
      const state = {
        state: randomState(),
        nonce: randomNonce(),
        verifier: randomPKCECodeVerifier(),
      };
      const url = buildAuthorizationUrl(configuration, {
        redirect_uri: callback,
        scope: config.oidc_scope,
        state: state.state,
        nonce: state.nonce,
        code_challenge: await calculatePKCECodeChallenge(state.verifier),
        code_challenge_method: 'S256',
      });
      return { url: url.href, state };
    },
    async finish(parameters, { state, nonce, verifier }) {
      const configuration = await provider();
      const url = new URL(callback);
      url.search = parameters.toString();
      try {
        const tokens = await authorizationCodeGrant(configuration, url, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: verifier,
          idTokenExpected: true,
        });
        const idToken = tokens.id_token ?? '';
        return {
          account: accountOf(config, tokens.claims() ?? {}),
          idToken: idToken.length > ID_TOKEN_CHARS_MAX ? null : idToken,
        };
      } catch (error) {
        throw problemOf(error);
      }
    },
    async endUrl(idToken) {
      const configuration = await provider();
      if (configuration.serverMetadata().end_session_endpoint === undefined) return null;
      return buildEndSessionUrl(configuration, {
        post_logout_redirect_uri: `${base}/`,
        ...(idToken === null ? {} : { id_token_hint: idToken }),
      }).href;
    },
  };
}

/**
 * Asks once more if the provider closed an idle connection just as the request used it. A provider that
 * had taken the code already refuses the second request, and the user signs in again.
 */
const fetchAgain: CustomFetch = async (url, options) => {
  const ask = () => fetch(url, options as RequestInit);
  try {
    return await ask();
  } catch (error) {
    const { cause } = error as { readonly cause?: { readonly code?: unknown } };
    if (cause?.code !== 'UND_ERR_SOCKET' && cause?.code !== 'ECONNRESET') throw error;
    return ask();
  }
};

async function discovered(config: AuthConfig): Promise<Configuration> {
  const issuer = new URL(config.oidc_issuer);
  const secret = config.oidc_client_secret;
  const configuration = await discovery(
    issuer,
    config.oidc_client_id,
    undefined,
    secret === '' ? None() : ClientSecretPost(secret),
    {
      timeout: PROVIDER_TIMEOUT_SECONDS,
      [customFetch]: fetchAgain,
      // The configuration allows http for loopback only.
      // oxlint-disable-next-line no-deprecated -- marked so that nobody uses it beyond tests and loopback
      execute: issuer.protocol === 'http:' ? [allowInsecureRequests] : [],
    },
  );
  enableNonRepudiationChecks(configuration);
  return configuration;
}

/** @throws ProblemError forbidden if the claims map to nothing. */
function accountOf(config: AuthConfig, claims: Readonly<Record<string, unknown>>): Account {
  const { sub } = claims;
  const permissions = textsOf(claims[config.oidc_claim]).flatMap(
    (value) => config.oidc_grants.find((grant) => grant.value === value)?.permissions ?? [],
  );
  const allowed = allowedBy(permissions, claims[config.oidc_user_claim]);
  if (allowed === null || allowed.scopes.length === 0 || typeof sub !== 'string') {
    throw new ProblemError('forbidden', 'this account has no access; see QUERY_OIDC_GRANTS');
  }
  return { subject: sub.slice(0, SUBJECT_CHARS_MAX), ...allowed };
}

function unavailable(cause: unknown): ProblemError {
  return new ProblemError('identity-unavailable', 'the OpenID provider cannot be reached', {
    retryAfterSeconds: 5,
    cause,
  });
}

function problemOf(error: unknown): unknown {
  if (error instanceof ProblemError) return error;
  if (error instanceof AuthorizationResponseError) {
    return new ProblemError('forbidden', 'the OpenID provider did not let this account sign in');
  }
  const isRefused =
    error instanceof ResponseBodyError ||
    (error instanceof ClientError && error.code !== 'OAUTH_TIMEOUT');
  if (!isRefused) return unavailable(error);
  return new ProblemError('unauthenticated', 'the sign-in is not valid; begin it again', {
    cause: error,
  });
}
