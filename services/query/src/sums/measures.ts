import type { Figures, KeyFigures } from '@sockscope/schemas/api';
import { isAtEnd } from '../sql/sums.js';
import type { Sums, SumsBy } from '../sql/sums.js';

/**
 * Both ways together.
 *
 * @throws RangeError beyond 2^53: an error, never a rounding.
 */
export function bytesOf(sums: { readonly bytes_sent: number; readonly bytes_received: number }) {
  return addExactly(sums.bytes_sent, sums.bytes_received);
}

/** @throws RangeError if the sum is beyond 2^53. */
export function addExactly(a: number, b: number): number {
  const sum = a + b;
  if (!Number.isSafeInteger(sum)) throw new RangeError('a sum is beyond 2^53');
  return sum;
}

/** Sums as answers show them. */
export function figuresOf(sums: Sums): Figures {
  return {
    sessions_started: sums.sessions_started,
    sessions_ended: sums.sessions_closed + sums.sessions_failed + sums.sessions_rejected,
    sessions_closed: sums.sessions_closed,
    sessions_failed: sums.sessions_failed,
    sessions_rejected: sums.sessions_rejected,
    bytes: bytesOf(sums),
    bytes_sent: sums.bytes_sent,
    bytes_received: sums.bytes_received,
    packets_sent: sums.packets_sent,
    packets_received: sums.packets_received,
    duration_ms: sums.duration_ms,
  };
}

/** The same of one key: if sessions count at their end, starts are not known. */
export function keyFiguresOf(sums: Sums, by: SumsBy): KeyFigures {
  const figures = figuresOf(sums);
  return isAtEnd(by) ? { ...figures, sessions_started: null } : figures;
}
