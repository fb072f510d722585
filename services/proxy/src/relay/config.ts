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
        'splice copies inside the Linux kernel, stream through this process; auto takes splice where it can be had',
    }),
  splice: z.object({
    after_bytes: byteSize().default(262_144).meta({
      env: 'PROXY_SPLICE_AFTER',
      description:
        'a session is handed to the kernel once it has moved this much; handing over costs more than copying less',
    }),
    threads: integer({ min: 1, max: 64 }).default(2).meta({
      env: 'PROXY_SPLICE_THREADS',
      description: 'threads that move bytes inside the kernel; each can fill a processor',
    }),
    pipe_bytes: byteSize({ min: 65_536, max: 1_048_576 }).default(524_288).meta({
      env: 'PROXY_SPLICE_PIPE_BYTES',
      description:
        'size of the pipes that bytes pass through inside the kernel; above /proc/sys/fs/pipe-max-size only with privilege',
    }),
    max_pipes: integer({ min: 0, max: 65_536 }).default(512).meta({
      env: 'PROXY_SPLICE_MAX_PIPES',
      description:
        'pipes at once, two descriptors each; only transfers whose receiver is full keep one, and beyond the limit bytes are copied through memory',
    }),
  }),
  idle_timeout_ms: durationMs({ max: 31_536_000_000 }).default(3_600_000).meta({
    env: 'PROXY_IDLE_TIMEOUT',
    description: 'ends a session in which no byte moved either way for this long; 0 is never',
  }),
  keepalive_ms: durationMs({ max: 7_200_000 }).default(60_000).meta({
    env: 'PROXY_TCP_KEEPALIVE',
    description:
      'after this long without a byte, TCP keepalive finds out whether client and destination are still there, in whole seconds; 0 is never',
  }),
  half_close_linger_ms: durationMs({ max: 31_536_000_000 }).default(60_000).meta({
    env: 'PROXY_HALF_CLOSE_LINGER',
    description:
      'the same once one side has ended its direction, so that a peer that is gone does not hold the session; 0 is never',
  }),
});

export type RelayConfig = z.infer<typeof relayConfig>;
