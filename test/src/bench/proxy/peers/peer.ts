import type { Via } from '../generator/protocol.js';

/** A proxy that runs, or the lack of one. */
export interface RunningPeer {
  readonly via: Via;
  /** Its processes, for memory; empty if there is none. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

export interface Peer {
  readonly name: string;
  /** How to get it, or null if it is installed. */
  missing(): string | null;
  start(): Promise<RunningPeer>;
}
