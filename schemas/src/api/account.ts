import { z } from 'zod';
import { wireTime } from '../events/values.js';
import { meExample, signInsExample } from './examples.js';

/** The caller of a request and its rights. */
export const me = z
  .object({
    id: z
      .string()
      .describe('key id, or subject of the token or account; local without authentication'),
    kind: z.enum(['local', 'key', 'token', 'account']),
    scopes: z.array(z.string()),
    users: z
      .array(z.string())
      .nullable()
      .describe('the only users whose sessions this key may see; null: all users'),
    signed_in: z.boolean().describe('signed in with a cookie; POST /api/v1/logout ends it'),
    masked: z.object({
      users: z.boolean().describe('users are shown as tokens'),
      addresses: z.boolean().describe('source addresses are shortened or shown as tokens'),
    }),
  })
  .meta({ id: 'Me', examples: [meExample] });
export type Me = z.infer<typeof me>;

const KEY_CHARS_MAX = 200;

/** Body of `POST /login`. */
export const loginBody = z.strictObject({ key: z.string().min(1).max(KEY_CHARS_MAX) });
export type LoginBody = z.infer<typeof loginBody>;

/** The newest sessions of browsers that `GET /sign-ins` shows. */
export const SIGN_INS_MAX = 1_000;

export const signInParams = z.strictObject({
  sign_in_id: z.string().regex(/^[0-9a-f]{64}$/, 'must be a sign_in_id as GET /sign-ins shows it'),
});

const signIn = z
  .object({
    sign_in_id: z.string().describe('hash of the token; the token itself is not stored'),
    principal: z.string().describe('the principal that signed in, as `id` of GET /me'),
    created_at: wireTime,
    expires_at: wireTime.describe('when it ends by itself, unless its key ends earlier'),
  })
  .meta({ id: 'SignIn' });

/** Browsers that are signed in. */
export const signIns = z
  .object({
    items: z.array(signIn).describe('the newest first'),
    truncated: z.boolean().describe(`there are more than ${SIGN_INS_MAX}`),
  })
  .meta({ id: 'SignIns', examples: [signInsExample] });
