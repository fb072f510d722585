import { byteSize, durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';
import { CHUNK_MAX_FRAMES } from './frame.js';

export const FULL_POLICIES = ['refuse', 'drop'] as const;

/** How events travel to Kafka, also while it is slow or away. */
export const eventsConfig = z.object({
  spool_dir: z.string().min(1).default('.local/proxy-spool').meta({
    env: 'PROXY_SPOOL_DIR',
    description: 'folder of the event spool; each proxy_id has its own below it',
  }),
  spool_max_bytes: byteSize({ min: 1024 * 1024 })
    .default(1024 ** 3)
    .meta({
      env: 'PROXY_SPOOL_MAX',
      description: 'most bytes that unacknowledged events may take on disk',
    }),
  queue_max_bytes: byteSize({ min: 1024 * 1024, max: 4 * 1024 ** 3 })
    .default(32 * 1024 ** 2)
    .meta({
      env: 'PROXY_QUEUE_MAX',
      description: 'most bytes of events kept in memory while the disk refuses the spool',
    }),
  full_policy: z.enum(FULL_POLICIES).default('refuse').meta({
    env: 'PROXY_EVENTS_FULL_POLICY',
    description: 'when the spool is full: refuse new sessions, or drop and count events',
  }),
  linger_ms: durationMs({ max: 10_000 }).default(100).meta({
    env: 'PROXY_EVENTS_LINGER',
    description:
      'how long the first event of a request may wait for others; four times as long under load',
  }),
  flush_timeout_ms: durationMs({ max: 3_600_000 }).default(10_000).meta({
    env: 'PROXY_EVENTS_FLUSH_TIMEOUT',
    description: 'on a stop, how long to wait for Kafka; unsent events stay in the spool',
  }),
  refused_max_bytes: byteSize({ min: 64 * 1024 })
    .default(64 * 1024 ** 2)
    .meta({
      env: 'PROXY_REFUSED_MAX',
      description: 'most bytes of refused events beside the spool; when full, all events wait',
    }),
  batch_max_records: integer({ min: CHUNK_MAX_FRAMES, max: 10_000 }).default(5_000).meta({
    env: 'PROXY_EVENTS_BATCH_MAX',
    description: 'most events in one request to Kafka',
  }),
});

export type EventsConfig = z.infer<typeof eventsConfig>;
