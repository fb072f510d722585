import type { Socket } from 'node:net';
import { ANONYMOUS_USER } from '@sockscope/schemas';
import type { AUTH_METHODS, CloseReason } from '@sockscope/schemas';
import type { AclVerdict } from '../acl/acl.js';
import type { AuthOutcome, Authenticator } from '../auth/auth.js';
import type { Bind, Binder, BindFailure, BindOwner } from '../bind/binder.js';
import type { Dial, Dialer, DialFailure, DialOwner } from '../dial/dialer.js';
import { sourceKey } from '../limits/admission.js';
import type { Admission } from '../limits/admission.js';
import type { DeadlineNode, DeadlineQueue } from '../limits/deadlines.js';
import type { Roster, RosterMember } from '../limits/roster.js';
import { proxyHeaderEnd, proxyHeaderSource } from '../listener/proxy-header.js';
import type { Relay } from '../relay/relay.js';
import { noteAsked } from '../sessions/asked.js';
import type { Session, SessionTracker } from '../sessions/session.js';
import {
  BAD_ADDRESS_TYPE,
  credentialsEnd,
  credentialsOf,
  greetingEnd,
  INCOMPLETE,
  offersMethod,
  requestEnd,
} from '../socks5/frames.js';
import { COMMAND, METHOD } from '../socks5/protocol.js';
import type { FailureName } from '../socks5/protocol.js';
import {
  failureReply,
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_UNACCEPTABLE,
  PASSWORD_ACCEPTED,
  PASSWORD_REFUSED,
  replyOfErrno,
  successReply,
} from '../socks5/replies.js';
import { canonicalIp, targetOf } from '../socks5/target.js';
import type { Target } from '../socks5/target.js';
import { listenAsAccepted, stopReadingPlain, TapSocket } from '../tcp/socket.js';
import type { PlainSocket, SocketOwner, SocketReader } from '../tcp/socket.js';
import type { Association, AssociationOwner, Associations } from '../udp/association.js';
import { aclHostOf, decideFor } from './client.js';
import type { ClientIdentity, CommandName, Policy } from './client.js';
import type { ConnectionMetrics, HandshakeFailure } from './metrics.js';

/** Which methods the server takes: no authentication, username/password, or whichever the client offers. */
export type AuthPolicy = 'none' | 'password' | 'optional';

/** What all connections of a server share. */
export interface ConnectionContext {
  readonly authPolicy: AuthPolicy;
  readonly policy: Policy;
  readonly authenticator: Authenticator;
  readonly admission: Admission;
  readonly tracker: SessionTracker;
  readonly dialer: Dialer;
  readonly binder: Binder;
  readonly associations: Associations;
  readonly relay: Relay;
  readonly metrics: ConnectionMetrics;
  readonly handshakeDeadlines: DeadlineQueue;
  /** When a client that has ended without a word is given up. */
  readonly abandonDeadlines: DeadlineQueue;
  readonly lingerDeadlines: DeadlineQueue;
  /** Every connection that no relay has taken over, for shutdown. */
  readonly open: Roster<Connection>;
  /** Counts the changes of the ACL. */
  readonly aclGeneration: () => number;
}

/** What is expected next from the client. Up to `request` it is a handshake. */
const PHASE = {
  proxyHeader: 0,
  greeting: 1,
  credentials: 2,
  /** Nothing: the password is being checked. */
  verifying: 3,
  request: 4,
  /** Perhaps early payload: the destination is being reached, or a peer waited for. */
  reaching: 5,
  /** Only the end: a UDP association lives as long as this connection. */
  associated: 6,
  /** Only the end: a refusal was sent. */
  lingering: 7,
  /** The socket belongs to somebody else, or is gone. */
  done: 8,
} as const;
type Phase = (typeof PHASE)[keyof typeof PHASE];

/** Bytes that a client may send before its destination is reached; more wait in the kernel. */
const MAX_EARLY_BYTES = 64 * 1024;

/** Whether reading goes on in a phase. */
const READS_IN: Readonly<Record<Phase, boolean>> = {
  [PHASE.proxyHeader]: true,
  [PHASE.greeting]: true,
  [PHASE.credentials]: true,
  [PHASE.verifying]: false,
  [PHASE.request]: true,
  [PHASE.reaching]: true,
  [PHASE.associated]: true,
  [PHASE.lingering]: true,
  [PHASE.done]: false,
};

