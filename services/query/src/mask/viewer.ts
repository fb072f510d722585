import type { Mask } from './mask.js';

/** The receiver of an answer. */
export interface Viewer {
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970, one reading per request. */
  readonly nowMs: number;
  /** The replacements for users and addresses that the principal sees. */
  readonly mask: Mask;
  /** The only users whose sessions the principal may see; null for all. */
  readonly onlyUsers: readonly string[] | null;
}
