import { z } from 'zod';

/** How a session ended. */
export const FINAL_STATUSES = ['closed', 'failed', 'rejected_by_acl'] as const;
export type FinalStatus = (typeof FINAL_STATUSES)[number];

/** The same as `sessions.status` shows it. `active` is a session that has not ended. */
export const SESSION_STATUSES = ['active', ...FINAL_STATUSES] as const;
export type SessionStatus = (typeof SESSION_STATUSES)[number];

/**
 * The reason why a session ended: a closed set, so that it can be a metric label
 * and a ClickHouse Enum-like LowCardinality column. Each belongs to one status.
 */
const STATUS_BY_CLOSE_REASON = {
  /** The client ended its side, and the session ended in order. */
  client_eof: 'closed',
  /** The destination ended its side, and the session ended in order. */
  upstream_eof: 'closed',
  /** The client's connection broke (ECONNRESET, EPIPE, ETIMEDOUT). */
  client_reset: 'closed',
  /** The destination's connection broke. */
  upstream_reset: 'closed',
  /** Nothing moved for the idle timeout. */
  idle_timeout: 'closed',
  /** One side had ended, and the other did not within the half-close linger. */
  half_close_timeout: 'closed',
  /** UDP: the TCP connection that the association hangs on ended (RFC 1928, section 7). */
  association_closed: 'closed',
  /** A changed ACL forbids the session. */
  acl_revoked: 'closed',
  /** The proxy was asked to stop. */
  server_shutdown: 'closed',
  /** The client left before the destination answered. */
  client_aborted: 'failed',
  connect_failed: 'failed',
  connect_timeout: 'failed',
  dns_failed: 'failed',
  /** BIND: no peer came in time. */
  bind_timeout: 'failed',
  /** BIND: another peer than the requested one came. */
  bind_peer_rejected: 'failed',
  /** A configured limit refused the session. */
  limit_exceeded: 'failed',
  /** The command is switched off or unknown. */
  command_refused: 'failed',
  /** The proxy found the session open in its own journal after it had died. */
  proxy_crashed: 'failed',
  /** Ingest found that the session's proxy is gone; a real event overrides it. */
  lost: 'failed',
  internal_error: 'failed',
  acl_rejected: 'rejected_by_acl',
} as const satisfies Record<string, FinalStatus>;

export type CloseReason = keyof typeof STATUS_BY_CLOSE_REASON;

export const CLOSE_REASONS = Object.keys(STATUS_BY_CLOSE_REASON) as [CloseReason, ...CloseReason[]];

export const closeReason = z.enum(CLOSE_REASONS);

/** The status that a close reason implies. */
export function statusOf<R extends CloseReason>(reason: R): (typeof STATUS_BY_CLOSE_REASON)[R] {
  return STATUS_BY_CLOSE_REASON[reason];
}
