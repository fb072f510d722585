import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

export type LostMetrics = ReturnType<typeof createLostMetrics>;

export function createLostMetrics(registry: Registry) {
  const registers = [registry];
  return {
    declared: new Counter({
      name: 'sockscope_ingest_lost_sessions_total',
      help: 'Open sessions declared lost because their proxy is gone.',
      registers,
    }),
    failures: new Counter({
      name: 'sockscope_ingest_lost_search_failures_total',
      help: 'Searches for lost sessions that failed; the next search repeats the work.',
      registers,
    }),
    sharedIds: new Gauge({
      name: 'sockscope_ingest_shared_proxy_ids',
      help: 'Values of proxy_id that two live proxies use; the log names them.',
      registers,
    }),
  };
}
