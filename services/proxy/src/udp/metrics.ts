import { Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { Tally } from '../metrics/tally.js';

/** Why a datagram was not passed on. A closed set: it is a metric label. */
export const DROP_REASONS = [
  /** Not from the client's address, or not from the port that it began with. */
  'not_the_client',
  'fragment',
  'malformed',
  /** The destination was blocked, could not be resolved, or a limit refused its session. */
  'refused_destination',
  'max_destinations',
  /** Too many datagrams wait for a name's addresses. */
  'resolving',
  /** Too many bytes wait to be sent. */
  'backlog',
  /** The sender is an address that the client has not sent to. */
  'unknown_source',
  'send_failed',
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface UdpMetrics {
  readonly dropped: Tally<DropReason>;
  associations: number;
}

export function createUdpMetrics(registry: Registry): UdpMetrics {
  const metrics: UdpMetrics = { dropped: new Tally(DROP_REASONS), associations: 0 };
  metrics.dropped.register(
    registry,
    'sockscope_proxy_udp_datagrams_dropped_total',
    'Datagrams that were not passed on, by reason.',
    'reason',
  );
  const associations = new Gauge({
    name: 'sockscope_proxy_udp_associations',
    help: 'UDP associations that are open.',
    registers: [registry],
    collect() {
      associations.set(metrics.associations);
    },
  });
  return metrics;
}
