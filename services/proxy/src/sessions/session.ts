import type { CloseReason, SessionStarted } from '@sockscope/schemas';
import type { AclInputs } from './acl-inputs.js';

/** What is known of a session when its request is understood: the header of its events, less the clock. */
export type SessionHeader = Pick<
  SessionStarted,
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
>;

/**
 * A live session. Its counters are plain numbers, cumulative since the start, and whoever
 * moves the bytes just adds to them: the tracker's sweep makes the events, so that
 * counting costs nothing per packet.
 */
export interface Session {
  readonly session_id: string;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  readonly header: SessionHeader;
  /** What the ACL was last asked with, null where that is the header's destination; see acl-inputs.ts. */
  aclInputs: AclInputs | null;

  /** client → destination. */
  bytesSent: number;
  /** destination → client. */
  bytesReceived: number;
  packetsSent: number;
  packetsReceived: number;

  /**
   * Called by the sweep before it reads the counters, for a relay that counts elsewhere
   * (shared memory, sockets' own counters). Null where the numbers are always current.
   */
  refreshCounters: (() => void) | null;

  /** Asks whoever holds the sockets to end the session for this reason; set by the relay or command. */
  terminate: ((reason: CloseReason, errorCode: string | null) => void) | null;

  /**
   * Notes that the destination was reached, at which address, and how long that took in
   * milliseconds. `rule` is the ACL's rule for that address, which may not have been known
   * while there was only a name.
   */
  connected(destIp: string, connectMs: number, rule: string | null): void;
  /** Notes that the destination was not reached, and how long that took, in milliseconds. */
  unreached(connectMs: number): void;
  /** Notes that an address that a name resolved to was blocked; the close reason is then acl_rejected. */
  blocked(rule: string | null, destIp: string | null): void;
  /** Emits SessionClosed, once; later calls do nothing. */
  close(reason: CloseReason, errorCode: string | null): void;
  readonly closed: boolean;
}

/** Opens sessions and turns their counters into events. */
export interface SessionTracker {
  /** Emits SessionStarted. Null where the event sink accepts no new sessions. */
  open(header: SessionHeader): Session | null;
  /** The live sessions, for limits, revocation and shutdown. */
  live(): IterableIterator<Session>;
  readonly liveCount: number;
  start(): void;
  /** Emits what is still open as `server_shutdown` and stops the sweep. */
  stop(): void;
}
