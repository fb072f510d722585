import type { COMMANDS, PROTOCOLS } from '@sockscope/schemas';

/** What a rule can look at. `dest_ip` is null while only the name is known. */
export interface AclRequest {
  readonly user: string;
  readonly groups: readonly string[];
  readonly source_ip: string;
  /** As the client asked: a name or an address in any spelling. */
  readonly dest_host: string;
  /** Canonical text of a resolved address. */
  readonly dest_ip: string | null;
  readonly dest_port: number;
  readonly protocol: (typeof PROTOCOLS)[number];
  readonly command: (typeof COMMANDS)[number];
  /** Milliseconds since 1970, for time windows. */
  readonly nowMs: number;
}

export interface AclVerdict {
  readonly decision: 'allow' | 'block';
  /** Name of the deciding rule, or of the built-in protection; null for the default decision. */
  readonly rule: string | null;
}

/**
 * Decides. It is asked twice: with `dest_ip: null` when the request is understood (blocks at once
 * what the name alone decides), and with each resolved address before connecting to it.
 * Pure and synchronous; the rules behind it are replaced as a whole on reload.
 */
export interface Acl {
  decide(request: AclRequest): AclVerdict;
  /** Calls back after new rules are in force, so that live sessions can be checked again. */
  onChange(listener: () => void): void;
}
