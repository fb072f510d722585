import { VERSION } from '../version.js';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Gauges of prom-client that are named like counters; each is the sum of another one by type. */
const MISNAMED = ['active_handles_total', 'active_requests_total', 'active_resources_total'];

/** A registry with the process's own metrics, every name with the prefix `sockscope_`. */
export function createRegistry(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry, prefix: 'sockscope_' });
  for (const name of MISNAMED) registry.removeSingleMetric(`sockscope_nodejs_${name}`);
  new Gauge({
    name: 'sockscope_build_info',
    help: 'Always 1; the labels name the versions of Sockscope and Node.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version: VERSION, node: process.version }, 1);
  return registry;
}
