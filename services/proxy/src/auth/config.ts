import { durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

const DAY_MS = 86_400_000;

export const authConfig = z.object({
  users_file: z.string().default('').meta({
    env: 'PROXY_USERS_FILE',
    description: 'YAML file with users and hashed passwords; with one, clients must authenticate',
  }),
  reload_interval_ms: durationMs({ max: 3_600_000 }).default(1_000).meta({
    env: 'PROXY_USERS_RELOAD_INTERVAL',
    description: 'how often to check the file for changes; 0 reloads on SIGHUP only',
  }),
  hash_concurrency: integer({ min: 1, max: 64 }).default(2).meta({
    env: 'PROXY_AUTH_HASH_CONCURRENCY',
    description: 'passwords hashed at once; each takes a thread of libuv and 32 MiB',
  }),
  hash_queue: integer({ min: 0, max: 100_000 }).default(1_000).meta({
    env: 'PROXY_AUTH_HASH_QUEUE',
    description:
      'logins that may wait for hashing, and no more than can be hashed within PROXY_HANDSHAKE_TIMEOUT; at the limit, the source with most of them loses its oldest',
  }),
  cache_entries: integer({ min: 0, max: 1_000_000 }).default(10_000).meta({
    env: 'PROXY_AUTH_CACHE_ENTRIES',
    description:
      'verified logins that are remembered, as keyed digests in memory; 0 hashes every time',
  }),
  cache_ttl_ms: durationMs({ max: DAY_MS }).default(600_000).meta({
    env: 'PROXY_AUTH_CACHE_TTL',
    description: 'how long a verified login is remembered',
  }),
  free_failures: integer({ min: 1, max: 1_000 }).default(5).meta({
    env: 'PROXY_AUTH_FREE_FAILURES',
    description: 'failed logins of one user from one address before a delay begins',
  }),
  free_failures_per_address: integer({ min: 1, max: 100_000 }).default(50).meta({
    env: 'PROXY_AUTH_FREE_FAILURES_PER_ADDRESS',
    description:
      'failed logins from one address (IPv6: one /64; from its /56 and its /48 four times as many) before a delay begins',
  }),
  base_delay_ms: durationMs({ min: 1, max: DAY_MS }).default(1_000).meta({
    env: 'PROXY_AUTH_BASE_DELAY',
    description: 'first delay after failed logins; every further failure doubles it',
  }),
  max_delay_ms: durationMs({ min: 1, max: DAY_MS }).default(300_000).meta({
    env: 'PROXY_AUTH_MAX_DELAY',
    description: 'longest delay after failed logins',
  }),
  throttle_entries: integer({ min: 1, max: 10_000_000 }).default(50_000).meta({
    env: 'PROXY_AUTH_THROTTLE_ENTRIES',
    description: 'addresses, and pairs of address and user, whose failures are remembered',
  }),
});

export type AuthConfig = z.infer<typeof authConfig>;
