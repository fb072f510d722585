import { z } from 'zod';

/**
 * A counter that never wraps: an integer from 0 to 2^53-1, so that it survives
 * JSON and a JavaScript number without rounding.
 */
export const counter = z.int().nonnegative();

/**
 * The four counters that every event carries.
 *
 * `sent` is client → destination, `received` is destination → client. Packets
 * are datagrams for UDP and reads from the socket for TCP. Bytes are payload
 * bytes: SOCKS messages and, for UDP, the SOCKS header are not counted.
 */
export const counters = z.object({
  bytes_sent: counter,
  bytes_received: counter,
  packets_sent: counter,
  packets_received: counter,
});

export type Counters = z.infer<typeof counters>;

export const COUNTER_NAMES = [
  'bytes_sent',
  'bytes_received',
  'packets_sent',
  'packets_received',
] as const satisfies readonly (keyof Counters)[];

/** Fresh counters at zero. */
export function zeroCounters(): Counters {
  return { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 };
}

/** Whether nothing was counted. */
export function isZero(c: Counters): boolean {
  return (
    c.bytes_sent === 0 && c.bytes_received === 0 && c.packets_sent === 0 && c.packets_received === 0
  );
}

/** The larger value of each counter: the fold of two cumulative readings. */
export function maxCounters(a: Counters, b: Counters): Counters {
  return {
    bytes_sent: Math.max(a.bytes_sent, b.bytes_sent),
    bytes_received: Math.max(a.bytes_received, b.bytes_received),
    packets_sent: Math.max(a.packets_sent, b.packets_sent),
    packets_received: Math.max(a.packets_received, b.packets_received),
  };
}
