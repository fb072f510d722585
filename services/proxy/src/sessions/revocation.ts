import type { Logger } from '@sockscope/runtime';
import type { Acl } from '../acl/acl.js';
import type { ManagedAuthenticator } from '../auth/auth.js';
import { aclInputsOf } from './acl-inputs.js';
import type { Session, SessionTracker } from './session.js';

/** Sessions asked about before the event loop continues: about a millisecond's worth. */
const SLICE_SESSIONS = 500;

export interface RevocationDeps {
  readonly acl: Acl;
  readonly users: Pick<ManagedAuthenticator, 'groupsOf' | 'knows' | 'onChange'>;
  readonly tracker: Pick<SessionTracker, 'live'>;
  readonly logger: Logger;
}

/** Ends live sessions that the rules or users in force no longer allow, with `acl_revoked`. */
export interface Revocation {
  /** Counts the changes: a decision under an earlier one is repeated. */
  readonly generation: number;
  stop(): void;
}

/** Asks the ACL again about every live session after each change of rules or users. */
export function createRevocation(deps: RevocationDeps): Revocation {
  const { acl, users, tracker, logger } = deps;
  let generation = 0;
  let slice: NodeJS.Immediate | null = null;
  let revoked = 0;

  function isAllowed(session: Session): boolean {
    const { header, late } = session;
    if (header.auth_method === 'password' && !users.knows(header.user)) return false;
    const { host, port, searchedName } = aclInputsOf(session);
    const verdict = acl.decide({
      user: header.user,
      groups: header.auth_method === 'password' ? users.groupsOf(header.user) : [],
      source_ip: header.source_ip,
      dest_host: host,
      resolved_name: searchedName,
      dest_ip: late.dest_ip,
      dest_port: port,
      protocol: header.protocol,
      command: header.command,
      nowMs: Date.now(),
    });
    return verdict.decision === 'allow';
  }

  function look(sessions: IterableIterator<Session>): void {
    slice = null;
    for (let i = 0; i < SLICE_SESSIONS; i += 1) {
      const next = sessions.next();
      if (next.done === true) {
        if (revoked > 0) logger.info({ sessions: revoked }, 'sessions revoked');
        return;
      }
      const session = next.value;
      if (!session.closed && session.terminate !== null && !isAllowed(session)) {
        revoked += 1;
        session.terminate('acl_revoked', null);
      }
    }
    slice = setImmediate(look, sessions);
  }

  function begin(): void {
    generation += 1;
    revoked = 0;
    // A look under way would mix old and new rules: it starts over.
    if (slice !== null) clearImmediate(slice);
    slice = setImmediate(look, tracker.live());
  }

  acl.onChange(begin);
  users.onChange(begin);

  return {
    get generation() {
      return generation;
    },
    stop() {
      if (slice !== null) clearImmediate(slice);
      slice = null;
    },
  };
}
