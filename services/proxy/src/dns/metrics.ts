import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { AtScrape } from '../metrics/at-scrape.js';
import type { ResolverStats } from './resolver.js';

/** Shows the work of the name resolver; the numbers are read at a scrape. */
export function showResolver(registry: Registry, stats: () => Readonly<ResolverStats>): void {
  const registers = [registry];
  const lookups = new Gauge({
    name: 'sockscope_proxy_dns_lookups',
    help: 'Names that are being resolved, or wait for a free place.',
    labelNames: ['state'],
    registers,
    collect() {
      const { active, queued } = stats();
      lookups.set({ state: 'active' }, active);
      lookups.set({ state: 'queued' }, queued);
    },
  });
  new AtScrape(registry).gauge(
    'sockscope_proxy_dns_cached_answers',
    'Answers kept for their TTL.',
    () => stats().cached,
  );
  const outcomes = new Counter({
    name: 'sockscope_proxy_dns_resolutions_total',
    help: 'Names by outcome: found locally (hosts file, cache), answered by a name server, failed, or not queried because the name servers of their zone are silent.',
    labelNames: ['outcome'],
    registers,
    collect() {
      const { hits, answered, failed, silent } = stats();
      outcomes.reset();
      outcomes.inc({ outcome: 'local' }, hits);
      outcomes.inc({ outcome: 'answered' }, answered);
      outcomes.inc({ outcome: 'failed' }, failed);
      outcomes.inc({ outcome: 'silent_zone' }, silent);
    },
  });
}
