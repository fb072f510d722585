import { byteSize, durationMs, flag, integer } from '@sockscope/runtime';
import { z } from 'zod';
import { portRange } from '../limits/ports.js';

export const udpConfig = z.object({
  enabled: flag().default(false).meta({
    env: 'PROXY_UDP_ENABLED',
    description: 'accept the UDP ASSOCIATE command',
  }),
  idle_timeout_ms: durationMs({ min: 100, max: 86_400_000 }).default(60_000).meta({
    env: 'PROXY_UDP_IDLE_TIMEOUT',
    description:
      'ends the session of a destination without datagrams; after five times this long without a datagram of the client, answers no longer keep it open',
  }),
  association_idle_timeout_ms: durationMs({ min: 100, max: 86_400_000 }).default(300_000).meta({
    env: 'PROXY_UDP_ASSOCIATION_IDLE_TIMEOUT',
    description: 'ends an association that has had no destination for this long',
  }),
  max_destinations: integer({ min: 1, max: 65_536 }).default(256).meta({
    env: 'PROXY_UDP_MAX_DESTINATIONS',
    description: 'destinations at once of one association; datagrams to one more are dropped',
  }),
  listen_ip: z
    .union([z.ipv4(), z.ipv6(), z.literal('')])
    .default('')
    .meta({
      env: 'PROXY_UDP_LISTEN_IP',
      description:
        "local address for the clients' datagrams; empty: the address that the client connected to",
    }),
  advertised_ip: z
    .union([z.ipv4(), z.ipv6(), z.literal('')])
    .default('')
    .meta({
      env: 'PROXY_UDP_ADVERTISED_IP',
      description:
        'address that clients get in replies, for a proxy behind NAT; empty: the local one',
    }),
  ports: portRange().default({ first: 0, last: 0 }).meta({
    env: 'PROXY_UDP_PORTS',
    description: "ports for the clients' datagrams, such as 41000-41999; 0: any free port",
  }),
  backlog_bytes: byteSize({ min: 65_536 })
    .default(1024 * 1024)
    .meta({
      env: 'PROXY_UDP_BACKLOG',
      description: 'bytes that may wait to be sent on one socket; datagrams above it are dropped',
    }),
});

export type UdpConfig = z.infer<typeof udpConfig>;
