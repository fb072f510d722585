import { z } from 'zod';
import { meExample } from './examples.js';

/** Who asks, and what it may do. */
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
