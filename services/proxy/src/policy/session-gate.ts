import type { Session, SessionTracker } from '../sessions/session.js';
import { setAclInputs } from '../sessions/acl-inputs.js';
import type { AclVerdict } from '../acl/acl.js';
import type { Admission, LimitName } from '../limits/admission.js';
import type { SpoolShare } from '../limits/spool-share.js';
import type { Tally } from '../metrics/tally.js';
import type { Target } from '../socks5/target.js';
import { aclHostOf, decideFor } from './policy.js';
import type { ClientIdentity, CommandName, Policy } from './policy.js';

/**
 * Why no session continues. Each but `sink_refused` is on record as a session that ended at once; that
 * one answers that there is no room for a record.
 */
export type SessionRefusal = 'sink_refused' | 'acl_rejected' | 'command_refused' | 'limit_exceeded';

export interface SessionGateDeps {
  readonly policy: Policy;
  readonly admission: Admission;
  readonly tracker: SessionTracker;
  readonly spoolShare: SpoolShare;
  readonly aclDecisions: Tally<AclVerdict['decision']>;
  readonly limitRefusals: Tally<LimitName>;
}

/** A session that is to be opened: its client, its command and its destination. */
export interface SessionRequest {
  readonly client: ClientIdentity;
  readonly command: CommandName;
  readonly target: Target;
  /** Whether this server takes the command at all. */
  readonly isEnabled: boolean;
}

interface Decision {
  readonly verdict: AclVerdict;
  /** Null when the session has a place. */
  readonly refusal: Exclude<SessionRefusal, 'sink_refused'> | null;
  readonly limit: LimitName | null;
}

/** Rules do not apply to a command that is switched off for everybody. */
const COMMAND_REFUSED: Decision = {
  verdict: { decision: 'allow', rule: null },
  refusal: 'command_refused',
  limit: null,
};

/**
 * The only way to a session, for TCP and UDP: asks the rules, then the limits, and records the
 * answer. A session that continues holds a place until `close`.
 */
export class SessionGate {
  readonly #deps: SessionGateDeps;

  constructor(deps: SessionGateDeps) {
    this.#deps = deps;
  }

  open(request: SessionRequest): Session | SessionRefusal {
    return this.#record(request, this.#decide(request));
  }

  /**
   * Takes a place for something that holds resources before it has a session: a UDP association.
   * Returns null when it has one, until `leave`; otherwise why not, and that is on record.
   */
  enter(request: SessionRequest): SessionRefusal | null {
    const decision = this.#decide(request);
    if (decision.refusal === null) return null;
    const recorded = this.#record(request, decision);
    return typeof recorded === 'string' ? recorded : decision.refusal;
  }

  /** Releases the place that `enter` took. */
  leave(client: ClientIdentity): void {
    this.#deps.admission.endSession(client.user, client.source);
  }

  /** Closes a session that `open` returned, and gives its place back. */
  close(
    session: Session,
    client: Pick<ClientIdentity, 'user' | 'source'>,
    ...end: Parameters<Session['close']>
  ): void {
    session.terminate = null;
    session.close(...end);
    this.#deps.admission.endSession(client.user, client.source);
  }

  #decide({ client, command, target, isEnabled }: SessionRequest): Decision {
    if (!isEnabled) return COMMAND_REFUSED;
    const { policy, admission, aclDecisions, limitRefusals } = this.#deps;
    const verdict = decideFor(policy, client, command, {
      host: aclHostOf(target),
      ip: target.ip,
      searched: null,
      port: target.port,
    });
    aclDecisions.add(verdict.decision);
    if (verdict.decision === 'block') return { verdict, refusal: 'acl_rejected', limit: null };
    const limit = admission.beginSession(client.user, client.source);
    if (limit === null) return { verdict, refusal: null, limit };
    limitRefusals.add(limit);
    return { verdict, refusal: 'limit_exceeded', limit };
  }

  #record(
    request: SessionRequest,
    { verdict, refusal, limit }: Decision,
  ): Session | SessionRefusal {
    const { client, target } = request;
    const session = this.#hasRoomFor(client) ? this.#open(request, verdict) : null;
    if (session === null) {
      if (refusal === null) this.leave(client);
      return 'sink_refused';
    }
    if (refusal !== null) {
      session.close(refusal, limit);
      return refusal;
    }
    setAclInputs(session, { host: aclHostOf(target) });
    return session;
  }

  /** Whether the spool has room for the events of this client's session. */
  #hasRoomFor({ user, networks }: ClientIdentity): boolean {
    const { spoolShare, limitRefusals } = this.#deps;
    if (spoolShare.take(user, networks)) return true;
    limitRefusals.add('spool_share');
    return false;
  }

  #open({ client, command, target }: SessionRequest, verdict: AclVerdict): Session | null {
    return this.#deps.tracker.open(
      {
        user: client.user,
        source_ip: client.sourceIp,
        source_port: client.sourcePort,
        dest_host: target.host,
        dest_port: target.port,
        protocol: command === 'udp_associate' ? 'udp' : 'tcp',
        command,
        auth_method: client.authMethod,
      },
      {
        // The unspecified address is no destination: the peer of a BIND is not known yet.
        dest_ip: target.ip === '0.0.0.0' || target.ip === '::' ? null : target.ip,
        egress_ip: null,
        egress_port: null,
        acl_decision: verdict.decision,
        acl_rule_matched: verdict.rule,
      },
    );
  }
}
