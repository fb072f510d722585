import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import type { Session } from '../sessions/session.js';

export const RELAY_NAMES = ['splice', 'stream'] as const;
export type RelayName = (typeof RELAY_NAMES)[number];

/** The two ends of a session. */
export type Side = 'client' | 'upstream';

export interface RelayLimits {
  /** Ends the session when nothing moved either way for this long; 0 is never. */
  readonly idle_timeout_ms: number;
  /**
   * The same once one side has ended its direction: a peer that is gone must not hold the
   * session, and a long download after a half-close may continue as long as it moves. 0 is never.
   */
  readonly half_close_linger_ms: number;
  /** After this long without a byte the kernel asks whether a peer is still there; 0 is never. */
  readonly keepalive_ms: number;
}

export interface RelayEnd {
  readonly reason: CloseReason;
  /** errno of the failure, null for an orderly end. */
  readonly errorCode: string | null;
}

/**
 * Two connected TCP sockets whose handshake is done and which nobody else reads, both opened
 * with `allowHalfOpen: true`. `run` takes them over: from then on the caller neither uses them
 * nor listens to its events, because a relay may destroy the object and continue with its connection.
 * The client may have ended its direction already, and that may have been read (`readableEnded`).
 */
export interface RelayPair {
  readonly session: Session;
  readonly client: Socket;
  readonly upstream: Socket;
  /** Bytes that the client sent behind its request; counted and sent to the destination first. */
  readonly head: Buffer | null;
}

/**
 * Moves bytes both ways, keeps half-closes, counts into the session (directly, or by
 * `session.refreshCounters`) and sets `session.terminate`. It closes both sockets at the end,
 * but does not call `session.close`: the caller does, with the end that `run` resolves to.
 * Counters are final when `run` resolves. `run` never rejects.
 *
 * A byte is counted once the kernel has taken it for the receiving side, so that a session that
 * breaks never counts bytes that could not be delivered. A packet is one read from a socket.
 *
 * The first thing that ends a session names the reason. After one side's orderly end the other
 * direction continues; if a side that has ended breaks afterwards, bytes that are still sent to it are
 * discarded until the other side ends too. An orderly end reaches the other side as FIN; every
 * other one as RST, so that a cut-off transfer cannot be taken for a whole one.
 */
export interface Relay {
  /** The relay that moves the bytes now: splice without its threads is stream. */
  readonly name: RelayName;
  /** Descriptors that it holds now, besides its sessions' sockets. */
  readonly descriptors: number;
  /** The most of them. */
  readonly maxDescriptors: number;
  start(): Promise<void>;
  run(pair: RelayPair): Promise<RelayEnd>;
  /** Ends the relay's own resources; the sessions have been terminated before. */
  stop(): Promise<void>;
}
