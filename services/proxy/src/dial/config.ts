import { durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

export const dialConfig = z.object({
  connect_timeout_ms: durationMs({ min: 10, max: 600_000 }).default(10_000).meta({
    env: 'PROXY_CONNECT_TIMEOUT',
    description: 'time from the request to a connected destination, for all its addresses together',
  }),
  attempt_delay_ms: durationMs({ min: 10, max: 10_000 }).default(250).meta({
    env: 'PROXY_CONNECT_ATTEMPT_DELAY',
    description: 'head start of an address before the next one is tried in parallel (RFC 8305)',
  }),
  max_addresses: integer({ min: 1, max: 64 }).default(8).meta({
    env: 'PROXY_CONNECT_MAX_ADDRESSES',
    description: 'how many addresses of a name are tried',
  }),
});

export type DialConfig = z.infer<typeof dialConfig>;
