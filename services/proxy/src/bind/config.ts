import { durationMs, flag } from '@sockscope/runtime';
import { z } from 'zod';
import { portRange } from '../limits/ports.js';

export const bindConfig = z.object({
  enabled: flag().default(false).meta({
    env: 'PROXY_BIND_ENABLED',
    description: 'accept the BIND command',
  }),
  timeout_ms: durationMs({ min: 100, max: 86_400_000 }).default(120_000).meta({
    env: 'PROXY_BIND_TIMEOUT',
    description: 'how long to wait for the peer',
  }),
  listen_ip: z
    .union([z.ipv4(), z.ipv6(), z.literal('')])
    .default('')
    .meta({
      env: 'PROXY_BIND_LISTEN_IP',
      description: 'local address for peers; empty: the address that the client connected to',
    }),
  advertised_ip: z
    .union([z.ipv4(), z.ipv6(), z.literal('')])
    .default('')
    .meta({
      env: 'PROXY_BIND_ADVERTISED_IP',
      description:
        'address that clients get in replies, for a proxy behind NAT; empty: the local one',
    }),
  ports: portRange().default({ first: 0, last: 0 }).meta({
    env: 'PROXY_BIND_PORTS',
    description: 'ports to listen on, such as 40000-40999; 0: any free port',
  }),
});

export type BindConfig = z.infer<typeof bindConfig>;
