import type { CloseReason } from '@sockscope/schemas';
import type { LateHeader, SessionHeader } from '../events/event-parts.js';
import type { AclInputs } from './acl-inputs.js';

/**
 * A live session. Its counters are plain numbers, cumulative since the start, and the relay only
 * adds to them. The tracker's sweep makes the events, so counting costs nothing per packet.
 */
export interface Session {
  readonly session_id: string;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  /** The facts that stay. */
  readonly header: SessionHeader;
  /** The latest ones of those that change. */
  readonly late: LateHeader;
  /**
   * The inputs of the latest ACL decision; null if it is the header's destination. See
   * acl-inputs.ts.
   */
  aclInputs: AclInputs | null;

  /** client → destination. */
  bytesSent: number;
  /** destination → client. */
  bytesReceived: number;
  packetsSent: number;
  packetsReceived: number;

  /**
   * Called by the sweep before it reads the counters, for a relay that counts elsewhere (shared
   * memory, sockets' own counters). Null if the numbers are always current.
   */
  refreshCounters: (() => void) | null;

  /**
   * Asks the owner of the sockets to end the session for this reason; set by the relay or command.
   */
  terminate: ((reason: CloseReason, errorCode: string | null) => void) | null;

  /**
   * Notes that the destination was reached, its address, and how long that took in
   * milliseconds. The ACL's rule may not have been known while there was only a name.
   */
  connected(late: Omit<LateHeader, 'acl_decision'>, connectMs: number): void;
  /** Notes that the destination was not reached, and how long that took, in milliseconds. */
  unreached(connectMs: number): void;
  /** Notes that an address that a name resolved to was blocked; the close reason is then acl_rejected. */
  blocked(rule: string | null, destIp: string | null): void;
  /** Emits SessionClosed, once; later calls do nothing. Nobody changes the session afterwards. */
  close(reason: CloseReason, errorCode: string | null): void;
  readonly closed: boolean;
}

/** Opens sessions and turns their counters into events. */
export interface SessionTracker {
  /** Emits SessionStarted. Null if the event sink accepts no new sessions. */
  open(header: SessionHeader, late: LateHeader): Session | null;
  /** The live sessions, for limits, revocation and shutdown. */
  live(): IterableIterator<Session>;
  readonly liveCount: number;
  start(): void;
  /** Ends open sessions as `server_shutdown` and stops the sweep. */
  stop(): void;
}
