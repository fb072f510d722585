import { durationMs, integer, textList } from '@sockscope/runtime';
import { z } from 'zod';

export const dnsConfig = z.object({
  servers: textList({ max: 8 }).default([]).meta({
    env: 'PROXY_DNS_SERVERS',
    description: 'name servers, address or address:port; empty is what /etc/resolv.conf says',
  }),
  timeout_ms: durationMs({ min: 100, max: 60_000 }).default(5_000).meta({
    env: 'PROXY_DNS_TIMEOUT',
    description: 'for one name, waiting for a free place and all its queries included',
  }),
  concurrency: integer({ min: 1, max: 10_000 }).default(1_024).meta({
    env: 'PROXY_DNS_CONCURRENCY',
    description:
      'names that are resolved at once; one source (IPv6: one /48) gets a quarter of them, one domain a sixteenth',
  }),
  queue: integer({ min: 0, max: 100_000 }).default(4_096).meta({
    env: 'PROXY_DNS_QUEUE',
    description:
      'names that wait for a place; when all are taken, the source that has most of them loses its oldest',
  }),
  cache_entries: integer({ min: 0, max: 1_000_000 }).default(10_000).meta({
    env: 'PROXY_DNS_CACHE_ENTRIES',
    description: 'answers kept for as long as their TTL says; 0 keeps none',
  }),
  cache_ttl_max_ms: durationMs({ max: 86_400_000 }).default(60_000).meta({
    env: 'PROXY_DNS_CACHE_TTL_MAX',
    description: 'longest time that an answer is kept, whatever its TTL',
  }),
  negative_ttl_ms: durationMs({ max: 300_000 }).default(5_000).meta({
    env: 'PROXY_DNS_NEGATIVE_TTL',
    description:
      'how long it is remembered that a name does not exist; other failures are remembered for 1 s at most; 0 keeps none',
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
