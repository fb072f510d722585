import { flag, integer, listenAddress, textList } from '@sockscope/runtime';
import { z } from 'zod';
import { parsePrefix } from '@sockscope/schemas/net';

export const AUTH_SETTINGS = ['auto', 'none', 'password', 'optional'] as const;

export const listenerConfig = z.object({
  listen: listenAddress().default({ host: '127.0.0.1', port: 1080 }).meta({
    env: 'PROXY_LISTEN',
    description: 'address for SOCKS5 clients',
  }),
  backlog: integer({ min: 1, max: 65_535 }).default(4_096).meta({
    env: 'PROXY_BACKLOG',
    description:
      'connections that the kernel queues until the proxy accepts them; net.core.somaxconn limits it too',
  }),
  auth: z.enum(AUTH_SETTINGS).default('auto').meta({
    env: 'PROXY_AUTH',
    description:
      'none: no authentication; password: every client; optional: clients that offer a password; auto: password if there is a users file, else none',
  }),
  allow_open: flag().default(false).meta({
    env: 'PROXY_ALLOW_OPEN',
    description: 'allow to listen beyond loopback without authentication and without an ACL',
  }),
  proxy_protocol: flag().default(false).meta({
    env: 'PROXY_PROXY_PROTOCOL',
    description:
      'expect a PROXY protocol header (version 1 or 2) before SOCKS5, which carries the client address through a load balancer',
  }),
  proxy_protocol_from_any: flag().default(false).meta({
    env: 'PROXY_PROXY_PROTOCOL_FROM_ANY',
    description:
      'accept PROXY protocol headers from any address beyond loopback; any client can then choose its source address',
  }),
  proxy_protocol_from: textList({ max: 1_000 })
    .refine(
      (texts) => texts.every((text) => typeof parsePrefix(text) !== 'string'),
      'must be addresses or networks such as 10.0.0.0/8',
    )
    .default([])
    .meta({
      env: 'PROXY_PROXY_PROTOCOL_FROM',
      description:
        'networks of the load balancers, which must send the header; others are direct clients. Empty: every client must send it; this needs a loopback address or PROXY_PROXY_PROTOCOL_FROM_ANY',
    }),
});

export type ListenerConfig = z.infer<typeof listenerConfig>;
