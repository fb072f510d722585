import { Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import type { RelayName } from './relay.js';

/** Shows which relay was chosen at start. */
export function showRelay(registry: Registry, name: RelayName): void {
  new Gauge({
    name: 'sockscope_proxy_relay_info',
    help: 'Always 1; the label tells which relay moves the bytes.',
    labelNames: ['relay'],
    registers: [registry],
  }).set({ relay: name }, 1);
}
