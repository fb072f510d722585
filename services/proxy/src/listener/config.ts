import { flag, integer, listenAddress } from '@sockscope/runtime';
import { z } from 'zod';

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
});

export type ListenerConfig = z.infer<typeof listenerConfig>;
