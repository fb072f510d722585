import { textList } from '@sockscope/runtime';
import { SCOPES } from '@sockscope/schemas/api';
import { z } from 'zod';
import { UNRESTRICTED } from './claims.js';

const AUTH_METHODS = ['api_keys', 'jwt', 'oidc'] as const;

const PERMISSIONS = [...SCOPES, UNRESTRICTED].join('|');

const optionalUrl = z.union([z.literal(''), z.url({ protocol: /^https?$/ })], {
  error: 'must be a URL such as https://idp.example.com',
});

/** `value=permission+permission` */
const oidcGrant = z
  .string()
  .regex(
    new RegExp(`^[^=]+=(?:${PERMISSIONS})(?:\\+(?:${PERMISSIONS}))*$`),
    'must be such as netops=admin or support=read+all_users',
  )
  .transform((text) => {
    const [value = '', permissions = ''] = text.split('=');
    return { value, permissions: permissions.split('+') };
  });

/** Keys from addresses that sent many wrong ones: looked up at once, and waiting; beyond it 503. */
export const SUSPECTS_RUNNING_MAX = 4;
export const SUSPECTS_WAITING_MAX = 100;

/** Authentication of callers. Without it, anybody who reaches loopback may ask. */
export const authConfig = z.object({
  methods: textList()
    .pipe(z.array(z.enum(AUTH_METHODS)))
    .default([])
    .meta({
      env: 'QUERY_AUTH',
      description:
        'api_keys, jwt, oidc, separated by commas; empty: no authentication, loopback only',
    }),
  jwt_issuer: optionalUrl.default('').meta({
    env: 'QUERY_JWT_ISSUER',
    description: 'issuer of the tokens (claim iss)',
  }),
  jwt_audience: z.string().default('').meta({
    env: 'QUERY_JWT_AUDIENCE',
    description: 'audience that a token must have (claim aud)',
  }),
  jwt_jwks_url: optionalUrl.default('').meta({
    env: 'QUERY_JWT_JWKS_URL',
    description: "URL of the issuer's keys; empty: found by OpenID Connect discovery",
  }),
  jwt_algorithms: textList({ min: 1 })
    .pipe(z.array(z.string().regex(/^(?:RS|PS|ES)(?:256|384|512)$|^EdDSA$|^Ed25519$/)))
    .default(['RS256', 'PS256', 'ES256', 'EdDSA'])
    .meta({ env: 'QUERY_JWT_ALGORITHMS', description: 'signatures that are accepted' }),
  jwt_scopes_claim: z.string().min(1).default('scope').meta({
    env: 'QUERY_JWT_SCOPES_CLAIM',
    description: 'claim with the scopes: a list, or text with spaces between',
  }),
  jwt_scope_prefix: z.string().default('sockscope:').meta({
    env: 'QUERY_JWT_SCOPE_PREFIX',
    description: 'prefix of read, export, admin and all_users in that claim',
  }),
  jwt_user_claim: z.string().min(1).default('sockscope_user').meta({
    env: 'QUERY_JWT_USER_CLAIM',
    description:
      'claim with the only user whose sessions the token may see, or a list of users; without it the token needs the scope all_users or admin',
  }),
  oidc_issuer: optionalUrl.default('').meta({
    env: 'QUERY_OIDC_ISSUER',
    description:
      'issuer of the OpenID provider at which people sign in; https, or http on loopback',
  }),
  oidc_client_id: z.string().default('').meta({
    env: 'QUERY_OIDC_CLIENT_ID',
    description: 'client that the provider knows the service as',
  }),
  oidc_client_secret: z.string().default('').meta({
    env: 'QUERY_OIDC_CLIENT_SECRET',
    description: 'secret of that client; empty: a public client, which PKCE protects',
    secret: true,
  }),
  oidc_scope: z
    .string()
    .regex(/(?:^| )openid(?: |$)/, 'must contain openid')
    .default('openid')
    .meta({
      env: 'QUERY_OIDC_SCOPE',
      description:
        'scopes to request from the provider, with spaces between; some need groups as well',
    }),
  oidc_claim: z.string().min(1).default('groups').meta({
    env: 'QUERY_OIDC_CLAIM',
    description:
      'claim of the ID token that QUERY_OIDC_GRANTS maps: a list, or text with spaces between',
  }),
  oidc_grants: textList().pipe(z.array(oidcGrant)).default([]).meta({
    env: 'QUERY_OIDC_GRANTS',
    description:
      'the rights for each value of that claim, such as netops=admin,support=read+all_users: read, export, admin, all_users; an account with none of these values has no access',
  }),
  oidc_user_claim: z.string().min(1).default('sockscope_user').meta({
    env: 'QUERY_OIDC_USER_CLAIM',
    description:
      'claim with the only user whose sessions the account may see, or a list of users; without it the account needs all_users or admin',
  }),
});

export type AuthConfig = z.infer<typeof authConfig>;
