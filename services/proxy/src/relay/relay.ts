import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import type { Session } from '../sessions/session.js';

export const RELAY_NAMES = ['splice', 'stream'] as const;
export type RelayName = (typeof RELAY_NAMES)[number];

export interface RelayLimits {
  /** Ends the session when nothing moved either way for this long; 0 is never. */
  readonly idle_timeout_ms: number;
  /** How long the second direction may go on after the first one ended; 0 is for ever. */
  readonly half_close_linger_ms: number;
}

export interface RelayEnd {
  readonly reason: CloseReason;
  /** errno of the failure, null for an orderly end. */
  readonly errorCode: string | null;
}

/** Two connected sockets whose handshake is done and which nobody else reads. */
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
 */
export interface Relay {
  readonly name: RelayName;
  start(): Promise<void>;
  run(pair: RelayPair): Promise<RelayEnd>;
  /** Ends the relay's own resources; the sessions have been terminated before. */
  stop(): Promise<void>;
}
