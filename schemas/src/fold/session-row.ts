import type { CloseReason, SessionStatus } from '../events/close-reason.js';
import type { SessionEvent } from '../events/events.js';

type Carried = Pick<
  SessionEvent,
  | 'session_id'
  | 'seq'
  | 'proxy_id'
  | 'proxy_epoch'
  | 'started_at'
  | 'user'
  | 'source_ip'
  | 'source_port'
  | 'dest_host'
  | 'dest_ip'
  | 'dest_port'
  | 'protocol'
  | 'command'
  | 'auth_method'
  | 'acl_decision'
  | 'acl_rule_matched'
  | 'bytes_sent'
  | 'bytes_received'
  | 'packets_sent'
  | 'packets_received'
>;

/** A session as the `sessions` table holds it: one event's whole row, never a mixture of several. */
export type SessionRow = Readonly<
  Carried & {
    status: SessionStatus;
    close_reason: CloseReason | null;
    error_code: string | null;
    connect_ms: number | null;
    /** `occurred_at` of the event that this row is. */
    updated_at: string;
    ended_at: string | null;
    duration_ms: number | null;
    /** The higher one wins: `seq * 2`, and `seq * 2 + 1` for a row that ingest itself wrote. */
    version: number;
  }
>;

/** The row that an event stands for. */
export function rowOf(event: SessionEvent): SessionRow {
  const closed = event.type === 'SessionClosed' ? event : null;
  return {
    session_id: event.session_id,
    seq: event.seq,
    proxy_id: event.proxy_id,
    proxy_epoch: event.proxy_epoch,
    started_at: event.started_at,
    user: event.user,
    source_ip: event.source_ip,
    source_port: event.source_port,
    dest_host: event.dest_host,
    dest_ip: event.dest_ip,
    dest_port: event.dest_port,
    protocol: event.protocol,
    command: event.command,
    auth_method: event.auth_method,
    acl_decision: event.acl_decision,
    acl_rule_matched: event.acl_rule_matched,
    bytes_sent: event.bytes_sent,
    bytes_received: event.bytes_received,
    packets_sent: event.packets_sent,
    packets_received: event.packets_received,
    status: closed?.status ?? 'active',
    close_reason: closed?.close_reason ?? null,
    error_code: closed?.error_code ?? null,
    connect_ms: closed?.connect_ms ?? null,
    updated_at: event.occurred_at,
    ended_at: closed?.ended_at ?? null,
    duration_ms: closed?.duration_ms ?? null,
    version: event.seq * 2,
  };
}

/**
 * The row of an open session whose proxy is gone. It ends where it was last heard of;
 * its odd version beats the row it comes from and loses to any later real event.
 */
export function lostRowOf(row: SessionRow): SessionRow {
  return {
    ...row,
    status: 'failed',
    close_reason: 'lost',
    ended_at: row.updated_at,
    duration_ms: Math.max(0, Date.parse(row.updated_at) - Date.parse(row.started_at)),
    version: row.seq * 2 + 1,
  };
}
