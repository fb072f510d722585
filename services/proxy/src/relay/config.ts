import { byteSize, durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';
import { RELAY_NAMES } from './relay.js';

/** How bytes are moved, and when a session that moves none is ended. */
export const relayConfig = z.object({
  relay: z
    .enum(['auto', ...RELAY_NAMES])
    .default('auto')
    .meta({
      env: 'PROXY_RELAY',
      description:
        'splice copies inside the Linux kernel, stream through this process; auto: splice if available',
    }),
  splice: z.object({
    after_bytes: byteSize().default(262_144).meta({
      env: 'PROXY_SPLICE_AFTER',
      description:
        'bytes after which the kernel takes over a session; for fewer, the handover costs more than copying',
    }),
    threads: integer({ min: 1, max: 64 }).default(2).meta({
      env: 'PROXY_SPLICE_THREADS',
      description: 'threads that move bytes inside the kernel; each can use one core',
    }),
    pipe_bytes: byteSize({ min: 65_536, max: 1_048_576 }).default(524_288).meta({
      env: 'PROXY_SPLICE_PIPE_BYTES',
      description:
        'size of a pipe inside the kernel; more than /proc/sys/fs/pipe-max-size needs privileges',
    }),
    max_pipes: integer({ min: 0, max: 65_536 }).default(512).meta({
      env: 'PROXY_SPLICE_MAX_PIPES',
      description:
        'pipes at once, two descriptors each; only transfers to a full receiver keep one. Beyond the limit, bytes are copied through memory',
    }),
  }),
  idle_timeout_ms: durationMs({ max: 31_536_000_000 }).default(3_600_000).meta({
    env: 'PROXY_IDLE_TIMEOUT',
    description: 'ends a session without a byte in either direction for this long; 0: never',
  }),
  keepalive_ms: durationMs({ max: 7_200_000 }).default(60_000).meta({
    env: 'PROXY_TCP_KEEPALIVE',
    description:
      'idle time after which TCP keepalive probes client and destination, in whole seconds; 0: never',
  }),
  half_close_linger_ms: durationMs({ max: 31_536_000_000 }).default(60_000).meta({
    env: 'PROXY_HALF_CLOSE_LINGER',
    description:
      'ends a session without a byte for this long after one side has ended its direction; 0: never',
  }),
});

export type RelayConfig = z.infer<typeof relayConfig>;
