import type { Sums } from '../../sql/sums.js';

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
