import { durationMs, integer, textList } from '@sockscope/runtime';
import { z } from 'zod';

export const dnsConfig = z.object({
  servers: textList({ max: 8 }).default([]).meta({
    env: 'PROXY_DNS_SERVERS',
    description: 'name servers, address or address:port; empty: the ones in /etc/resolv.conf',
  }),
  timeout_ms: durationMs({ min: 100, max: 60_000 }).default(5_000).meta({
    env: 'PROXY_DNS_TIMEOUT',
    description: 'time limit for one name, including the wait for a free place',
  }),
  concurrency: integer({ min: 1, max: 10_000 }).default(1_024).meta({
    env: 'PROXY_DNS_CONCURRENCY',
    description:
      'names that are resolved at once; one source (IPv6: one /48) gets a quarter, one domain a sixteenth',
  }),
  queue: integer({ min: 0, max: 100_000 }).default(4_096).meta({
    env: 'PROXY_DNS_QUEUE',
    description:
      'names that wait for a free place; at the limit, the source with most of them loses its oldest',
  }),
  cache_entries: integer({ min: 0, max: 1_000_000 }).default(10_000).meta({
    env: 'PROXY_DNS_CACHE_ENTRIES',
    description: 'answers that are kept for their TTL; 0 keeps none',
  }),
  cache_ttl_max_ms: durationMs({ max: 86_400_000 }).default(60_000).meta({
    env: 'PROXY_DNS_CACHE_TTL_MAX',
    description: 'longest time to keep an answer, even if its TTL is longer',
  }),
  negative_ttl_ms: durationMs({ max: 300_000 }).default(5_000).meta({
    env: 'PROXY_DNS_NEGATIVE_TTL',
    description:
      'how long to remember that a name does not exist; other failures are remembered for at most 1 s; 0 keeps none',
  }),
  family: z.enum(['both', 'ipv4', 'ipv6']).default('both').meta({
    env: 'PROXY_DNS_FAMILY',
    description: 'which addresses names are resolved to: both, ipv4, ipv6',
  }),
  hosts_file: z.string().default('/etc/hosts').meta({
    env: 'PROXY_DNS_HOSTS_FILE',
    description: 'names are looked up here first; read again when it changes',
  }),
  resolv_conf: z.string().default('/etc/resolv.conf').meta({
    env: 'PROXY_DNS_RESOLV_CONF',
    description: 'its search list and ndots apply to names; read again when it changes',
  }),
});

export type DnsConfig = z.infer<typeof dnsConfig>;
