import { durationMs } from '@sockscope/runtime';
import { MINUTE_MS } from '@sockscope/schemas';
import { z } from 'zod';

/** When a live session's counters become events. */
export const trackingConfig = z.object({
  sweep_interval_ms: durationMs({ min: 10, max: MINUTE_MS }).default(500).meta({
    env: 'PROXY_SWEEP_INTERVAL',
    description: 'how often the counters of open sessions are read',
  }),
  first_delta_ms: durationMs({ min: 0, max: 3_600_000 }).default(1_000).meta({
    env: 'PROXY_FIRST_DELTA',
    description: 'age of a session from which its first traffic is reported',
  }),
  traffic_interval_ms: durationMs({ min: 10, max: 3_600_000 }).default(5_000).meta({
    env: 'PROXY_TRAFFIC_INTERVAL',
    description: 'least time between two reports of a session with traffic',
  }),
  heartbeat_interval_ms: durationMs({ min: 100, max: 3_600_000 }).default(30_000).meta({
    env: 'PROXY_HEARTBEAT_INTERVAL',
    description: 'a session without traffic is reported as open this often',
  }),
});

export type TrackingConfig = z.infer<typeof trackingConfig>;