/**
 * A client from its acceptance to the relay: one object and no closure or promise per step.
 * It is let go when the relay takes over, so that an idle session does not pay for its handshake.
 */
export class Connection
  implements
    ClientIdentity,
    RosterMember,
    SocketReader,
    SocketOwner,
    DeadlineNode,
    DialOwner,
    BindOwner,
    AssociationOwner
{
  rosterIndex = 0;
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;

  user: string = ANONYMOUS_USER;
  authMethod: (typeof AUTH_METHODS)[number] = 'none';
  sourceIp = '';
  sourcePort = 0;
  source = '';

  readonly #context: ConnectionContext;
  readonly #socket: PlainSocket;
  #phase: Phase = PHASE.greeting;
  /** Bytes that no message has used up, then early payload. */
  #pending: Buffer | null = null;
  #isHandshaking = false;
  #isAttributed = false;
  #command: CommandName = 'connect';
  #target: Target | null = null;
  #session: Session | null = null;
  /** What reaches the destination; at most one of them. */
  #dial: Dial | null = null;
  #bind: Bind | null = null;
  #association: Association | null = null;
  /** The last address of a name that was blocked. */
  #blockedIp = '';
  /** The rules that decided on addresses of a name; null for every other target. */
  #rules: Map<string, string | null> | null = null;
  #aclGeneration = 0;

  constructor(context: ConnectionContext, socket: PlainSocket) {
    this.#context = context;
    this.#socket = socket;
  }

  /**
   * Begins the handshake, or drops the client where a limit is reached.
   *
   * @param hasProxyHeader whether the client's address comes in a PROXY protocol header.
   */
  begin(hasProxyHeader: (ip: string) => boolean): void {
    const socket = this.#socket;
    const context = this.#context;
    listenAsAccepted(socket, this);
    // The address is asked for once: later the peer may be gone.
    const ip = canonicalIp(socket.remoteAddress ?? '');
    if (ip === null) {
      this.#fail('reset');
      return;
    }
    this.#setSource(ip, socket.remotePort ?? 0);
    const isBehindBalancer = hasProxyHeader(ip);
    // Behind a load balancer all connections come from one address: its clients count apart.
    const limit = context.admission.beginHandshake(isBehindBalancer ? null : this.source);
    if (limit !== null) {
      this.limitReached(limit);
      this.#fail('limit_exceeded');
      return;
    }
    this.#isHandshaking = true;
    this.#isAttributed = !isBehindBalancer;
    if (isBehindBalancer) this.#phase = PHASE.proxyHeader;
    context.open.add(this);
    context.handshakeDeadlines.add(this);
  }

  #setSource(ip: string, port: number): void {
    this.sourceIp = ip;
    this.sourcePort = port;
    this.source = sourceKey(ip);
  }

  onBytes(bytes: Buffer): boolean {
    switch (this.#phase) {
      case PHASE.proxyHeader:
      case PHASE.greeting:
      case PHASE.credentials:
      case PHASE.request:
        this.#parse(this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]));
        return READS_IN[this.#phase];
      case PHASE.verifying:
      case PHASE.reaching:
        this.#pending = Buffer.concat(this.#pending === null ? [bytes] : [this.#pending, bytes]);
        return this.#pending.length < MAX_EARLY_BYTES;
      case PHASE.associated:
      case PHASE.lingering:
        return true;
      case PHASE.done:
        return false;
    }
  }

  /** Takes as many messages out of `bytes` as are whole; a copy of the rest waits in `#pending`. */
  #parse(bytes: Buffer): void {
    let at = 0;
    for (;;) {
      const end = this.#messageEnd(bytes, at);
      if (end === INCOMPLETE) break;
      if (end < 0) {
        this.#refuseMessage(bytes, at, end);
        return;
      }
      // What is behind this message must be in place before the message is acted on.
      this.#pending = copyFrom(bytes, end);
      const goesOn = this.#takeMessage(bytes, at);
      if (!goesOn) return;
      at = end;
    }
    this.#pending = copyFrom(bytes, at);
  }

  #messageEnd(bytes: Buffer, at: number): number {
    switch (this.#phase) {
      case PHASE.proxyHeader:
        return proxyHeaderEnd(bytes);
      case PHASE.greeting:
        return greetingEnd(bytes, at);
      case PHASE.credentials:
        return credentialsEnd(bytes, at);
      default:
        return requestEnd(bytes, at);
    }
  }

  /** Acts on the whole message at `at`; false where nothing more is to be parsed now. */
  #takeMessage(bytes: Buffer, at: number): boolean {
    switch (this.#phase) {
      case PHASE.proxyHeader:
        return this.#takeProxyHeader(bytes);
      case PHASE.greeting:
        return this.#takeGreeting(bytes, at);
      case PHASE.credentials:
        this.#takeCredentials(bytes, at);
        return false;
      default:
        this.#takeRequest(bytes, at);
        return false;
    }
  }

  #refuseMessage(bytes: Buffer, at: number, end: number): void {
    if (this.#phase === PHASE.proxyHeader) this.#fail('bad_proxy_header');
    // Not SOCKS5, or not any more: there is no message that such a client would understand.
    else if (end !== BAD_ADDRESS_TYPE) this.#fail('bad_version');
    else if (commandOf(bytes[at + 1]) === null) this.#refuse('command_not_supported');
    else this.#refuse('address_type_not_supported');
  }

  #takeProxyHeader(bytes: Buffer): boolean {
    const source = proxyHeaderSource(bytes);
    if (source !== null) this.#setSource(source.ip, source.port);
    const limit = this.#context.admission.attributeHandshake(this.source);
    if (limit !== null) {
      this.limitReached(limit);
      this.#fail('limit_exceeded');
      return false;
    }
    this.#isAttributed = true;
    this.#phase = PHASE.greeting;
    return true;
  }

  #takeGreeting(bytes: Buffer, at: number): boolean {
    const policy = this.#context.authPolicy;
    if (policy !== 'none' && offersMethod(bytes, at, METHOD.password)) {
      this.#phase = PHASE.credentials;
      this.#socket.write(METHOD_PASSWORD);
      return true;
    }
    if (policy !== 'password' && offersMethod(bytes, at, METHOD.none)) {
      this.#phase = PHASE.request;
      this.#socket.write(METHOD_NONE);
      return true;
    }
    this.#context.metrics.handshakeFailures.add('no_acceptable_method');
    this.#linger(METHOD_UNACCEPTABLE);
    return false;
  }

  #takeCredentials(bytes: Buffer, at: number): void {
    this.#phase = PHASE.verifying;
    const { username, password } = credentialsOf(Buffer.from(bytes.subarray(at)), 0);
    this.#context.authenticator.verify(username, password, this.sourceIp).then(
      (outcome) => {
        this.#verified(outcome);
      },
      () => {
        this.#verified({ ok: false, kind: 'wrong', retryAfterMs: 0 });
      },
    );
  }

  #verified(outcome: AuthOutcome): void {
    if (this.#phase !== PHASE.verifying) return;
    if (!outcome.ok) {
      const kind = outcome.kind === 'throttled' ? 'auth_throttled' : 'auth_failed';
      this.#context.metrics.handshakeFailures.add(kind);
      this.#linger(PASSWORD_REFUSED);
      return;
    }
    this.user = outcome.user;
    this.authMethod = 'password';
    this.#phase = PHASE.request;
    this.#socket.write(PASSWORD_ACCEPTED);
    if (this.#pending !== null) this.#parse(this.#pending);
    if (READS_IN[this.#phase]) this.#socket.resume();
  }

  #takeRequest(bytes: Buffer, at: number): void {
    const command = commandOf(bytes[at + 1]);
    if (command === null) {
      this.#refuse('command_not_supported');
      return;
    }
    this.#command = command;
    this.#target = targetOf(bytes, at + 3);
    this.#phase = PHASE.reaching;
    this.#context.metrics.requests.add(command);
    this.#endHandshake();
    switch (command) {
      case 'connect':
        this.#openSession(this.#target, true);
        break;
      case 'bind':
        this.#openSession(this.#target, this.#context.binder.enabled);
        break;
      case 'udp_associate':
        this.#beginAssociation(this.#target);
        break;
    }
  }

  /** Opens a session of this connection, and begins to reach its target unless it is refused. */
  #openSession(target: Target, isEnabled: boolean): void {
    const context = this.#context;
    // Rules say nothing of a command that is switched off for everybody.
    const verdict = isEnabled ? this.#decide(target.ip) : UNDECIDED;
    if (isEnabled) context.metrics.aclDecisions.add(verdict.decision);
    const isAllowed = isEnabled && verdict.decision === 'allow';
    const limit = isAllowed ? context.admission.beginSession(this.user, this.source) : null;
    const session = context.tracker.open({
      user: this.user,
      source_ip: this.sourceIp,
      source_port: this.sourcePort,
      dest_host: target.host,
      dest_ip: target.ip,
      dest_port: target.port,
      protocol: this.#command === 'udp_associate' ? 'udp' : 'tcp',
      command: this.#command,
      auth_method: this.authMethod,
      acl_decision: verdict.decision,
      acl_rule_matched: verdict.rule,
    });
    if (session === null) {
      if (isAllowed && limit === null) context.admission.endSession(this.user, this.source);
      context.metrics.handshakeFailures.add('sink_refused');
      this.#reply('general_failure');
    } else if (verdict.decision === 'block') {
      session.close('acl_rejected', null);
      this.#reply('not_allowed');
    } else if (!isEnabled) {
      session.close('command_refused', null);
      this.#reply('command_not_supported');
    } else if (limit !== null) {
      this.limitReached(limit);
      session.close('limit_exceeded', limit);
      this.#reply('not_allowed');
    } else {
      this.#session = session;
      noteAsked(session, { host: aclHostOf(target) });
      session.terminate = (reason, errorCode) => {
        this.#failSession(
          reason,
          errorCode,
          reason === 'acl_revoked' ? 'not_allowed' : 'general_failure',
        );
      };
      this.#reach(target);
    }
  }

  #reach(target: Target): void {
    this.#aclGeneration = this.#context.aclGeneration();
    if (this.#command === 'bind') {
      this.#bind = this.#context.binder.create(this);
      this.#bind.begin(target, this.#reachedAt());
    } else {
      this.#dial = this.#context.dialer.create(this);
      this.#dial.begin(target);
    }
  }

  /** The local address by which the client reached the proxy. */
  #reachedAt(): string {
    return canonicalIp(this.#socket.localAddress ?? '') ?? '0.0.0.0';
  }

  #decide(ip: string | null): AclVerdict {
    const target = this.#target;
    return decideFor(this.#context.policy, this, this.#command, {
      host: target === null ? '' : aclHostOf(target),
      ip,
      searched: this.#session?.asked?.searchedName ?? null,
      port: target?.port ?? 0,
    });
  }

  mayDial(ip: string, searched: string | null): boolean {
    // An address that was asked for as such was decided with the request.
    if (this.#target?.ip === ip) return true;
    if (this.#session !== null) noteAsked(this.#session, { searchedName: searched });
    const verdict = this.#decide(ip);
    this.#rules ??= new Map();
    this.#rules.set(ip, verdict.rule);
    if (verdict.decision === 'allow') return true;
    this.#blockedIp = ip;
    return false;
  }

  dialFailed(failure: DialFailure, errorCode: string | null, tookMs: number): void {
    this.#dial = null;
    if (failure !== 'acl_rejected') this.#session?.unreached(tookMs);
    switch (failure) {
      case 'acl_rejected':
        this.#session?.blocked(this.#rules?.get(this.#blockedIp) ?? null, this.#blockedIp);
        this.#failSession(failure, errorCode, 'not_allowed');
        break;
      case 'dns_failed':
      case 'connect_timeout':
        this.#failSession(failure, errorCode, 'host_unreachable');
        break;
      case 'connect_failed':
        this.#failSession(failure, errorCode, replyOfErrno(errorCode ?? ''));
        break;
    }
  }

  dialed(upstream: Socket, ip: string, connectMs: number): void {
    this.#dial = null;
    const session = this.#session;
    if (session === null) {
      upstream.destroy();
      return;
    }
    let rule =
      this.#rules === null ? session.header.acl_rule_matched : (this.#rules.get(ip) ?? null);
    if (this.#context.aclGeneration() !== this.#aclGeneration) {
      const verdict = this.#decide(ip);
      if (verdict.decision === 'block') {
        upstream.destroy();
        session.blocked(verdict.rule, ip);
        this.#failSession('acl_rejected', null, 'not_allowed');
        return;
      }
      rule = verdict.rule;
    }
    session.connected(ip, connectMs, rule);
    this.#succeed(canonicalIp(upstream.localAddress ?? '') ?? '0.0.0.0', upstream.localPort ?? 0);
    this.#relay(session, upstream);
  }

  bound(ip: string, port: number): void {
    this.#succeed(ip, port);
  }

  mayAccept(ip: string, port: number, searched: string | null): boolean {
    const host = this.#peerHost(ip);
    const verdict = decideFor(this.#context.policy, this, 'bind', { host, ip, searched, port });
    if (this.#session !== null) noteAsked(this.#session, { searchedName: searched });
    if (verdict.decision === 'block') return false;
    this.#rules = new Map([[ip, verdict.rule]]);
    return true;
  }

  /** A peer that was announced by name is one of its addresses, so rules for the name admit it. */
  #peerHost(ip: string): string {
    return this.#target?.name ?? ip;
  }

  peerCame(peer: Socket, ip: string, port: number, waitedMs: number): void {
    this.#bind = null;
    const session = this.#session;
    if (session === null) {
      peer.destroy();
      return;
    }
    noteAsked(session, { host: this.#peerHost(ip), port });
    session.connected(ip, waitedMs, this.#rules?.get(ip) ?? null);
    this.#succeed(ip, port);
    this.#relay(session, peer);
  }

  bindFailed(failure: BindFailure, errorCode: string | null, waitedMs: number): void {
    this.#bind = null;
    this.#session?.unreached(waitedMs);
    switch (failure) {
      case 'bind_peer_rejected':
        this.#failSession(failure, errorCode, 'not_allowed');
        break;
      case 'bind_timeout':
      case 'dns_failed':
        this.#failSession(failure, errorCode, 'host_unreachable');
        break;
      case 'connect_failed':
        this.#failSession(failure, errorCode, 'general_failure');
        break;
    }
  }

  /**
   * The address in the request is where the client will send from, not a destination: each
   * destination is a session of its own. Only a request that cannot be granted is one itself.
   */
  #beginAssociation(announced: Target): void {
    const context = this.#context;
    this.#target = UNKNOWN_DESTINATION;
    const isPossible =
      context.associations.enabled && this.#decide(UNKNOWN_DESTINATION.ip).decision === 'allow';
    const limit = isPossible ? context.admission.beginSession(this.user, this.source) : null;
    if (!isPossible || limit !== null) {
      this.#openSession(UNKNOWN_DESTINATION, context.associations.enabled);
      return;
    }
    this.#phase = PHASE.associated;
    this.#pending = null;
    this.#association = context.associations.create(this, this);
    this.#association.begin(announced, this.#reachedAt());
  }

  associated(ip: string, port: number): void {
    this.#succeed(ip, port);
  }

  associationFailed(errorCode: string): void {
    this.#endAssociation('internal_error');
    this.#reply(replyOfErrno(errorCode));
  }

  associationOver(reason: 'idle_timeout' | 'acl_revoked'): void {
    this.#endAssociation(reason);
    this.destroy();
  }

  #endAssociation(reason: CloseReason): void {
    const association = this.#association;
    if (association === null) return;
    this.#association = null;
    association.end(reason);
    this.#context.admission.endSession(this.user, this.source);
  }

  /** Hands both sockets to the relay. The session lives on without this object. */
  #relay(session: Session, upstream: Socket): void {
    const { relay, admission } = this.#context;
    const client = this.#socket;
    const head = this.#pending;
    const { user, source } = this;
    session.terminate = null;
    this.#release();
    void relay.run({ session, client, upstream, head }).then(({ reason, errorCode }) => {
      session.close(reason, errorCode);
      admission.endSession(user, source);
    });
  }

  #succeed(ip: string, port: number): void {
    this.#context.metrics.replies.add('succeeded');
    this.#socket.write(successReply(ip, port));
  }

  /** Ends the session with a reply. */
  #failSession(reason: CloseReason, errorCode: string | null, reply: FailureName): void {
    this.#endSession(reason, errorCode);
    this.#reply(reply);
  }

  /** Closes the session, gives its place back and stops what reaches for its destination. */
  #endSession(reason: CloseReason, errorCode: string | null): void {
    this.#dial?.cancel();
    this.#bind?.cancel();
    this.#dial = null;
    this.#bind = null;
    const session = this.#session;
    if (session === null) return;
    this.#session = null;
    session.terminate = null;
    session.close(reason, errorCode);
    this.#context.admission.endSession(this.user, this.source);
  }

  /** Whether the handshake goes on, so that its failure is still to be counted. */
  get #isUndecided(): boolean {
    return this.#isHandshaking && this.#phase !== PHASE.lingering;
  }

  #endHandshake(): void {
    if (!this.#isHandshaking) return;
    this.#isHandshaking = false;
    this.#context.handshakeDeadlines.remove(this);
    this.#context.admission.endHandshake(this.#isAttributed ? this.source : null);
  }

  limitReached(limit: Parameters<ConnectionMetrics['limitRefusals']['add']>[0]): void {
    this.#context.metrics.limitRefusals.add(limit);
  }

  /** Ends a handshake with a reply. */
  #refuse(reason: 'command_not_supported' | 'address_type_not_supported'): void {
    this.#context.metrics.handshakeFailures.add(reason);
    this.#reply(reason);
  }

  #reply(reply: FailureName): void {
    this.#context.metrics.replies.add(reply);
    this.#linger(failureReply(reply));
  }

  /**
   * Sends the last message and waits for the client to close, which is when it has read it:
   * closing at once while bytes of the client are unread would send a reset that overtakes it.
   * A handshake keeps its place until then, because its socket is as open as before.
   */
  #linger(last: Buffer): void {
    if (this.#phase === PHASE.done) return;
    this.#phase = PHASE.lingering;
    this.#pending = null;
    this.#context.lingerDeadlines.add(this);
    this.#socket.end(last);
    this.#socket.resume();
  }

  /** Ends a handshake without a word. */
  #fail(failure: HandshakeFailure): void {
    this.#context.metrics.handshakeFailures.add(failure);
    this.destroy();
  }

  onConnect(): void {
    // It was connected when it was accepted.
  }

  onError(): void {
    // `close` follows.
  }

  onEnd(): void {
    switch (this.#phase) {
      case PHASE.proxyHeader:
      case PHASE.greeting:
      case PHASE.credentials:
      case PHASE.verifying:
      case PHASE.request:
        this.#fail('eof');
        break;
      case PHASE.reaching:
        // With payload on its way this is a half-close, which the relay passes on. Without any,
        // nearly always, a client that has given up: it gets a moment for an answer all the same.
        if (this.#pending === null) this.#context.abandonDeadlines.add(this);
        break;
      case PHASE.associated:
      case PHASE.lingering:
        this.#abandoned();
        break;
      case PHASE.done:
        break;
    }
  }

  onClose(): void {
    if (this.#isUndecided) this.#context.metrics.handshakeFailures.add('reset');
    this.#abandoned();
  }

  /** The client has gone. */
  #abandoned(): void {
    this.#endSession('client_aborted', null);
    this.#endAssociation('association_closed');
    this.destroy();
  }

  onDeadline(): void {
    switch (this.#phase) {
      case PHASE.reaching:
        this.#abandoned();
        break;
      case PHASE.lingering:
        this.destroy();
        break;
      default:
        this.#fail('timeout');
    }
  }

  /** Ends a handshake; sessions and associations have a time to end by themselves. */
  endHandshake(): void {
    if (this.#isUndecided) this.#fail('shutdown');
  }

  /** Ends the connection, whatever it does. */
  shutdown(): void {
    this.#endSession('server_shutdown', null);
    this.#endAssociation('server_shutdown');
    this.destroy();
  }

  /** Lets go of the socket without closing it. */
  #release(): void {
    const socket = this.#socket;
    this.#endHandshake();
    this.#phase = PHASE.done;
    this.#pending = null;
    this.deadlineQueue?.remove(this);
    this.#context.open.delete(this);
    socket.owner = null;
    if (socket instanceof TapSocket) socket.reader = null;
    else stopReadingPlain(socket);
  }

  destroy(): void {
    this.#release();
    this.#socket.destroy();
  }
}

const UNDECIDED: AclVerdict = { decision: 'allow', rule: null };

/** Stands for the destinations of an association before its first datagram. */
const UNKNOWN_DESTINATION: Target = { host: '0.0.0.0', ip: '0.0.0.0', name: null, port: 0 };

/** What is behind `at`, in memory of its own; null where nothing is. */
function copyFrom(bytes: Buffer, at: number): Buffer | null {
  return at === bytes.length ? null : Buffer.from(bytes.subarray(at));
}

function commandOf(code: number | undefined): CommandName | null {
  switch (code) {
    case COMMAND.connect:
      return 'connect';
    case COMMAND.bind:
      return 'bind';
    case COMMAND.udp_associate:
      return 'udp_associate';
    default:
      return null;
  }
}
