import type { Session } from './session.js';

/** What of a session the ACL was asked with, to ask it the same again. Not part of any event. */
export interface Asked {
  /** Of the peer that came to a BIND; and an address that `dest_host` shows as it was spelt. */
  readonly host: string;
  readonly port: number;
  /** The name that a search list made of the destination's, null where none: a rule that blocks looks at both. */
  readonly searchedName: string | null;
}

export function askedOf({ asked, header }: Session): Asked {
  return asked ?? { host: header.dest_host, port: header.dest_port, searchedName: null };
}

/** Notes what differs from the session's header; most often nothing does, and nothing is kept. */
export function noteAsked(session: Session, change: Partial<Asked>): void {
  const { dest_host, dest_port } = session.header;
  const {
    host = dest_host,
    port = dest_port,
    searchedName = null,
  } = { ...session.asked, ...change };
  const isPlain = host === dest_host && port === dest_port && searchedName === null;
  session.asked = isPlain ? null : { host, port, searchedName };
}
