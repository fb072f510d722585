import { AggregatorRegistry } from 'prom-client';
import type { MetricsSnapshot } from './messages.js';

/** Types whose values only grow; `MetricType` of prom-client is a number or, from JSON, a name. */
const GROWING = new Set(['counter', 'histogram', 'summary']);

/** One registry's text from several snapshots, each metric by its own aggregator (a sum by default). */
export function mergedText(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate([...snapshots]).metrics();
}

/**
 * The counters of a dead worker's last snapshot, which stay in the sums: a counter that fell when a
 * worker died would look to Prometheus like a restart, and all its past would count again.
 */
export async function withDeparted(
  departed: MetricsSnapshot,
  last: MetricsSnapshot,
): Promise<MetricsSnapshot> {
  const growing = last.filter((metric) => GROWING.has(String(metric.type)));
  return await AggregatorRegistry.aggregate([departed, growing]).getMetricsAsJSON();
}
