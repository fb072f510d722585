import { z } from 'zod';

/** Masking of people for callers without the scope `admin`. */
export const maskConfig = z.object({
  addresses: z.enum(['none', 'truncate', 'hmac']).default('none').meta({
    env: 'QUERY_MASK_ADDRESSES',
    description:
      'source addresses without the scope admin: none shows them, truncate cuts them to /24 or /48, hmac replaces them',
  }),
  users: z.enum(['none', 'hmac']).default('none').meta({
    env: 'QUERY_MASK_USERS',
    description: 'users without the scope admin: none shows them, hmac replaces them',
  }),
  key: z.string().default('').meta({
    env: 'QUERY_MASK_KEY',
    description: 'secret of the replacement, at least 32 characters; needed with hmac',
    secret: true,
  }),
});

export type MaskConfig = z.infer<typeof maskConfig>;

export const MASK_KEY_CHARS_MIN = 32;
