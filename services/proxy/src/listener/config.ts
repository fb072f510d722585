import { flag, integer, listenAddress, textList } from '@sockscope/runtime';
import { z } from 'zod';
import { parsePrefix } from '@sockscope/schemas/net';

export const AUTH_SETTINGS = ['auto', 'none', 'password', 'optional'] as const;

export const listenerConfig = z.object({
  listen: listenAddress().default({ host: '127.0.0.1', port: 1080 }).meta({
    env: 'PROXY_LISTEN',
    description: 'where SOCKS5 clients connect',
  }),
  backlog: integer({ min: 1, max: 65_535 }).default(4_096).meta({
    env: 'PROXY_BACKLOG',
    description:
      'connections that the kernel holds until they are accepted (net.core.somaxconn bounds it too)',
  }),
  auth: z.enum(AUTH_SETTINGS).default('auto').meta({
    env: 'PROXY_AUTH',
    description:
      'none: nobody authenticates; password: everybody does; optional: who offers a password; auto: password where there is a users file, else none',
  }),
  allow_open: flag().default(false).meta({
    env: 'PROXY_ALLOW_OPEN',
    description:
      'allow listening on other than loopback addresses without authentication and without an ACL',
  }),
  proxy_protocol: flag().default(false).meta({
    env: 'PROXY_PROXY_PROTOCOL',
    description:
      'expect a PROXY protocol header (version 1 or 2) before SOCKS5, which carries the client address through a load balancer',
  }),
  proxy_protocol_from_any: flag().default(false).meta({
    env: 'PROXY_PROXY_PROTOCOL_FROM_ANY',
    description:
      'take PROXY protocol headers from everybody on other than loopback addresses, although whoever connects can then choose its address',
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
        'networks of the load balancers: only they must send the header, everybody else is taken for a direct client; empty: everybody must send it, which needs a loopback address or PROXY_PROXY_PROTOCOL_FROM_ANY',
    }),
});

export type ListenerConfig = z.infer<typeof listenerConfig>;
