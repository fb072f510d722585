import type { AUTH_METHODS, COMMANDS } from '@sockscope/schemas';
import type { Acl, AclVerdict } from '../acl/acl.js';

/** Who a client is: what its sessions carry and what rules look at. */
export interface ClientIdentity {
  readonly user: string;
  readonly groups: readonly string[];
  readonly authMethod: (typeof AUTH_METHODS)[number];
  readonly sourceIp: string;
  readonly sourcePort: number;
  /** What counts as one source for limits. */
  readonly source: string;
}

/** A destination as rules look at it. */
export interface AclDestination {
  /** Name or address, canonical where it has such a form. */
  readonly host: string;
  readonly ip: string | null;
  /** The name that a search list made of `host`; null where none. */
  readonly searched: string | null;
  readonly port: number;
}

export type CommandName = (typeof COMMANDS)[number];

/** Asks the ACL. */
export function decideFor(
  acl: Acl,
  client: ClientIdentity,
  command: CommandName,
  destination: AclDestination,
): AclVerdict {
  return acl.decide({
    user: client.user,
    groups: client.groups,
    source_ip: client.sourceIp,
    dest_host: destination.host,
    resolved_name: destination.searched,
    dest_ip: destination.ip,
    dest_port: destination.port,
    protocol: command === 'udp_associate' ? 'udp' : 'tcp',
    command,
    nowMs: Date.now(),
  });
}
