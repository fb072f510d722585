import { durationMs, flag } from '@sockscope/runtime';
import { z } from 'zod';
import { portRange } from '../limits/ports.js';

export const bindConfig = z.object({
  enabled: flag().default(false).meta({
    env: 'PROXY_BIND_ENABLED',
    description: 'take the BIND command',
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
      description:
        'local address that peers connect to; empty is the one by which the client reached the proxy',
    }),
  advertised_ip: z
    .union([z.ipv4(), z.ipv6(), z.literal('')])
    .default('')
    .meta({
      env: 'PROXY_BIND_ADVERTISED_IP',
      description: 'address told to clients, where a NAT lies between; empty is the local one',
    }),
  ports: portRange().default({ first: 0, last: 0 }).meta({
    env: 'PROXY_BIND_PORTS',
    description: 'ports to wait on, such as 40000-40999; 0 takes any free one',
  }),
});

export type BindConfig = z.infer<typeof bindConfig>;
