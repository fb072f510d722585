import { Counter, Gauge } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';

export interface StreamMetrics {
  readonly clients: Gauge;
  readonly events: Counter<'type'>;
  readonly cutOff: Counter<'cause'>;
  readonly skipped: Counter;
}

export function createStreamMetrics(registry: Registry): StreamMetrics {
  const registers = [registry];
  return {
    clients: new Gauge({
      name: 'sockscope_query_stream_clients',
      help: 'Open live streams.',
      registers,
    }),
    events: new Counter({
      name: 'sockscope_query_stream_events_total',
      help: 'Events offered to live streams, before their filters.',
      labelNames: ['type'],
      registers,
    }),
    cutOff: new Counter({
      name: 'sockscope_query_stream_cut_off_total',
      help: 'Streams that the service ended: slow, unauthenticated, or all at a stop.',
      labelNames: ['cause'],
      registers,
    }),
    skipped: new Counter({
      name: 'sockscope_query_stream_gaps_total',
      help: 'Times that polling fell too far behind and skipped to the present.',
      registers,
    }),
  };
}
