import { z } from 'zod';
import { counter } from '../events/counters.js';
import { wireTime } from '../events/values.js';
import { keyCreatedExample, keysExample } from './examples.js';
import { storableText, storableTime, text } from './values.js';

/** Rights of a principal; `admin` includes the others. */
export const SCOPES = ['read', 'export', 'admin'] as const;

export const KEY_LIMITS = {
  name_chars: 200,
  /** Users that one key may be tied to. */
  users_max: 100,
  rate_per_minute_max: 1_000_000,
} as const;

/** Body of `POST /keys`. */
export const keyBody = z.strictObject({
  name: storableText.min(1).max(KEY_LIMITS.name_chars).describe('purpose of the key'),
  scopes: z.array(z.enum(SCOPES)).min(1).max(SCOPES.length),
  users: z
    .array(text)
    .min(1)
    .max(KEY_LIMITS.users_max)
    .nullable()
    .default(null)
    .describe('the only users whose sessions the key may see; null for all'),
  expires_at: storableTime.nullable().default(null).describe('when the key ends; null for never'),
  rate_per_minute: z
    .int()
    .min(1)
    .max(KEY_LIMITS.rate_per_minute_max)
    .nullable()
    .default(null)
    .describe('requests in a minute; null for QUERY_RATE_PER_MINUTE'),
});
export type KeyBody = z.infer<typeof keyBody>;

export const keyParams = z.strictObject({
  key_id: z.string().regex(/^[0-9a-f]{12}$/, 'must be a key_id as GET /keys shows it'),
});

const apiKey = z
  .object({
    key_id: z.string(),
    name: z.string(),
    scopes: z.array(z.string()),
    users: z.array(z.string()).nullable().describe('null: it may see all users'),
    rate_per_minute: counter.nullable().describe('null: the limit of QUERY_RATE_PER_MINUTE'),
    created_at: wireTime,
    created_by: z.string().describe('principal that made it; empty for a command line'),
    expires_at: wireTime.nullable(),
    revoked_at: wireTime.nullable(),
    last_used_at: wireTime
      .nullable()
      .describe('to about a minute; null if it was not used within 400 days'),
    state: z.enum(['valid', 'expired', 'revoked']),
  })
  .meta({ id: 'ApiKey' });

/** Keys without their secrets. */
export const keys = z
  .object({ items: z.array(apiKey).describe('the oldest first') })
  .meta({ id: 'Keys', examples: [keysExample] });
export type Keys = z.infer<typeof keys>;

export const keyCreated = z
  .object({
    key: z.string().describe('the key itself; it cannot be shown again'),
    key_id: z.string().describe('its public part, as lists and logs show it'),
  })
  .meta({ id: 'KeyCreated', examples: [keyCreatedExample] });
export type KeyCreated = z.infer<typeof keyCreated>;
