import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { AtScrape } from '../metrics/at-scrape.js';
import type { Relay } from './relay.js';
import type { SpliceRelay } from './splice/splice-relay.js';

/** Shows which relay moves the bytes. */
export function showRelay(registry: Registry, relay: Relay): void {
  new Gauge({
    name: 'sockscope_proxy_relay_info',
    help: 'Always 1; the label names the relay that moves the bytes.',
    labelNames: ['relay'],
    registers: [registry],
    aggregator: 'first',
    collect() {
      this.reset();
      this.set({ relay: relay.name }, 1);
    },
  });
}

/** Shows the sessions and pipes of the splice threads. */
export function showSplice(registry: Registry, relay: SpliceRelay): void {
  const show = new AtScrape(registry);
  show.gauge(
    'sockscope_proxy_splice_threads',
    'Splice threads that run; without any, all bytes pass through the process.',
    () => relay.threads,
  );
  show.gauge(
    'sockscope_proxy_splice_sessions',
    'Sessions whose bytes the kernel moves.',
    () => relay.sessions,
  );
  new Gauge({
    name: 'sockscope_proxy_splice_pipes',
    help: 'Open pipes, and open pipes that hold bytes for a full receiver.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      const { open, busy } = relay.pipes;
      this.set({ state: 'open' }, open);
      this.set({ state: 'busy' }, busy);
    },
  });
  let seen = 0;
  const shortages = new Counter({
    name: 'sockscope_proxy_splice_pipe_shortages_total',
    help: 'Reads that found no free pipe and were copied through memory instead.',
    registers: [registry],
    collect() {
      const { shortages: now } = relay.pipes;
      shortages.inc((now - seen) >>> 0);
      seen = now;
    },
  });
}
