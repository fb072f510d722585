import type { AUTH_METHODS, COMMANDS } from '@sockscope/schemas';
import type { Acl, AclVerdict } from '../acl/acl.js';
import type { ManagedAuthenticator } from '../auth/auth.js';
import type { Target } from '../socks5/target.js';

/** The identity of a client: its sessions carry it, and rules match it. */
export interface ClientIdentity {
  readonly user: string;
  readonly authMethod: (typeof AUTH_METHODS)[number];
  readonly sourceIp: string;
  readonly sourcePort: number;
  /** One source, for limits. */
  readonly source: string;
  /** The networks that the source lies in, for queues that serve networks in turn. */
  readonly networks: readonly string[];
}

/** A destination as rules look at it. */
export interface AclDestination {
  /** Name or address, in canonical form if it has one. */
  readonly host: string;
  readonly ip: string | null;
  /** The name that a search list made of `host`; null if there is none. */
  readonly searched: string | null;
  readonly port: number;
}

/** The host that the rules are asked about: the name, or the address however it was spelt. */
export function aclHostOf({ name, ip, host }: Target): string {
  return name ?? ip ?? host;
}

export type CommandName = (typeof COMMANDS)[number];

/** The rules and users in force now. */
export interface Policy {
  readonly acl: Acl;
  readonly users: Pick<ManagedAuthenticator, 'groupsOf' | 'knows'>;
}

/** Whether the client may still do anything: a user may have been removed after the login. */
export function isKnown(users: Policy['users'], client: ClientIdentity): boolean {
  return client.authMethod !== 'password' || users.knows(client.user);
}

/** Asks the rules, with the groups of now: a client may have logged in long ago. */
export function decideFor(
  { acl, users }: Policy,
  client: ClientIdentity,
  command: CommandName,
  destination: AclDestination,
): AclVerdict {
  if (!isKnown(users, client)) return UNKNOWN_USER;
  return acl.decide({
    user: client.user,
    groups: client.authMethod === 'password' ? users.groupsOf(client.user) : [],
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

const UNKNOWN_USER: AclVerdict = { decision: 'block', rule: null };
