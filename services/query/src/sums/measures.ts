import type { Sums } from '../sql/sums.js';

/**
 * Both ways together.
 *
 * @throws RangeError beyond 2^53: an error, never a rounding.
 */
export function bytesOf(sums: { readonly bytes_sent: number; readonly bytes_received: number }) {
  return addExactly(sums.bytes_sent, sums.bytes_received);
}

/** @throws RangeError where the sum is beyond 2^53. */
export function addExactly(a: number, b: number): number {
  const sum = a + b;
  if (!Number.isSafeInteger(sum)) throw new RangeError('a sum is beyond 2^53');
  return sum;
}

/** Sums under the names that answers use. */
export function measuresOf(sums: Sums) {
  return {
    started: sums.sessions_started,
    closed: sums.sessions_closed,
    failed: sums.sessions_failed,
    rejected: sums.sessions_rejected,
    bytes_sent: sums.bytes_sent,
    bytes_received: sums.bytes_received,
    packets_sent: sums.packets_sent,
    packets_received: sums.packets_received,
    duration_ms: sums.duration_ms,
  };
}
