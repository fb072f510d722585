import type { Session } from './session.js';

/** The inputs of the ACL decision, kept so that a reload can repeat it. Not part of any event. */
export interface AclInputs {
  /** Host that the ACL decided on: for BIND, the peer that connected; for an unusual spelling, the address it means. */
  readonly host: string;
  readonly port: number;
  /**
   * The name that a search list made from the destination's; null if there is none. A rule that
   * blocks checks both.
   */
  readonly searchedName: string | null;
}

export function aclInputsOf({ aclInputs, header }: Session): AclInputs {
  return aclInputs ?? { host: header.dest_host, port: header.dest_port, searchedName: null };
}

/** Keeps the inputs that differ from the session's header. Usually none do, and nothing is kept. */
export function setAclInputs(session: Session, change: Partial<AclInputs>): void {
  const { dest_host, dest_port } = session.header;
  const {
    host = dest_host,
    port = dest_port,
    searchedName = null,
  } = { ...session.aclInputs, ...change };
  const isPlain = host === dest_host && port === dest_port && searchedName === null;
  session.aclInputs = isPlain ? null : { host, port, searchedName };
}
