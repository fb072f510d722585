import { byteSize, durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

/** Limits of clients. 0 switches a limit off, unless it has a minimum. */
export const limitsConfig = z.object({
  handshake_timeout_ms: durationMs({ min: 100, max: 600_000 }).default(10_000).meta({
    env: 'PROXY_HANDSHAKE_TIMEOUT',
    description:
      'time from accepting a connection to its complete request; sending byte by byte does not extend it',
  }),
  reply_linger_ms: durationMs({ min: 100, max: 10_000 }).default(5_000).meta({
    env: 'PROXY_REPLY_LINGER',
    description: 'after a refusal, how long to wait for the client to close (RFC 1928 allows 10 s)',
  }),
  max_lingering: integer({ min: 1 }).default(1_024).meta({
    env: 'PROXY_MAX_LINGERING',
    description:
      'refused clients to wait for at once; with more of them, the source that has most loses its oldest',
  }),
  max_sessions: integer({ min: 0 }).default(7_000).meta({
    env: 'PROXY_MAX_SESSIONS',
    description: 'sessions at once; each takes two file descriptors',
  }),
  max_sessions_per_user: integer({ min: 0 }).default(0).meta({
    env: 'PROXY_MAX_SESSIONS_PER_USER',
    description: 'sessions at once of one authenticated user; 0 is no limit',
  }),
  max_sessions_per_source: z
    .union([z.literal('auto'), integer({ min: 0 })])
    .default('auto')
    .meta({
      env: 'PROXY_MAX_SESSIONS_PER_SOURCE',
      description:
        'sessions at once from one source address (IPv6: one /64 network); 0 is no limit, auto is a quarter of PROXY_MAX_SESSIONS. Raise it if many clients share one address',
    }),
  early_payload_bytes: byteSize({ min: 1_048_576 }).default(67_108_864).meta({
    env: 'PROXY_EARLY_PAYLOAD_BYTES',
    description:
      'memory for data that clients send before their destination is reached; one source gets a quarter. When it is full, the proxy stops reading from such clients',
  }),
  max_handshakes: integer({ min: 1 }).default(4_096).meta({
    env: 'PROXY_MAX_HANDSHAKES',
    description:
      'connections at once without a complete request, refused ones that are still open included; at the limit, the source with most of them loses its oldest to a source with fewer',
  }),
  max_handshakes_per_source: integer({ min: 0 }).default(1_024).meta({
    env: 'PROXY_MAX_HANDSHAKES_PER_SOURCE',
    description:
      'the same from one source address (IPv6: one /64 network): unauthenticated connections per address',
  }),
});

export type LimitsConfig = z.infer<typeof limitsConfig>;
